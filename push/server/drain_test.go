package server

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// Terminals are asked to leave at different moments, are served until they do,
// and Shutdown returns when the last has gone.
func TestDrainAsksTerminalsToLeave(t *testing.T) {
	s := newSite(t)
	phones := []*phone{s.newPhone("1").listen(nil), s.newPhone("2").listen(nil), s.newPhone("3").listen(nil)}
	stranger := s.newPhone("stranger").dial()
	s.eventually("all to be there", func() bool { return len(s.live.list()) == 4 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	stranger.wantError(wire.Draining)
	delays, most := map[int64]bool{}, (patience * 3 / 4).Milliseconds()
	for _, p := range phones {
		d := want[*wire.Drain](p)
		if d.DelayMS < 0 || d.DelayMS > most || delays[d.DelayMS] {
			t.Errorf("delay of %d ms after %v, want another, of at most %d ms", d.DelayMS, delays, most)
		}
		delays[d.DelayMS] = true
	}
	seq := s.publish(phones[0], "still served")
	phones[0].wantMessage("still served")
	phones[0].beat()
	for _, p := range phones {
		p.conn.Close(websocket.StatusNormalClosure, "")
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-s.served; err != nil {
		t.Errorf("Serve: %v, want nil after a drain", err)
	}
	s.served <- nil
	s.eventually("the acknowledged message to be deleted", func() bool {
		_, err := s.store.Message(t.Context(), seq)
		return errors.Is(err, store.ErrNotFound)
	})
}

func TestDrainClosesTerminalsThatStay(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone").listen(nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	want[*wire.Drain](p)
	if q := s.newPhone("late"); q.tryDial() == nil {
		t.Error("a connection is accepted while the server drains, want none")
	}
	cancel()
	p.wantError(wire.Draining) // 1001 "draining"
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want %v", err, context.Canceled)
	}
}

// A terminal that does not read holds up a write for as long as one may take,
// but not the end of a drain.
func TestDrainDoesNotWaitForTerminalsThatDoNotRead(t *testing.T) {
	var full atomic.Bool
	s := newSite(t, func(c *setup) { c.listen = func(l net.Listener) net.Listener { return jammed{l, &full} } })
	s.newPhone("phone").listen(nil)
	full.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx) }()
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want %v", err, context.DeadlineExceeded)
		}
	case <-time.After(patience):
		t.Error("Shutdown has not returned, long after its 100 ms were over")
		s.cancel() // cuts the connection
		<-done
	}
}

// Connections of a jammed listener take nothing while full is set, until they
// are closed.
type jammed struct {
	net.Listener
	full *atomic.Bool
}

func (j jammed) Accept() (net.Conn, error) {
	c, err := j.Listener.Accept()
	return &jammedConn{c, j.full, make(chan struct{}), sync.Once{}}, err
}

type jammedConn struct {
	net.Conn
	full   *atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (c *jammedConn) Write(b []byte) (int, error) {
	if c.full.Load() {
		<-c.closed
	}
	return c.Conn.Write(b)
}

func (c *jammedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestServeEndsWithItsContext(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone").listen(nil)
	stranger := s.newPhone("stranger").dial()
	s.cancel()
	if err := <-s.served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v, want %v", err, context.Canceled)
	}
	s.served <- nil
	p.wantEnd()
	stranger.wantEnd()
	if n := len(s.live.list()); n != 0 {
		t.Errorf("%d terminals are served after Serve has returned, want 0", n)
	}
}

// A client has the answer to its upgrade a moment before the server has made a
// terminal of the connection. Serve waits for that one too.
func TestServeWaitsForTerminalsThatArrive(t *testing.T) {
	s := newSite(t)
	other, err := New(s.config)
	if err != nil {
		t.Fatal(err)
	}
	answered, goOn := make(chan struct{}), make(chan struct{})
	handler := other.http.Handler
	other.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(hijacked{w, func() { close(answered); <-goOn }}, r)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- other.Serve(ctx, l) }()
	p := s.newPhone("phone")
	p.address = l.Addr().String()
	p.dial()
	<-answered
	cancel()
	<-other.live.ctx.Done()
	select {
	case <-other.live.close():
		t.Error("nobody is waited for while a terminal arrives")
	default:
	}
	close(goOn)
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v, want %v", err, context.Canceled)
	}
	p.wantEnd()
	if n := len(other.live.list()); n != 0 {
		t.Errorf("%d terminals are served after Serve has returned, want 0", n)
	}
}

// A hijacked response calls then, once it is.
type hijacked struct {
	http.ResponseWriter
	then func()
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.then()
	return conn, buffered, err
}

// An upgrade that comes to nothing is not waited for.
func TestServeEndsAfterAnUpgradeThatFails(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	for _, version := range []string{"8", ""} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+siteName+"/v1/terminal", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {version}}
		transport := &http.Transport{DialTLSContext: p.dialTLS}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		transport.CloseIdleConnections()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("upgrade with version %q = %d, want %d", version, resp.StatusCode, http.StatusBadRequest)
		}
	}
	s.cancel()
	<-s.served
	s.served <- nil
	if s.live.arriving != 0 {
		t.Errorf("%d terminals are arriving after Serve has returned, want 0", s.live.arriving)
	}
}

func TestShutdownBeforeServe(t *testing.T) {
	s := newSite(t)
	other, err := New(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestNewWantsItsParts(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Auth = nil }, "push server: field Auth is missing"},
		{func(c *Config) { c.Store = nil }, "push server: field Store is missing"},
		{func(c *Config) { c.TLS = nil }, "push server: field TLS is missing; terminals are served over TLS only"},
	} {
		config := s.config
		c.change(&config)
		if _, err := New(config); err == nil || err.Error() != c.want {
			t.Errorf("New: %v, want %q", err, c.want)
		}
	}
}
