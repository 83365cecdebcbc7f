package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// beside writes a file into the folder of the configuration.
func (s *site) beside(name, text string) {
	s.Helper()
	file := filepath.Join(filepath.Dir(s.file), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		s.Fatal(err)
	}
}

// TestReloadReadsAllFiles shows that a reload reads included files and lists of networks again, and
// that a problem in one of them changes nothing.
func TestReloadReadsAllFiles(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("include: conf.d/*.yaml")
	s.beside("conf.d/README", "")
	edge := s.start()
	at := edge.address()
	s.visit(at, demoShop).leave()
	s.turnedAway(at, demoBlog)
	done := `(?s)` // what the reloads so far have logged
	reload := func(want string) {
		t.Helper()
		edge.signal(syscall.SIGHUP)
		done += `.*` + want
		edge.stderr.Expect(t, done)
	}

	route := fmt.Sprintf("routes:\n  - {sni: %s, backend: %q, allow: \"@office.txt\"}\n", demoBlog, s.blog)
	s.beside("conf.d/blog.yaml", route)
	s.beside("conf.d/office.txt", "127.0.0.0/8\n")
	reload(`msg="configuration reloaded"[^\n]*routes=2 `)
	s.visit(at, demoBlog).leave()

	const refused = `level=ERROR msg="configuration not reloaded; the former one stays in force" error=`
	s.beside("conf.d/office.txt", "")
	reload(refused + `"?\S+/conf\.d/office\.txt:1:1: the file has no network`)
	s.visit(at, demoBlog).leave()
	s.beside("conf.d/office.txt", "192.0.2.0/24\n")
	reload(`msg="configuration reloaded"[^\n]*routes=2 `)
	s.turnedAway(at, demoBlog)

	s.beside("conf.d/blog.yaml", "routes: [\n")
	reload(refused + `"?\S+/conf\.d/blog\.yaml:\d+:\d+: YAML syntax: `)
	s.turnedAway(at, demoBlog)
	s.visit(at, demoShop).leave()
	edge.stop()
}
