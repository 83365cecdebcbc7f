package server

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
)

// handshakes is a TLS server behind a gate, as Serve makes it, that answers
// each connection with "ok".
func handshakes(t *testing.T, g gate, config *tls.Config) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &Server{}
	config.GetConfigForClient = s.enterHandshake
	secure := tls.NewListener(&gatedListener{l, g}, config)
	go func() {
		for {
			c, err := secure.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.WriteString(c, "ok")
			}()
		}
	}()
	return l.Addr().String()
}

// A client that connects and says nothing, or begins a hello and stops, holds
// no place; a handshake that has been answered, and one that fails, give
// theirs back.
func TestGateIsHeldForWorkAlone(t *testing.T) {
	g := make(gate, 1)
	cert, _ := newCertificate(t)
	address := handshakes(t, g, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	for range 3 {
		silent, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		if _, err := silent.Write([]byte{22, 3, 1, 1, 0}); err != nil { // a record of 256 bytes that never come
			t.Fatal(err)
		}
	}
	for i := range 5 {
		wanted := &tls.Config{InsecureSkipVerify: true}
		if i%2 == 1 {
			wanted.InsecureSkipVerify = false // breaks the handshake off, once the server has answered
		}
		c, err := tls.Dial("tcp", address, wanted)
		if (err == nil) != wanted.InsecureSkipVerify {
			t.Fatalf("handshake %d: %v", i, err)
		}
		if err != nil {
			continue
		}
		if got, err := io.ReadAll(c); string(got) != "ok" {
			t.Errorf("handshake %d: the server said %q, %v, want ok", i, got, err)
		}
		c.Close()
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
	if _, err := tls.Dial("tcp", address, old); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	leave, err := g.enter(t.Context()) // waits for the last to leave
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(ctx); err == nil {
		t.Error("a full gate let one in whose context had ended")
	}
}
