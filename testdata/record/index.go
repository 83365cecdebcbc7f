package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// entry is one hello in index.json.
type entry struct {
	File     string   `json:"file"`
	Client   string   `json:"client"`
	Command  []string `json:"command"` // with {port} and {dir}
	Date     string   `json:"date"`
	Note     string   `json:"note,omitempty"`
	Segments []int    `json:"segments"` // bytes that each read returned

	// What crypto/tls reads in it.
	ServerName string   `json:"server_name"`
	ALPN       []string `json:"alpn"`
	Versions   []string `json:"versions"` // in hexadecimal: 0x0304 is TLS 1.3
	ECH        bool     `json:"ech"`
	JA4        string   `json:"ja4"`

	bytes []byte
}

// addToIndex puts h into the index in place of an entry for the same file, sorted by file.
func addToIndex(file string, h entry) error {
	var entries []entry
	old, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(old, &entries)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e.File == h.File })
	entries = append(entries, h)
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.File, b.File) })

	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(entries); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}
