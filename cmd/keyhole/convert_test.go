package main

import (
	"os"
	"path/filepath"
	"testing"

	"keyhole/convert"
)

// TestDocumentsConvert shows that docs/migrate.md has beside each configuration of HAProxy and nginx what
// `keyhole convert` prints of it.
func TestDocumentsConvert(t *testing.T) {
	var original, from string
	converted := 0
	for _, b := range block.FindAllStringSubmatch(read(t, "docs/migrate.md"), -1) {
		switch language, text := b[1], b[2]; {
		case language == string(convert.HAProxy), language == string(convert.Nginx):
			from, original = language, text
		case language == "yaml" && original != "":
			file := filepath.Join(t.TempDir(), "original")
			if err := os.WriteFile(file, []byte(original), 0o644); err != nil {
				t.Fatal(err)
			}
			runShown(t, []string{"convert", "--from", from, file}, text)
			original = ""
			converted++
		}
	}
	if converted < 2 {
		t.Errorf("docs/migrate.md has %d files that are converted, want one of HAProxy and one of nginx", converted)
	}
}
