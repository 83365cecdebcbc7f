// Package convert reads a configuration of HAProxy or nginx and writes Keyhole's, for the part of
// it that passes TLS through by name.
//
//	r, err := convert.Convert("haproxy.cfg", text, convert.HAProxy, files)
//	fmt.Print(r.YAML)
//	for _, n := range r.Notes {
//		fmt.Println(n) // haproxy.cfg:12: server s1: check: health checks are not supported yet
//	}
//
// Both languages are read into one form, an edge whose listeners have rules in order, of which the
// first that fits decides. A table of patterns, of which the narrowest decides, is made of these
// rules, so that both send a hello to the same place. A line that has no equal here becomes a note.
// Settings of the process and of its logs are left out without one: user, chroot, threads, logs,
// statistics.
//
// The package opens no file itself, resolves no name, and does not check its result; the tests show
// that Keyhole takes whatever is printed.
package convert

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
)

// A Language is that of a configuration.
type Language string

// The languages that can be converted.
const (
	HAProxy Language = "haproxy"
	Nginx   Language = "nginx"
)

// Files reads the files that a configuration names, as it spells their names.
type Files struct {
	Read func(name string) ([]byte, error)
	Glob func(pattern string) ([]string, error) // sorted
}

// A Result is what became of a configuration.
type Result struct {
	YAML  string // that Keyhole takes; empty if nothing could be carried over
	Notes []Note // what was not carried over, by file and line
}

// A Note is a line that was not carried over, or not exactly, and the reason.
type Note struct {
	File string
	Line int
	Text string
}

func (n Note) String() string { return fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Text) }

// The errors of Convert.
var (
	ErrTooLarge = errors.New("too large or too deeply nested to convert")
	ErrNothing  = errors.New("nothing in it passes TLS or TCP through to a server")
)

// Convert translates the text of a file. The error is ErrTooLarge, or ErrNothing beside a Result
// that has notes only.
func Convert(file string, text []byte, from Language, files Files) (Result, error) {
	n := &notes{}
	if text = valid(text); len(text) > maxBytes {
		return Result{}, ErrTooLarge
	}
	files.Read = bounded(files.Read, maxBytes-len(text))
	var e *edge
	var err error
	if from == Nginx {
		e, err = readNginx(file, text, files, n)
	} else {
		e, err = readHAProxy(file, text, files, n)
	}
	if err != nil {
		return Result{}, err
	}
	yaml, err := e.write(n)
	return Result{YAML: yaml, Notes: n.sorted()}, err
}

// maxBytes bounds the file and all those that it names, as often as it names them.
const maxBytes = 1 << 26

// bounded returns a reader of files that fails beyond so many bytes.
func bounded(read func(string) ([]byte, error), left int) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		text, err := read(name)
		if err != nil {
			return nil, err
		}
		if left -= len(text); left < 0 {
			return nil, fmt.Errorf("%s: %w", name, ErrTooLarge)
		}
		return valid(text), nil
	}
}

// valid returns a text as YAML has to have it.
func valid(text []byte) []byte { return bytes.ToValidUTF8(text, []byte("?")) }

var (
	blocks   = regexp.MustCompile(`(?m)^[^#"']*(\{|;)\s*(#.*)?$`)
	sections = regexp.MustCompile(`(?m)^\s*(global|defaults|frontend|backend|listen)(\s+[^;{]*)?$`)
)

// Detect tells the language of a text. It reports false if the text looks like neither.
func Detect(text []byte) (Language, bool) {
	switch {
	case sections.Match(text):
		return HAProxy, true
	case blocks.Match(text):
		return Nginx, true
	}
	return "", false
}
