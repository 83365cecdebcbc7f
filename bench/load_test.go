package main

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/bench/internal/proc"
)

// limit is far more than any of these takes.
const limit = 30 * time.Second

func testLoad(t *testing.T, b behaviour) *load {
	t.Helper()
	return testLoadAt(t, b, anyPort())
}

func testLoadAt(t *testing.T, b behaviour, at unix.Sockaddr) *load {
	t.Helper()
	hellos, err := captureHellos(serverNames())
	if err != nil {
		t.Fatal(err)
	}
	ld, err := newLoad(t.Context(), hellos, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ld.close)
	ld.origin.behaviour = b
	return ld
}

// Every session works against the origin itself, ends cleanly, and can be followed by another.
func TestSessions(t *testing.T) {
	for name, tt := range map[string]struct {
		behaviour behaviour
		session   func() session
		want      int64 // of what the workload counts
	}{
		"short":    {closing, func() session { return short{} }, 300},
		"download": {sending, func() session { return download{} }, 20 << 20},
		"upload":   {discarding, func() session { return upload{} }, 20 << 20},
		"pingpong": {echoing, func() session { return new(pingpong) }, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			ld := testLoad(t, tt.behaviour)
			for range 2 {
				ld.count = 0
				if err := ld.open(10, tt.session); err != nil {
					t.Fatal(err)
				}
				if err := ld.loop.runUntil(limit, func() bool { return ld.count >= tt.want }); err != nil {
					t.Fatalf("%d counted, want %d: %v", ld.count, tt.want, err)
				}
				if err := ld.clear(); err != nil {
					t.Fatal(err)
				}
				if ld.origin.open != 0 {
					t.Errorf("%d connections open at the origin after clear, want 0", ld.origin.open)
				}
			}
		})
	}
}

func TestOriginOnUnixSocket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "origin.sock")
	t.Run("use", func(t *testing.T) { // after which the load is closed
		ld := testLoadAt(t, closing, &unix.SockaddrUnix{Name: file})
		if err := ld.open(10, func() session { return short{} }); err != nil {
			t.Fatal(err)
		}
		if err := ld.clear(); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket after close: %v, want it removed", err)
	}
}

func TestLatencyCountsEveryMessage(t *testing.T) {
	ld := testLoad(t, echoing)
	p := &paced{run: &pacing{begin: time.Now(), from: 2}}
	if err := ld.open(1, func() session { return p }); err != nil {
		t.Fatal(err)
	}
	for due := range time.Duration(5) {
		if err := p.send(due); err != nil {
			t.Fatal(err)
		}
	}
	if err := ld.loop.runUntil(limit, func() bool { return len(p.due) == 0 }); err != nil {
		t.Fatalf("%d messages under way: %v", len(p.due), err)
	}
	if got := len(p.run.measured); got != 3 {
		t.Errorf("%d of 5 messages measured, want the 3 that are not for warming up", got)
	}
}

// A proxy that cuts connections must not be credited with them.
func TestCutConnectionIsAnError(t *testing.T) {
	ld := testLoad(t, closing)
	err := ld.open(1, func() session { return idle{} })
	if err == nil {
		err = ld.loop.runFor(limit)
	}
	if err == nil || !strings.Contains(err.Error(), "ended early") {
		t.Errorf("idle on a connection that the origin closes: error is %v, want one with %q", err, "ended early")
	}
}

func TestRefusedConnectionIsAnError(t *testing.T) {
	ld := testLoad(t, closing)
	nobody, err := proc.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	ld.target = sockaddr(nobody)
	if err := ld.open(1, func() session { return idle{} }); err == nil || !strings.Contains(err.Error(), unix.ECONNREFUSED.Error()) {
		t.Errorf("open on a port without a listener: error is %v, want %q", err, unix.ECONNREFUSED.Error())
	}
}

func TestHellosNameTheirRoute(t *testing.T) {
	names := serverNames()
	hellos, err := captureHellos(names)
	if err != nil {
		t.Fatal(err)
	}
	if len(hellos) != routeCount {
		t.Fatalf("%d hellos, want %d", len(hellos), routeCount)
	}
	for i, h := range hellos {
		if got := readName(h); got != names[i] {
			t.Errorf("hello %d has the name %q, want %q", i, got, names[i])
		}
	}
}

// readName has crypto/tls read the hello.
func readName(hello []byte) string {
	client, server := net.Pipe()
	defer client.Close()
	go client.Write(hello)
	var name string
	tls.Server(server, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name = h.ServerName
		server.Close()
		return nil, nil
	}}).Handshake()
	return name
}
