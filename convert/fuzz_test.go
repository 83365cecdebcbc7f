package convert

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// FuzzConvert fails when a conversion panics, or prints what Keyhole does not take. Missing seeds fail it
// too.
func FuzzConvert(f *testing.F) {
	seeds := 0
	err := filepath.WalkDir("../e2e/testdata/convert", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		seeds++
		f.Add(filepath.Ext(name) == ".conf", text, []byte("shop.example.com a;\n.example.org b;\n"))
		return err
	})
	if err != nil || seeds < 12 {
		f.Fatalf("%d seeds, %v, want 12 or more", seeds, err)
	}
	for _, c := range haproxyRules {
		f.Add(false, []byte(haproxyHead+c.text+haproxyTail), []byte("x.example a\n.s.example b\n"))
	}
	for _, c := range haproxyFiles {
		f.Add(false, []byte(c.text), []byte{})
	}
	for _, c := range nginxRules {
		f.Add(true, []byte(nginxHead+c.text+nginxTail), []byte("x.example a;\n"))
	}
	for _, c := range nginxFiles {
		f.Add(true, []byte(c.text), []byte("include f;"))
	}
	f.Fuzz(func(t *testing.T, nginx bool, text, other []byte) {
		from := HAProxy
		if nginx {
			from = Nginx
		}
		files := Files{
			Read: func(string) ([]byte, error) { return other, nil },
			Glob: func(string) ([]string, error) { return []string{"one", "two"}, nil },
		}
		converted(t, from, string(text), files)
		Detect(text)
	})
}
