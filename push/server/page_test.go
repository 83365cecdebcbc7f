package server

import (
	"io/fs"
	"strings"
	"testing"

	"keyhole/push/web"
)

func TestPageIsServedWithAPolicy(t *testing.T) {
	a := startAPI(t)
	want, err := fs.ReadFile(web.Files, "terminal.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/terminal.html"} {
		r := a.send("GET", path, nil)
		if r.status != 200 || r.body != string(want) {
			t.Errorf("%s = %d, %d bytes, want the page, %d bytes", r.what, r.status, len(r.body), len(want))
		}
		if got := r.header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'; ") || strings.Contains(got, "unsafe") {
			t.Errorf("%s: Content-Security-Policy = %q, want everything forbidden that is not named", r.what, got)
		}
		if got := r.header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options = %q, want nosniff", r.what, got)
		}
	}
}

func TestEveryFileOfThePageIsServed(t *testing.T) {
	a := startAPI(t)
	types := map[string]string{"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
	files, err := web.Files.ReadDir(".")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v, want the page's", len(files), err)
	}
	for _, f := range files {
		r := a.send("GET", "/"+f.Name(), nil)
		_, kind, _ := strings.Cut(f.Name(), ".")
		if got := r.header.Get("Content-Type"); r.status != 200 || types[kind] == "" || !strings.HasPrefix(got, types[kind]) {
			t.Errorf("%s = %d of type %q, want 200 and %q", r.what, r.status, got, types[kind])
		}
	}
	if r := a.send("GET", "/embed.go", nil); r.status != 404 {
		t.Errorf("%s = %d, want 404: it is no part of the page", r.what, r.status)
	}
}
