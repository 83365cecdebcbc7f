package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// fifo makes a FIFO and returns its path.
func fifo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestReadFileGivesUp shows that a FIFO is not waited for without end, whether it has no writer or
// a silent one, and that no goroutine stays behind.
func TestReadFileGivesUp(t *testing.T) {
	testkit.NoLeaks(t)
	name := fifo(t)
	for _, silent := range []bool{false, true} {
		if silent {
			w, err := os.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
		}
		if text, err := readFile(name, time.Millisecond); !errors.Is(err, errLate) {
			t.Errorf("readFile(FIFO), with a writer: %v = %q, %v, want %v", silent, text, err, errLate)
		}
	}
}

// TestLogToFIFO shows that records go to the reader of a FIFO, and that a reload without one keeps
// the former.
func TestLogToFIFO(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	name := fifo(t)
	s.configure("log: {access: " + name + "}")
	r, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	edge := s.start()
	at := edge.address()
	records := transcribe("FIFO", r)
	s.visit(at, demoShop).leave()
	records.Expect(t, ` sni=shop\.keyhole\.test .* reason=client_closed `)

	r.Close()
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `level=ERROR msg="access log not reopened; the former file stays in use" `+
		`error="log\.access: open \S+: no such device or address: no process reads this FIFO; start its reader first"`)
	edge.stderr.Expect(t, `msg="configuration reloaded"`)
	s.visit(at, demoShop).leave()

	if r, err = os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	records = transcribe("FIFO", r)
	s.visit(at, demoShop).leave()
	records.Expect(t, ` sni=shop\.keyhole\.test .* reason=client_closed `)
	edge.stop()
}

// TestLogReaderHangs shows that a FIFO whose reader has stopped to read keeps neither a reload nor
// the end from being served.
func TestLogReaderHangs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	name := fifo(t)
	s.configure("log: {access: " + name + "}")
	r, err := syscall.Open(name, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(r)
	edge := s.start()
	at := edge.address()
	for page := make([]byte, os.Getpagesize()); err == nil; { // until it is full, since nobody reads
		_, err = syscall.Write(r, page)
	}
	s.visit(at, demoShop).leave()
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `msg="configuration reloaded"`)
	edge.signal(syscall.SIGTERM)
	edge.stderr.Expect(t, `msg=draining `)
	edge.exited()
	edge.stderr.Expect(t, `level=ERROR msg="access log is stuck; its last records are lost"`)
}

// TestLogToDevice shows that a device is a log like any other.
func TestLogToDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("log: {access: /dev/zero}")
	edge := s.start()
	s.visit(edge.address(), demoShop).leave()
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `msg="configuration reloaded"`)
	edge.stop()
	if strings.Contains(edge.stderr.String(), "level=ERROR") {
		t.Errorf("stderr is\n%swant no error", edge.stderr)
	}
}
