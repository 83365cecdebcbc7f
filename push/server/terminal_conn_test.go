package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// A first frame that comes with the upgrade, or overtakes what takes the
// connection over from net/http, is not lost.
func TestFirstFrameOnTheHeelsOfTheUpgrade(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	conn, err := p.dialTLS(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hello, err := wire.Encode(p.hello())
	if err != nil {
		t.Fatal(err)
	}
	request := "GET /v1/terminal HTTP/1.1\r\nHost: " + siteName + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: " + wire.Subprotocol + "\r\n\r\n"
	if _, err := conn.Write(append([]byte(request), masked(hello)...)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %+v, %v", response, err)
	}
	body, err := readServerFrame(r)
	if err != nil {
		t.Fatal(err)
	}
	f, err := wire.DecodeServer(body)
	if c, ok := f.(*wire.Challenge); err != nil || !ok || !bytes.Equal(c.ClientToken, p.said.ClientToken) {
		t.Errorf("received %s, %v, want the challenge", body, err)
	}
}

// Frames come in pieces of any size, and several in one piece.
func TestFramesInPieces(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	p.dialer = func() (net.Conn, error) {
		c, err := net.Dial("tcp", s.address)
		return crumbs{c}, err
	}
	p.listen(nil)
	for range 3 {
		p.beat()
	}
	s.publish(p, "hello")
	p.wantMessage("hello")

	p.dialer = nil
	p.listen(nil)
	beat := masked([]byte(`{"type":"heartbeat","sent":1,"new_key":"","renewal":null}` + strings.Repeat(" ", 80)))
	if _, err := p.tls.Write(bytes.Repeat(beat, 10)); err != nil { // in one TLS record
		t.Fatal(err)
	}
	for range 10 {
		want[*wire.HeartbeatReply](p)
	}
}

// crumbs writes byte by byte.
type crumbs struct{ net.Conn }

func (c crumbs) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		_, err = c.Conn.Write(b[n : n+1])
		n++
	}
	return n, err
}

// A listener may wrap what it accepts, as one of the PROXY protocol does.
func TestListenerWithConnectionsOfItsOwn(t *testing.T) {
	s := newSite(t, func(c *setup) { c.listen = func(l net.Listener) net.Listener { return wrapping{l} } })
	p := s.newPhone("phone").listen(nil)
	s.publish(p, "hello")
	p.wantMessage("hello")
	p.beat()
	s.channels.Event(store.Event{Kind: store.TokenRevoked, Key: store.TokenHash(p.token)})
	p.wantError(wire.TokenRevoked)
}

type wrapping struct{ net.Listener }

func (w wrapping) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

func TestTerminalPathWantsAWebSocket(t *testing.T) {
	s := newSite(t)
	config := &tls.Config{ServerName: siteName, RootCAs: s.roots}
	h1 := &http.Transport{TLSClientConfig: config}
	h2 := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
	defer h1.CloseIdleConnections()
	defer h2.CloseIdleConnections()
	for _, c := range []struct {
		name string
		with http.RoundTripper
	}{{"HTTP/1.1", h1}, {"HTTP/2.0", h2}} {
		request, err := http.NewRequest(http.MethodGet, "https://"+s.address+"/v1/terminal", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.with.RoundTrip(request)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var body errorReply
		err = json.NewDecoder(response.Body).Decode(&body)
		response.Body.Close()
		if err != nil || response.Proto != c.name || response.StatusCode != http.StatusBadRequest || body.Error.Code != wire.BadRequest {
			t.Errorf("%s: status %d with %+v, %v, want 400 with %s", c.name, response.StatusCode, body, err, wire.BadRequest)
		}
	}
}

// A stranger who stops in the middle of a frame is let go of like any other: the
// closing handshake would read the rest of the frame first, for ever.
func TestHalfAFrameDoesNotKeepTheConnection(t *testing.T) {
	s := newSite(t, func(c *setup) { c.server.Limits.HandshakeTimeout = 100 * time.Millisecond })
	p := s.newPhone("phone").dial()
	if _, err := p.tls.Write([]byte{0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 'x'}); err != nil {
		t.Fatal(err)
	}
	s.eventually("the connection to be there", func() bool { return s.refusals(wire.HandshakeTimeout) == 1 })
	s.eventually("the connection to be gone", func() bool { return len(s.live.list()) == 0 })
}

func TestSilentTerminalIsClosed(t *testing.T) {
	const every = 20 * time.Second // half of it is for a busy machine
	s := newSite(t, func(c *setup) { c.server.Heartbeat = every })
	p := s.newPhone("phone")
	if c := p.verify(); c.HeartbeatMS != every.Milliseconds() {
		t.Errorf("heartbeat_ms %d, want %d", c.HeartbeatMS, every.Milliseconds())
	}
	for range 5 {
		s.clock.advance(2 * every)
		p.beat()
	}
	s.clock.advance(3 * every)
	e := want[*wire.Error](p) // cut, without waiting for an answer
	if e.Code != wire.IdleTimeout || !e.Fatal {
		t.Errorf("error %+v, want %s, fatal", e, wire.IdleTimeout)
	}
	p.wantEnd()
	s.eventually("the channel to be gone", func() bool { return s.channels.Len() == 0 && len(s.live.list()) == 0 })
}

// A terminal that does not read is cut off; its messages wait for its next
// connection, and nobody else waits for it.
func TestSlowTerminalIsCutOff(t *testing.T) {
	s := newSite(t, func(c *setup) {
		c.server.Limits.WriteTimeout = 5 * time.Second
		c.server.Limits.Window = 1000
		c.listen = func(l net.Listener) net.Listener { return narrow{l} }
	})
	p := s.newPhone("slow")
	p.dialer = func() (net.Conn, error) {
		c, err := net.Dial("tcp", s.address)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		return c, err
	}
	p.listen(nil)
	quick := s.newPhone("quick").listen(nil)
	const many = 200
	text := strings.Repeat("x", 4000)
	for range many {
		s.publish(p, text, func(m *store.Message) { m.ID = string(random(8)) })
	}
	s.publish(quick, "unhindered")
	quick.wantMessage("unhindered")
	s.eventually("the slow terminal to be cut off", func() bool { return s.channels.Len() == 1 && len(s.live.list()) == 1 })
	if n := s.refusals(wire.SlowTerminal); n != 1 {
		t.Errorf("%v refusals counted as %s, want 1", n, wire.SlowTerminal)
	}
	p.dialer = nil
	p.listen(nil)
	for range many {
		p.wantMessage(text)
	}
}

// narrow gives what it accepts a small buffer to write to.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
	}
	return c, err
}

func TestTooManyConnections(t *testing.T) {
	s := newSite(t, func(c *setup) { c.server.Limits.Connections = 2; c.server.Limits.ConnectionsPerAccount = 1 })
	s.addUser("bob")
	ada, second := s.newPhone("phone"), s.newPhone("tablet")
	bob := s.newPhoneOf("bob", "phone", "mail")
	ada.verify()
	second.dial().send(second.hello())
	second.challenged()
	second.send(second.confirm())
	if e := second.wantError(wire.TooManyConnections); e.RetryAfterMS <= 0 {
		t.Errorf("retry_after_ms %d, want a time", e.RetryAfterMS)
	}
	s.eventually("room", func() bool { return len(s.live.list()) == 1 })
	bob.verify()
	second.dial()
	second.wantError(wire.TooManyConnections) // on this node, and before anything is asked
	bob.hangUp()
	s.eventually("room", func() bool { return len(s.live.list()) == 1 })
	ada.verify() // in place of its own former connection
}

// The frames of RFC 6455 section 5.2 have three lengths.
func TestTextHeader(t *testing.T) {
	for _, c := range []struct {
		n    int
		want []byte
	}{
		{0, []byte{0x81, 0}}, {125, []byte{0x81, 125}},
		{126, []byte{0x81, 126, 0, 126}}, {65535, []byte{0x81, 126, 0xff, 0xff}},
		{65536, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
	} {
		if got := appendTextHeader(nil, c.n); !bytes.Equal(got, c.want) {
			t.Errorf("appendTextHeader(nil, %d) = %x, want %x", c.n, got, c.want)
		}
	}
}
