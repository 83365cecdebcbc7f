package server

import (
	"bytes"
	"crypto/tls"
	"testing"
	"time"

	"github.com/coder/websocket"

	"keyhole/push/auth"
	"keyhole/push/wire"
)

// waived lets terminals of the app in without the TLS exporter.
func waived(app string) func(*setup) {
	return func(c *setup) { c.auth.Apps = map[string]auth.AppPolicy{app: {Binding: auth.Waived}} }
}

func TestV1V2ServerAnswersWithBothTokens(t *testing.T) {
	s := newSite(t)
	var tokens [][]byte
	for range 3 {
		p := s.newPhone("phone").dial()
		p.send(p.hello())
		c := p.challenged() // checks that the client's token came back
		if len(c.ServerToken) != 32 || c.Version != wire.Subprotocol {
			t.Fatalf("challenge %+v, want a token of 32 bytes and version %s", c, wire.Subprotocol)
		}
		for _, other := range tokens {
			if bytes.Equal(c.ServerToken, other) {
				t.Fatalf("server token %x was used for another exchange", other)
			}
		}
		tokens = append(tokens, c.ServerToken)
	}
	if n := s.channels.Len(); n != 0 {
		t.Errorf("%d terminals before the first confirmation, want 0", n)
	}
}

func TestV3V4BothProveThemselvesBeforeAnythingElse(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	c := p.verify() // checks the server's proof
	if c.Binding != wire.BindingExporter || c.Epoch != 0 || len(c.Nonce) == 0 || c.Session != "" || c.ServerKey != nil {
		t.Errorf("confirmed %+v, want binding %s, epoch 0, a nonce, and no new session or server key", c, wire.BindingExporter)
	}
	if c.HeartbeatMS != 240_000 || c.RenewMS != 6*3600_000 {
		t.Errorf("heartbeat_ms %d and renew_ms %d, want those of 4 min and 6 h", c.HeartbeatMS, c.RenewMS)
	}
	want := wire.Limits{FrameBytes: 16384, PayloadBytes: 4096, StateKeys: 64, Window: 64}
	if c.Limits != want {
		t.Errorf("limits %+v, want %+v", c.Limits, want)
	}
	if n := s.channels.Len(); n != 1 {
		t.Errorf("%d terminals after the exchange, want 1", n)
	}
	p.beat()
}

// Every way to say the wrong thing in the exchange ends it by name, and leaves
// the store and the registry as they were.
func TestV4ExchangeRefused(t *testing.T) {
	s := newSite(t)
	other := bytes.Repeat([]byte{7}, 32)
	hello := func(change func(*wire.Hello)) func(*phone) {
		return func(p *phone) {
			h := p.hello()
			change(h)
			p.send(h)
		}
	}
	confirm := func(change func(*phone, *wire.Confirm)) func(*phone) {
		return func(p *phone) {
			p.send(p.hello())
			p.challenged()
			c := p.confirm()
			change(p, c)
			p.send(c)
		}
	}
	for _, c := range []struct {
		name string
		do   func(*phone)
		code wire.Code
	}{
		{"short client token", hello(func(h *wire.Hello) { h.ClientToken = h.ClientToken[:31] }), wire.BadFrame},
		{"no versions", hello(func(h *wire.Hello) { h.Versions = nil }), wire.VersionUnsupported},
		{"other version", hello(func(h *wire.Hello) { h.Versions = []string{"keyhole-push.v2"} }), wire.VersionUnsupported},
		{"too many versions", hello(func(h *wire.Hello) { h.Versions = make([]string, 17) }), wire.BadFrame},
		{"long version", hello(func(h *wire.Hello) { h.Versions = []string{wire.Subprotocol, string(make([]byte, 65))} }), wire.BadFrame},
		{"long app version", hello(func(h *wire.Hello) { h.AppVersion = string(bytes.Repeat([]byte("1"), 65)) }), wire.BadFrame},
		{"unknown binding", hello(func(h *wire.Hello) { h.Binding = "tls-unique" }), wire.BadFrame},
		{"binding waived by the client", hello(func(h *wire.Hello) { h.Binding = wire.BindingWaived }), wire.BadFrame},
		{"no binding where required", hello(func(h *wire.Hello) { h.Binding = wire.BindingNone }), wire.BindingRequired},
		{"no session", hello(func(h *wire.Hello) { h.Session = "" }), wire.SessionInvalid},
		{"damaged session", hello(func(h *wire.Hello) { h.Session = h.Session[:len(h.Session)-4] + "AAAA" }), wire.SessionInvalid},

		{"hello twice", func(p *phone) { p.send(p.hello()); p.challenged(); p.send(p.hello()) }, wire.OutOfOrder},
		{"confirm before hello", func(p *phone) { p.hello(); p.said.ServerToken = other; p.send(p.confirm()) }, wire.OutOfOrder},

		{"wrong server token", confirm(func(_ *phone, c *wire.Confirm) { c.ServerToken = other }), wire.ServerTokenMismatch},
		{"short server token", confirm(func(_ *phone, c *wire.Confirm) { c.ServerToken = c.ServerToken[:31] }), wire.ServerTokenMismatch},
		{"client token for server token", confirm(func(p *phone, c *wire.Confirm) { c.ServerToken = p.said.ClientToken }), wire.ServerTokenMismatch},
		{"server token of another exchange", confirm(func(p *phone, c *wire.Confirm) {
			q := p.site.newPhone("other").dial()
			q.send(q.hello())
			c.ServerToken = q.challenged().ServerToken
		}), wire.ServerTokenMismatch},
		{"server token too late", confirm(func(p *phone, _ *wire.Confirm) { p.site.clock.advance(11 * time.Second) }), wire.ServerTokenExpired},

		{"versions added", confirm(func(_ *phone, c *wire.Confirm) { c.Versions = append([]string{"keyhole-push.v2"}, c.Versions...) }), wire.Downgrade},
		{"versions missing", confirm(func(_ *phone, c *wire.Confirm) { c.Versions = nil }), wire.Downgrade},

		{"no binding tag", confirm(func(_ *phone, c *wire.Confirm) { c.ChannelBinding = nil }), wire.BindingMismatch},
		{"wrong binding tag", confirm(func(_ *phone, c *wire.Confirm) { c.ChannelBinding = other }), wire.BindingMismatch},

		{"no proof", confirm(func(_ *phone, c *wire.Confirm) { c.Proof = nil }), wire.ProofInvalid},
		{"proof by another key", confirm(func(p *phone, c *wire.Confirm) {
			k := newKey(p.t)
			p.said.Client = k.Public()
			c.Proof, _ = p.said.ClientProof(k)
		}), wire.ProofInvalid},
		{"proof for another user", confirm(func(p *phone, c *wire.Confirm) { p.said.User = "eve"; c.Proof, _ = p.said.ClientProof(p.key) }), wire.ProofInvalid},
		{"proof for another app version", confirm(func(p *phone, c *wire.Confirm) { p.said.AppVersion = "9"; c.Proof, _ = p.said.ClientProof(p.key) }), wire.ProofInvalid},
		{"proof for another server key", confirm(func(p *phone, c *wire.Confirm) {
			p.said.Server = newKey(p.t).Public()
			c.Proof, _ = p.said.ClientProof(p.key)
		}), wire.ProofInvalid},
		{"garbage", func(p *phone) { p.sendText("\x00\xff garbage") }, wire.BadFrame},
		{"empty message", func(p *phone) { p.sendText("") }, wire.BadFrame},
		{"not an object", func(p *phone) { p.sendText(`["hello"]`) }, wire.BadFrame},
		{"unknown frame", func(p *phone) { p.sendText(`{"type":"publish"}`) }, wire.UnknownFrame},
		{"a server's frame", func(p *phone) { p.sendText(`{"type":"confirmed"}`) }, wire.UnknownFrame},
		{"unknown field", func(p *phone) { p.sendText(`{"type":"hello","admin":true}`) }, wire.BadFrame},
		{"binary message", func(p *phone) { p.sendMessage(websocket.MessageBinary, []byte(`{"type":"hello"}`)) }, wire.BadFrame},
		{"oversized frame", func(p *phone) {
			p.sendText(`{"type":"hello","session":"` + string(bytes.Repeat([]byte("a"), 16384)) + `"}`)
		}, wire.FrameTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := s.newPhone("phone")
			p.t = t
			before, counted := s.records(p), s.refusals(c.code)
			p.dial()
			c.do(p)
			p.wantError(c.code)
			if after := s.records(p); after != before {
				t.Errorf("records after %s:\n%s, want\n%s", c.code, after, before)
			}
			if n := s.refusals(c.code) - counted; n != 1 {
				t.Errorf("%v refusals counted as %s, want 1", n, c.code)
			}
		})
	}
	s.eventually("the connections to be gone", func() bool { return len(s.live.list()) <= 1 }) // but for the other phone's
}

// Nothing but the exchange is looked at before its end: no message, state or
// key passes (V4).
func TestV4NothingPassesBeforeTheSecondConfirmation(t *testing.T) {
	s := newSite(t)
	offset := int64(1)
	for _, early := range []wire.Frame{
		&wire.Listen{Token: "x"}, &wire.State{Set: map[string]string{"network": "wifi"}}, &wire.Ack{Seq: []uint64{1}},
		&wire.Heartbeat{Sent: 1}, &wire.Heartbeat{Sent: 1, NewKey: "k", Offset: &offset, Renewal: &wire.Renewal{}},
	} {
		for _, afterHello := range []bool{false, true} {
			p := s.newPhone("phone")
			before := s.records(p)
			p.dial()
			if afterHello {
				p.send(p.hello())
				p.challenged()
			}
			p.send(early)
			p.wantError(wire.NotVerified)
			if after := s.records(p); after != before {
				t.Errorf("records after an early %s:\n%s, want\n%s", early.Kind(), after, before)
			}
		}
	}
}

// The store is closed: whatever does not need it is still refused by name, and
// the connection of who has no session costs the store nothing.
func TestV1StoreIsNotReadBeforeASessionIsOpened(t *testing.T) {
	s := newSite(t)
	s.troubled = true
	p := s.newPhone("phone")
	s.store.Close()
	for _, f := range []wire.Frame{&wire.Listen{Token: p.token}, &wire.State{}, &wire.Ack{}, &wire.Heartbeat{}} {
		p.dial().send(f)
		p.wantError(wire.NotVerified)
	}
	p.dial()
	h := p.hello()
	h.Session = h.Session[:len(h.Session)-4] + "AAAA"
	p.send(h)
	p.wantError(wire.SessionInvalid)
	p.dial().send(p.hello())
	if e := p.wantError(wire.StoreUnavailable); e.RetryAfterMS <= 0 {
		t.Errorf("retry_after_ms is %d, want a time", e.RetryAfterMS)
	}
}

func TestV1ClientTokenIsGoodOnce(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	p.verify()
	used := p.said.ClientToken
	p.dial()
	h := p.hello()
	h.ClientToken = used
	p.send(h)
	p.wantError(wire.ClientTokenReused)

	// One that was refused for its session is not remembered: anybody can send
	// that, also to have another's token refused.
	p.dial()
	h = p.hello()
	h.Session = "AAAA"
	p.send(h)
	p.wantError(wire.SessionInvalid)
	again := h.ClientToken
	p.dial()
	h = p.hello()
	h.ClientToken, p.said.ClientToken = again, again
	p.send(h)
	p.challenged()
}

func TestV4ServerTokenIsGoodOnce(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	p.verify()
	c := p.confirm()
	p.send(c) // again, on the same connection
	p.wantError(wire.ServerTokenUsed)

	q := s.newPhone("other").dial()
	q.send(q.hello())
	q.challenged()
	q.send(c) // on another, whose own token is another
	q.wantError(wire.ServerTokenUsed)

	q.dial()
	q.send(c) // before a hello
	q.wantError(wire.ServerTokenUsed)
}

func TestV4OutOfOrderAfterVerification(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	p.verify()
	p.send(p.hello())
	p.wantError(wire.OutOfOrder)
	p.verify()
	p.said.ServerToken = bytes.Repeat([]byte{1}, 32)
	p.send(p.confirm())
	p.wantError(wire.OutOfOrder)
	s.eventually("the channels to be gone", func() bool { return s.channels.Len() == 0 })
}

func TestV5BindingIsWaivedByPolicyAlone(t *testing.T) {
	s := newSite(t, waived("web"))
	p := s.newPhoneOf("ada", "browser", "web")
	p.binding = wire.BindingNone
	if c := p.verify(); c.Binding != wire.BindingWaived {
		t.Errorf("binding %q, want %q", c.Binding, wire.BindingWaived)
	}
	if n := value(t, s.metrics.waived); n != 1 {
		t.Errorf("%v waived bindings counted, want 1", n)
	}
	q := s.newPhoneOf("ada", "browser", "mail") // another app of the same account
	q.binding = wire.BindingNone
	q.dial().send(q.hello())
	q.wantError(wire.BindingRequired)

	// A client that can bind does, also where it need not.
	p.binding = wire.BindingExporter
	if c := p.verify(); c.Binding != wire.BindingExporter {
		t.Errorf("binding %q, want %q", c.Binding, wire.BindingExporter)
	}
	if n := value(t, s.metrics.waived); n != 1 {
		t.Errorf("%v waived bindings counted, want 1", n)
	}
}

// Something in between that has the hello say "none" is found out by the tag.
func TestV5BindingStrippedOnTheWay(t *testing.T) {
	s := newSite(t, waived("web"))
	p := s.newPhoneOf("ada", "browser", "web").dial()
	h := p.hello()
	h.Binding = wire.BindingNone
	p.send(h)
	p.challenged()
	p.send(p.confirm())
	p.wantError(wire.BindingMismatch)
}

func TestV5TLSBelow13IsRefused(t *testing.T) {
	s := newSite(t, func(c *setup) { c.server.TLS.MinVersion, c.server.TLS.MaxVersion = tls.VersionTLS10, tls.VersionTLS12 })
	p := s.newPhone("phone")
	p.config = func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
	if err := p.tryDial(); err == nil {
		t.Error("dial with TLS 1.2 succeeded, want a failed handshake")
	}
	p.config = nil
	p.verify()
}

func TestV4SilenceEndsTheHandshake(t *testing.T) {
	s := newSite(t, func(c *setup) { c.server.Limits.HandshakeTimeout = 5 * time.Second })
	p := s.newPhone("phone")
	p.dial()
	p.wantError(wire.HandshakeTimeout)
	p.dial().send(p.hello())
	p.challenged()
	p.wantError(wire.HandshakeTimeout)
	p.verify() // the deadline is gone with the exchange
	s.clock.advance(time.Second)
	p.beat()
}

func TestSubprotocolIsRequired(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	for _, offered := range [][]string{{}, {"mqtt"}, {"keyhole-push.v2"}} {
		p.agree = offered
		p.dial()
		p.wantError(wire.SubprotocolRequired)
	}
	p.agree = []string{"mqtt", wire.Subprotocol}
	p.verify()
}

// A token is forgotten in time, and never more than two generations are kept.
func TestRecentForgets(t *testing.T) {
	c := &clock{}
	r := newRecent[exchangeToken, int](4, time.Minute, c.now)
	nth := func(i int) exchangeToken { return exchangeToken{byte(i), byte(i >> 8)} }
	has := func(i int) bool {
		got, found := r.get(nth(i))
		return found && got == i
	}
	if !r.add(nth(0), 0) || r.add(nth(0), 1) || !has(0) {
		t.Error("add of a new token and again: want true, then false")
	}
	for i := 1; i < 1000; i++ {
		r.add(nth(i), i)
		if !has(i) || !has(max(i-3, 0)) {
			t.Fatalf("token %d of the last 4 is forgotten at %d", max(i-3, 0), i)
		}
		if n := len(r.latest) + len(r.before); n > 8 {
			t.Fatalf("%d tokens are kept, want at most 8", n)
		}
	}
	r.set(nth(999), 1000)
	if got, _ := r.get(nth(999)); got != 1000 {
		t.Errorf("get after set = %d, want 1000", got)
	}
	r.set(nth(999), 999)
	c.advance(59 * time.Second)
	if !has(999) {
		t.Error("a token is forgotten before its time")
	}
	c.advance(3 * time.Minute)
	if has(999) || !r.add(nth(999), 999) {
		t.Error("a token is remembered long after its time")
	}
}
