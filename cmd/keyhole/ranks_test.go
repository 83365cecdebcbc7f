package main

import (
	"fmt"
	"path/filepath"
	"testing"
)

// TestRanks has the servers of two ranks refuse: the connection reaches the lowest rank that
// answers, not the first one listed.
func TestRanks(t *testing.T) {
	s := newSite(t)
	gone := func(name string) string { return "unix:" + filepath.Join(filepath.Dir(s.file), name) }
	s.configure(
		fmt.Sprintf("  - {sni: %s, backend: ranked}", demoBlog),
		"backends:",
		"  ranked:",
		"    servers:",
		fmt.Sprintf("      - {address: %q, backup: 7}", s.shop),
		fmt.Sprintf("      - {address: %q, backup: 3}", s.blog),
		fmt.Sprintf("      - {address: %q, backup: true}", gone("a")),
		fmt.Sprintf("      - %q", gone("b")),
	)
	edge := s.start()
	s.visit(edge.address(), demoBlog).conn.Close()
	edge.stop()
}
