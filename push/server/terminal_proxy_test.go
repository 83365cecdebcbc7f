package server

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	"keyhole/push/wire"
)

// A middleman terminates TLS between a phone and the server, with a certificate
// that the phone trusts, as one with a stolen or misissued certificate would.
type middleman struct {
	address string
	up      chan *tls.Conn // its connections to the server
}

func newMiddleman(s *site) *middleman {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	m := &middleman{l.Addr().String(), make(chan *tls.Conn, 8)}
	var tasks sync.WaitGroup
	s.t.Cleanup(func() { l.Close(); tasks.Wait() })
	tasks.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { m.relay(s, down) })
		}
	})
	return m
}

func (m *middleman) relay(s *site, raw net.Conn) {
	down := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{s.cert}})
	defer down.Close()
	up, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: siteName, RootCAs: s.roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return
	}
	defer up.Close()
	m.up <- up
	go func() { io.Copy(up, down); up.CloseWrite() }()
	io.Copy(down, up)
}

// What a middleman relays faithfully is bound to two TLS connections.
func TestV5TerminatingProxyIsFoundOut(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	m := newMiddleman(s)
	before := s.records(p)
	p.address = m.address
	p.dial().send(p.hello())
	p.challenged()
	p.send(p.confirm())
	p.wantError(wire.BindingMismatch)

	// The tag is no secret between the two ends of the middleman's own
	// connection: it can make the right one, but not the proof.
	p.dial()
	<-m.up // of the first connection
	up := <-m.up
	p.send(p.hello())
	p.challenged()
	c := p.confirm()
	state := up.ConnectionState()
	exporter, err := wire.Exporter(&state)
	if err != nil {
		t.Fatal(err)
	}
	forged := p.said
	forged.Exporter = exporter
	c.ChannelBinding = forged.BindingTag()
	p.send(c)
	p.wantError(wire.ProofInvalid)

	if after := s.records(p); after != before {
		t.Errorf("records after both attempts:\n%s, want\n%s", after, before)
	}
	p.address = s.address
	p.verify()
}
