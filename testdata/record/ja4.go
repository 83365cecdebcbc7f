package main

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// ja4Of returns the fingerprint of a hello, from what crypto/tls reads in it. It is written from
// https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md, and shares nothing with package sni.
func ja4Of(info *tls.ClientHelloInfo) string {
	suites, extensions := sortedHex(info.CipherSuites), sortedHex(info.Extensions)
	versions := info.SupportedVersions
	if !slices.Contains(info.Extensions, 43) {
		versions = versions[:1] // see reading
	}
	version := map[string]string{"0304": "13", "0303": "12", "0302": "11", "0301": "10"}[slices.Max(sortedHex(versions))]
	named, protocol := "i", "00"
	if slices.Contains(extensions, "0000") {
		named = "d"
	}
	if len(info.SupportedProtos) > 0 {
		first := info.SupportedProtos[0] // all clients here begin theirs with a letter, and end it with a digit
		protocol = first[:1] + first[len(first)-1:]
	}
	list := slices.DeleteFunc(slices.Clone(extensions), func(e string) bool { return e == "0000" || e == "0010" })
	signed := strings.Join(list, ",")
	for i, scheme := range info.SignatureSchemes {
		signed += fmt.Sprintf("%c%04x", "_,"[min(i, 1)], uint16(scheme))
	}
	return fmt.Sprintf("t%s%s%02d%02d%s_%s_%s", version, named, min(99, len(suites)), min(99, len(extensions)), protocol,
		firstDigits(strings.Join(suites, ",")), firstDigits(signed))
}

// sortedHex returns the values without GREASE.
func sortedHex(values []uint16) []string {
	var all []string
	for _, v := range values {
		if s := fmt.Sprintf("%04x", v); s[:2] != s[2:] || s[1] != 'a' {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return all
}

func firstDigits(text string) string {
	if text == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:12]
}
