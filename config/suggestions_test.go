package config

import (
	"testing"

	"gopkg.in/yaml.v3"
)

// Ten thousand routes that name missing backends do not take minutes.
func TestSuggestionsAreBounded(t *testing.T) {
	d := newDecoder("k.yaml")
	d.names = make([]string, 1<<18)
	for i := range d.names {
		d.names[i] = "b"
	}
	d.names[0] = "shop"
	for i := range 5 {
		d.unknownBackend(&yaml.Node{Line: i + 1}, "shpo")
	}
	for i, p := range d.Problems() {
		want := `unknown backend "shpo", did you mean "shop"?`
		if i == 4 {
			want = `unknown backend "shpo"`
		}
		if p.Message != want {
			t.Errorf("problem %d = %q, want %q", i, p.Message, want)
		}
	}
}
