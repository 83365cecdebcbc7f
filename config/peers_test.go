package config

import (
	"slices"
	"strings"
	"testing"
)

// A section of another program is one problem that says what to write. Neither are the sections that
// it stands for missing as well, nor the names in them unknown.
func TestPeerSections(t *testing.T) {
	for word, hint := range peerSections {
		text := word + ": {a: 1}\n"
		for _, l := range []struct{ name, line string }{
			{"listen", listenLine},
			{"backends", "backends: {shop: {servers: [10.0.0.5:443]}}\n"},
			{"routes", "routes: [{sni: a.example, backend: shop}]\n"},
		} {
			if !strings.Contains(hint, "`"+l.name+"`") {
				text += l.line
			}
		}
		checkProblems(t, []problemCase{{word, text, "1:1: unknown key `" + word + "`: " + hint}})
	}
}

// A hint may name only keys that there are.
func TestPeerHintsNameKeys(t *testing.T) {
	for word, hint := range peerSections {
		for i, part := range strings.Split(hint, "`") {
			if i%2 == 1 && !slices.Contains(rootSchema.Keys, part) {
				t.Errorf("the hint for %q names %q, which is no key of the configuration", word, part)
			}
		}
	}
}
