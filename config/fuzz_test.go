package config

import (
	"errors"
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
	for _, cases := range [][]problemCase{syntaxCases, settingsCases, listenCases, backendCases, routeCases} {
		for _, c := range cases {
			f.Add([]byte(c.text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("k.yaml", data)
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
