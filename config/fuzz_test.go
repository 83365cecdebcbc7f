package config

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// FuzzParse fails when Parse panics, returns a Config that is not complete, or reports a problem
// that is not in the file. A missing example file fails it too.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../config.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte(listenLine + routesLine))
	f.Add([]byte(listenLine + "include: [a*, b]\nroutes: [{sni: a.example, backend: \"${A}\", allow: [\"@c\"]}]\n"))
	for _, cases := range [][]problemCase{syntaxCases, settingsCases, listenCases, backendCases, byNameCases, routeCases} {
		for _, c := range cases {
			f.Add([]byte(c.text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Source{ReadFile: noFile, ReadDir: noFolder, LookupEnv: env("A", "10.0.0.5:443")}.Parse("k.yaml", data)
		if err == nil {
			if err := complete(c); err != nil {
				t.Error(err)
			}
			return
		}
		var problems Problems
		if !errors.As(err, &problems) || c != nil {
			t.Fatalf("Parse = %v, %v, want nil and Problems", c, err)
		}
		lines := 2 // one more than there are: an empty value at the end stands after the last line
		for _, r := range string(data) {
			if strings.ContainsRune("\n\r\u0085\u2028\u2029", r) { // what YAML calls line breaks
				lines++
			}
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Col < 1 || p.Message == "" {
				t.Errorf("problem %+v in a file of %d lines", p, lines-1)
			}
		}
	})
}

// FuzzNetworks fails when a list of networks gives one that no client can be in, or a problem that
// is not in the file.
func FuzzNetworks(f *testing.F) {
	for _, seed := range []string{"192.0.2.0/24\n# x\n2001:db8::/32 # y\r\n", "::ffff:192.0.2.0/120", "10.0.0.1/8", "fe80::1%eth0", "\ufeff1.2.3.4", "\xff#"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDecoder("a.txt", Source{})
		list := d.parseNetworks(data)
		if (len(list) == 0) != (d.Count() > 0) {
			t.Errorf("parseNetworks(%q) = %v with %d problems, want networks or problems", data, list, d.Count())
		}
		for i, p := range list {
			if p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" || i > 0 && list[i-1].Compare(p) >= 0 {
				t.Errorf("parseNetworks(%q) = %v, want networks in order, each once", data, list)
			}
		}
		for _, p := range d.Problems() {
			if p.Line < 1 || p.Line > bytes.Count(data, []byte("\n"))+1 || p.Col < 1 {
				t.Errorf("parseNetworks(%q) reports %v", data, p)
			}
		}
	})
}

func noFile(string, int64) ([]byte, error) { return nil, fs.ErrNotExist }

func noFolder(string) ([]fs.DirEntry, error) { return nil, fs.ErrNotExist }
