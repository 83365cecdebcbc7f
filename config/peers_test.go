package config

import (
	"slices"
	"strings"
	"testing"

	"keyhole/config/strict"
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

// So is a word of theirs in a route.
func TestPeerRouteKeys(t *testing.T) {
	for word, hint := range peerRouteKeys {
		rest := []string{"sni: a.example", "backend: \"10.0.0.5:443\""}
		rest = slices.DeleteFunc(rest, func(s string) bool {
			key, _, _ := strings.Cut(s, ":")
			return word != "weight" && strings.Contains(hint, "`"+key+"`")
		})
		text := listenLine + "routes:\n  - {sni: b.example, backend: \"10.0.0.5:443\"}\n  - {" + word + ": x, " + strings.Join(rest, ", ") + "}\n"
		checkProblems(t, []problemCase{{word, text, "4:6: unknown key `" + word + "`: " + hint}})
	}
}

// A hint may name only keys that there are.
func TestPeerHintsNameKeys(t *testing.T) {
	for _, s := range []strict.Schema{rootSchema, routeSchema, includedSchema} {
		for word, hint := range s.Hints {
			for i, part := range strings.Split(hint, "`") {
				if i%2 == 1 && !slices.Contains(slices.Concat(s.Keys, rootSchema.Keys), part) {
					t.Errorf("the hint for %q in %s names %q, which is no key", word, s.What, part)
				}
			}
		}
	}
}
