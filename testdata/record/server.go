package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// server is a TLS server that tells what each connection's hello was.
type server struct {
	listener net.Listener
	config   *tls.Config
	hellos   chan entry
	done     chan struct{}
	serving  sync.WaitGroup
}

func newServer() (*server, error) {
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &server{
		listener: l,
		config: &tls.Config{
			Certificates: []tls.Certificate{certificate},
			MinVersion:   tls.VersionTLS10,
			NextProtos:   []string{"http/1.1"},
		},
		hellos: make(chan entry),
		done:   make(chan struct{}),
	}, nil
}

func (s *server) port() string {
	return strconv.Itoa(s.listener.Addr().(*net.TCPAddr).Port)
}

func (s *server) close() {
	close(s.done)
	s.listener.Close()
	s.serving.Wait()
}

// serve accepts until the listener is closed. One connection at a time, so that "the second hello" means something.
func (s *server) serve() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.handle(c)
	}
}

// handle records the hello, and then completes the handshake and answers one request, so that a client which is to
// resume its session gets the ticket for it.
func (s *server) handle(raw net.Conn) {
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(3 * time.Second))
	c := &recordingConn{Conn: raw}
	config := s.config.Clone()
	config.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		h := reading(info)
		h.bytes, h.Segments = slices.Concat(c.segments...), lengths(c.segments)
		select {
		case s.hellos <- h:
		case <-s.done:
		}
		return s.config, nil // not a clone: it keeps the ticket keys
	}
	t := tls.Server(c, config)
	defer t.Close()
	request := make([]byte, 4096)
	if _, err := t.Read(request); err != nil {
		return // a client that refuses the certificate has still shown its hello
	}
	io.WriteString(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

// recordingConn keeps what each read returned: a segment, or several that came together.
type recordingConn struct {
	net.Conn
	segments [][]byte
	unread   []byte
}

// Read reads from the network with a buffer of its own, since crypto/tls asks for a few bytes at a time and would hide
// where the segments end.
func (c *recordingConn) Read(b []byte) (int, error) {
	if len(c.unread) == 0 {
		segment := make([]byte, 1<<16)
		n, err := c.Conn.Read(segment)
		if err != nil {
			return 0, err
		}
		c.segments = append(c.segments, segment[:n])
		c.unread = segment[:n]
	}
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

func lengths(segments [][]byte) []int {
	var n []int
	for _, s := range segments {
		n = append(n, len(s))
	}
	return n
}

// reading returns what crypto/tls reads in the hello.
func reading(info *tls.ClientHelloInfo) entry {
	versions := info.SupportedVersions
	if !slices.Contains(info.Extensions, 43) {
		// Without supported_versions, crypto/tls lists every version up to the one that the hello names.
		versions = versions[:1]
	}
	h := entry{
		ServerName: info.ServerName,
		ALPN:       info.SupportedProtos,
		ECH:        slices.Contains(info.Extensions, 0xfe0d),
		JA4:        ja4Of(info),
	}
	for _, v := range versions {
		h.Versions = append(h.Versions, fmt.Sprintf("0x%04x", v))
	}
	return h
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"shop.example.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
