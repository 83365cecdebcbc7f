package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"keyhole/internal/termkit"
	"keyhole/push/auth"
	"keyhole/push/keys"
	"keyhole/push/wire"
)

// A phone is a terminal that does what a test tells it, right or wrong.
type phone struct {
	t    testing.TB
	site *site

	user, device, app string
	key               *keys.Private
	session           string
	server            keys.Public // that the session is sealed to
	token             string      // of messages

	address string                   // to dial, instead of the site's
	config  func(*tls.Config)        // changes what it dials with
	agree   []string                 // subprotocols to offer; nil: the right one
	said    wire.Exchange            // of the exchange under way
	proof   []byte                   // the first confirmation's
	tls     *tls.Conn                //
	conn    *websocket.Conn          //
	last    *wire.Confirmed          //
	binding string                   // what hello says
	dialer  func() (net.Conn, error) // instead of TCP to the site
}

// newPhone has logged in as ada, and has a message token.
func (s *site) newPhone(device string) *phone { return s.newPhoneOf("ada", device, "mail") }

func (s *site) newPhoneOf(user, device, app string) *phone {
	s.t.Helper()
	p := &phone{t: s.t, site: s, user: user, device: device, app: app, address: s.address, binding: wire.BindingExporter}
	p.login()
	p.askToken()
	s.t.Cleanup(p.hangUp)
	return p
}

func (p *phone) login() {
	p.t.Helper()
	p.key = newKey(p.t)
	reply, err := p.site.auth.Login(p.t.Context(), auth.LoginRequest{
		User: p.user, Password: sitePassword, Device: p.device, App: p.app, Key: p.key.Public().String(),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.session = reply.Session
	if p.server, err = keys.ParsePublic(reply.ServerKey); err != nil {
		p.t.Fatal(err)
	}
}

func (p *phone) askToken() {
	p.t.Helper()
	session, err := p.site.auth.Open(p.t.Context(), p.session)
	if err != nil {
		p.t.Fatal(err)
	}
	p.token, _, err = p.site.auth.Token(p.t.Context(), session, p.device, p.app, p.user)
	if err != nil {
		p.t.Fatal(err)
	}
}

var newKey = termkit.NewKey

// dial connects and upgrades, over one TCP connection of its own.
func (p *phone) dial() *phone {
	p.t.Helper()
	if err := p.tryDial(); err != nil {
		p.t.Fatalf("dial: %v", err)
	}
	return p
}

func (p *phone) tryDial() error {
	p.hangUp()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	transport := &http.Transport{DialTLSContext: p.dialTLS}
	defer transport.CloseIdleConnections()
	agree := p.agree
	if agree == nil {
		agree = []string{wire.Subprotocol}
	}
	conn, _, err := websocket.Dial(ctx, "https://"+siteName+"/v1/terminal", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: agree,
	})
	if err != nil {
		return err
	}
	conn.SetReadLimit(1 << 20)
	p.conn = conn
	return nil
}

func (p *phone) dialTLS(ctx context.Context, _, _ string) (net.Conn, error) {
	dial := func() (net.Conn, error) { return net.Dial("tcp", p.address) }
	if p.dialer != nil {
		dial = p.dialer
	}
	raw, err := dial()
	if err != nil {
		return nil, err
	}
	c := &tls.Config{ServerName: siteName, RootCAs: p.site.roots, NextProtos: []string{"http/1.1"}}
	if p.config != nil {
		p.config(c)
	}
	p.tls = tls.Client(raw, c)
	if err := p.tls.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return p.tls, nil
}

func (p *phone) hangUp() {
	if p.conn != nil {
		p.conn.CloseNow()
		p.conn = nil
	}
}

func (p *phone) send(f wire.Frame) {
	p.t.Helper()
	termkit.Send(p.t, p.conn, f)
}

func (p *phone) sendText(text string) {
	p.t.Helper()
	p.sendMessage(websocket.MessageText, []byte(text))
}

func (p *phone) sendMessage(kind websocket.MessageType, b []byte) {
	p.t.Helper()
	termkit.SendMessage(p.t, p.conn, kind, b)
}

// receive returns the next frame of the server's, or why there is none.
func (p *phone) receive() (wire.Frame, error) { return termkit.Receive(p.conn) }

// want is the next frame, which has to be an F.
func want[F wire.Frame](p *phone) F {
	p.t.Helper()
	return termkit.Want[F](p.t, p.conn)
}

// wantError wants an error frame with this code; a fatal one with the close
// that belongs to it.
func (p *phone) wantError(code wire.Code) *wire.Error {
	p.t.Helper()
	e := want[*wire.Error](p)
	if e.Code != code || e.Message == "" {
		p.t.Fatalf("error %+v, want code %s and a message", e, code)
	}
	if fatal := frameRefusals[code].status != 0; e.Fatal != fatal {
		p.t.Fatalf("error %+v: fatal is %t, want %t", e, e.Fatal, fatal)
	}
	if e.Fatal {
		p.wantClose(frameRefusals[code].status, string(code))
	}
	return e
}

func (p *phone) wantClose(status websocket.StatusCode, reason string) {
	p.t.Helper()
	f, err := p.receive()
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != status || closed.Reason != reason {
		p.t.Fatalf("received %v, %v, want a close with %d %q", f, err, status, reason)
	}
}

// wantEnd wants the connection to end, without a word.
func (p *phone) wantEnd() {
	p.t.Helper()
	if f, err := p.receive(); err == nil {
		p.t.Fatalf("received %s %+v, want the end", f.Kind(), f)
	}
}

// hello is V1 as it ought to be.
func (p *phone) hello() *wire.Hello {
	p.t.Helper()
	p.said = wire.Exchange{
		User: p.user, Device: p.device, App: p.app, AppVersion: "2.1", Session: p.session,
		Client: p.key.Public(), Server: p.server, Binding: p.binding,
	}
	return termkit.Hello(p.t, &p.said, p.tls)
}

// challenged takes V2.
func (p *phone) challenged() *wire.Challenge {
	p.t.Helper()
	c := want[*wire.Challenge](p)
	termkit.Challenged(p.t, &p.said, c)
	return c
}

// confirm is V3 as it ought to be.
func (p *phone) confirm() *wire.Confirm {
	p.t.Helper()
	c, proof := termkit.Confirm(p.t, &p.said, p.key)
	p.proof = proof
	return c
}

// confirmed takes V4.
func (p *phone) confirmed() *wire.Confirmed {
	p.t.Helper()
	p.last = want[*wire.Confirmed](p)
	termkit.Confirmed(p.t, &p.said, p.last, p.proof)
	return p.last
}

// verify dials and goes through the exchange.
func (p *phone) verify() *wire.Confirmed {
	p.t.Helper()
	p.dial()
	p.send(p.hello())
	p.challenged()
	p.send(p.confirm())
	return p.confirmed()
}

// listen verifies and asks for messages.
func (p *phone) listen(state map[string]string) *phone {
	p.t.Helper()
	p.verify()
	p.send(&wire.Listen{Ref: "l", Token: p.token, State: state})
	if l := want[*wire.Listening](p); l.Ref != "l" {
		p.t.Fatalf("listening has ref %q, want %q", l.Ref, "l")
	}
	return p
}

// beat sends a plain heartbeat.
func (p *phone) beat() *wire.HeartbeatReply {
	p.t.Helper()
	p.send(&wire.Heartbeat{Sent: p.site.clock.now().UnixMilli()})
	return want[*wire.HeartbeatReply](p)
}

// wantMessage wants a message with this text, and acknowledges it.
func (p *phone) wantMessage(text string) *wire.Message {
	p.t.Helper()
	return termkit.WantMessage(p.t, p.conn, text)
}

// renewal is a heartbeat that asks for a new key, as it ought to.
func (p *phone) renewal(next *keys.Private, sTime int64, epoch uint64, nonce []byte) *wire.Heartbeat {
	p.t.Helper()
	sent := p.site.clock.now().UnixMilli()
	return termkit.Renewal{Session: p.session, Sent: sent, Offset: sent - sTime, Epoch: epoch, Nonce: nonce}.Heartbeat(p.t, p.key, next)
}
