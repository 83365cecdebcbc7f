package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestReload shows that a good file replaces the routes, a bad one changes nothing, and open
// connections live through both.
func TestReload(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure()
	edge := s.start()
	at := edge.address()
	early := s.visit(at, demoShop)
	s.turnedAway(at, demoBlog)

	s.configure(s.blogRoute())
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `level=INFO msg="configuration reloaded" .*routes=2 backends=2\n`)
	s.visit(at, demoBlog)

	s.configure("bakends: {}", "limits: {hello_bytes: many}")
	edge.signal(syscall.SIGHUP)
	const refused = `level=ERROR msg="configuration not reloaded; the former one stays in force" error=`
	edge.stderr.Expect(t, refused+`"\S+keyhole\.yaml:4:1: unknown key `+"`bakends`")
	edge.stderr.Expect(t, refused+`"\S+keyhole\.yaml:5:23: `)
	s.visit(at, demoBlog)

	if err := os.Remove(s.file); err != nil {
		t.Fatal(err)
	}
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, refused+`"configuration: open \S+keyhole\.yaml: no such file or directory`)
	s.visit(at, demoBlog)
	early.ask()
	early.leave()
}

// TestReloadOfProtocol shows that an open listener stops reading TLS and begins again, while its
// connections stay.
func TestReloadOfProtocol(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure()
	edge := s.start()
	at := edge.address()
	early := s.visit(at, demoShop)
	tls := s.text()
	tcp := fmt.Sprintf("listen: [{address: \"127.0.0.1:0\", protocol: tcp, backend: %q}]\n", s.blog)
	for _, c := range []struct{ text, routes, reaches string }{{tcp, "0", demoBlog}, {tls, "1", demoShop}} {
		if err := os.WriteFile(s.file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		edge.signal(syscall.SIGHUP)
		edge.stderr.Expect(t, `msg="configuration reloaded" .*routes=`+c.routes+` `)
		s.visit(at, c.reaches)
		early.ask()
	}
	if strings.Contains(edge.stderr.String(), "WARN") {
		t.Errorf("the edge warns:\n%s", edge.stderr)
	}
}

// TestReloadKeeps shows that a reload leaves the listeners and the log as they are, and logs that.
func TestReloadKeeps(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure()
	edge := s.start()
	at := edge.address()

	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`127\.0\.0\.1:0`).ReplaceAll(text, []byte("127.0.0.2:0"))
	if err := os.WriteFile(s.file, append(text, "log: {level: error}\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `msg="configuration reloaded"`)
	edge.stderr.Expect(t, `level=WARN msg="the addresses in listen have changed; the open listeners stay until a restart, with what the file says of them"`)
	edge.stderr.Expect(t, `level=WARN msg="log has changed; it stays as it is until a restart"`)
	s.visit(at, demoShop)
}

// TestRotation shows that SIGHUP lets go of an access log that was renamed, with a configuration
// that cannot be read, too.
func TestRotation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	log := filepath.Join(t.TempDir(), "access.log")
	s.configure(s.blogRoute(), "log: {access: "+log+"}")
	edge := s.start()
	at := edge.address()
	s.visit(at, demoShop).leave()

	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file, []byte("routes: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `msg="configuration not reloaded`)
	s.visit(at, demoBlog).leave()
	edge.stop()

	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(` sni=blog\.keyhole\.test .* reason=client_closed `).Match(got) {
		t.Errorf("new access log = %q, want the record of %s", got, demoBlog)
	}
}

// TestRotationFails shows that records go on to the former file when the new one cannot be opened.
func TestRotationFails(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.configure("log: {access: " + dir + "/access.log}")
	edge := s.start()
	at := edge.address()

	if err := os.Rename(dir, dir+".1"); err != nil {
		t.Fatal(err)
	}
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `level=ERROR msg="access log not reopened; the former file stays in use" error="log\.access: open `)
	edge.stderr.Expect(t, `msg="configuration reloaded"`)
	s.visit(at, demoShop).leave()
	edge.stop()

	got, err := os.ReadFile(dir + ".1/access.log")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(` sni=shop\.keyhole\.test `).Match(got) {
		t.Errorf("access log = %q, want the record of %s", got, demoShop)
	}
}
