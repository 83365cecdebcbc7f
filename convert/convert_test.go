package convert

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"keyhole/config"
)

// given are files that a configuration names.
type given map[string]string

func (g given) files() Files {
	return Files{
		Read: func(name string) ([]byte, error) {
			if text, ok := g[name]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		Glob: func(pattern string) (all []string, err error) {
			for name := range g {
				if strings.HasPrefix(name, strings.TrimRight(pattern, "*.conf")) {
					all = append(all, name)
				}
			}
			return all, nil
		},
	}
}

// converted converts a text, which Keyhole must take.
func converted(t testing.TB, from Language, text string, files Files) Result {
	t.Helper()
	r, err := Convert("f", []byte(text), from, files)
	if err != nil && !errors.Is(err, ErrNothing) && !errors.Is(err, ErrTooLarge) {
		t.Fatalf("Convert = %v, want ErrNothing or ErrTooLarge", err)
	}
	if (r.YAML == "") != (err != nil) {
		t.Fatalf("Convert = %q and the error %v, want one of the two", r.YAML, err)
	}
	if r.YAML != "" {
		if _, err := config.Parse("keyhole.yaml", []byte(r.YAML)); err != nil {
			t.Fatalf("from\n%s\ncomes\n%s\nwith\n%v", text, r.YAML, err)
		}
	}
	return r
}

// A conversion is a part of a configuration, the lines that come of it, and the notes. The lines of
// YAML are those of the routes and the rest unless they begin with another section.
type conversion struct {
	name, text string
	files      given
	want       string
	notes      []string
}

// check runs a conversion of a text around its part.
func (c conversion) check(t *testing.T, from Language, text string) {
	t.Helper()
	r := converted(t, from, text, c.files.files())
	_, routes, _ := strings.Cut(r.YAML, "\nroutes:")
	routes = strings.TrimPrefix(strings.TrimPrefix(routes, " []"), "\n")
	for _, section := range []string{"timeouts:", "limits:", "listen:", "backends:"} {
		if strings.HasPrefix(c.want, section) {
			_, routes, _ = strings.Cut("\n"+r.YAML, "\n"+section)
			routes = section + routes[:min(len(routes), len(c.want)-len(section))]
		}
	}
	if routes != c.want {
		t.Errorf("from\n%s\ncomes\n%s\nwant\n%s", c.text, r.YAML, c.want)
	}
	if len(r.Notes) != len(c.notes) {
		t.Errorf("%d notes, want %d: %q", len(r.Notes), len(c.notes), r.Notes)
		return
	}
	for i, n := range r.Notes {
		if !strings.Contains(n.String(), c.notes[i]) {
			t.Errorf("note %q, want %q in it", n, c.notes[i])
		}
	}
}

func TestDetect(t *testing.T) {
	for text, want := range map[string]Language{
		"global\n    daemon\n":                         HAProxy,
		"# nginx {\nfrontend tls\n bind :443\n":        HAProxy,
		"listen tls\n  bind :443":                      HAProxy,
		"defaults unnamed from base":                   HAProxy,
		"user www;\nevents {}\n":                       Nginx,
		"stream {\n  server {\n listen 443;\n}\n}\n":   Nginx,
		"map $ssl_preread_server_name $x {\n a b;\n}":  Nginx,
		"# frontend\nserver {\n  listen 443; # tls\n}": Nginx,
		"listen: [{address: \":443\"}]":                "",
		"":                                             "",
	} {
		if got, _ := Detect([]byte(text)); got != want {
			t.Errorf("Detect(%q) = %q, want %q", text, got, want)
		}
	}
}
