package server

import (
	"context"
	"crypto/tls"
	"net"
	"runtime"
	"sync"
	"time"
)

// handshakeTimeout bounds a TLS handshake, the wait at the gate left out, and
// the head of a request.
const handshakeTimeout = 10 * time.Second

// A gate admits a bounded number at a time, first come, first served. After a
// restart of the edge every terminal comes back at once. If all handshakes and
// exchanges shared the processors, all would finish late instead of half of them
// early, and a client whose time runs out would come again.
//
// A place is held for work, never while a client has still to send something.
type gate chan struct{}

func newGate() gate { return make(gate, 4*runtime.GOMAXPROCS(0)) }

// enter waits for a place, or for the end of ctx.
func (g gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g <- struct{}{}:
		return func() { <-g }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A gatedListener has a gate for TLS handshakes. A place is taken when the
// ClientHello is there, and given back with the server's answer to it.
type gatedListener struct {
	net.Listener
	gate gate
}

func (l *gatedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gatedConn{Conn: c, gate: l.gate}, nil
}

// A gatedConn knows when its handshake has cost what it costs.
type gatedConn struct {
	net.Conn
	gate gate

	mu     sync.Mutex
	inside bool
}

// enterHandshake is tls.Config.GetConfigForClient. The time that it waits does
// not count: the client has done its part.
func (s *Server) enterHandshake(h *tls.ClientHelloInfo) (*tls.Config, error) {
	c, ok := h.Conn.(*gatedConn)
	if !ok { // a listener of a test's own
		return nil, nil
	}
	if _, err := c.gate.enter(h.Context()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.inside = true
	c.mu.Unlock()
	return nil, c.SetDeadline(time.Now().Add(handshakeTimeout))
}

func (c *gatedConn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside {
		c.inside = false
		<-c.gate
	}
}

func (c *gatedConn) Write(b []byte) (int, error) {
	c.leave()
	return c.Conn.Write(b)
}

func (c *gatedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// plainConn is the connection below TLS, and below the gate.
func plainConn(c *tls.Conn) net.Conn {
	if g, ok := c.NetConn().(*gatedConn); ok {
		return g.Conn
	}
	return c.NetConn()
}
