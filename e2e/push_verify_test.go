package e2e

import (
	"bytes"
	"crypto/rand"
	"testing"

	"keyhole/push/client"
	"keyhole/push/wire"
)

// V1: the client makes a token of 32 random bytes for each exchange, and begins with it.
func TestV1ClientSendsATokenOfItsOwn(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {web: {binding: waived}}")
	s.node.user("alice")
	m := s.middleman(nil)
	for _, device := range []string{"phone", "tablet"} {
		c := s.config("alice", device, "web")
		c.Dial, c.Binding = m.dial, wire.BindingNone
		s.phone(c).until(client.Verified)
	}
	hellos := frames[*wire.Hello](m, 2)
	first := frames[wire.Frame](m, 1)[0]
	if hello, ok := first.(*wire.Hello); !ok || len(hello.ClientToken) != 32 {
		t.Errorf("the first frame is %+v, want a hello with 32 bytes", first)
	}
	if bytes.Equal(hellos[0].ClientToken, hellos[1].ClientToken) {
		t.Errorf("two exchanges begin with the client token %x", hellos[0].ClientToken)
	}

	h := s.handset("alice", "watch", "web")
	h.verify()
	used := h.said.ClientToken
	h.dial()
	hello := h.hello()
	hello.ClientToken = used
	h.send(hello)
	h.wantEnd(wire.ClientTokenReused)
	for _, length := range []int{0, 31, 33} {
		h.dial()
		hello := h.hello()
		hello.ClientToken = make([]byte, length)
		h.send(hello)
		h.wantEnd(wire.BadFrame)
	}
}

// V2: the server answers with the client's token and one of its own, another for each exchange.
func TestV2ServerAnswersWithBothTokens(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	h := s.handset("alice", "phone", "news")
	seen := map[string]bool{}
	for range 5 {
		h.dial()
		h.send(h.hello())
		c := h.challenged() // checks the client's token
		if len(c.ServerToken) != 32 || seen[string(c.ServerToken)] || bytes.Equal(c.ServerToken, c.ClientToken) {
			t.Errorf("server token %x, want 32 bytes of this exchange alone", c.ServerToken)
		}
		seen[string(c.ServerToken)] = true
	}
}

// V3: the client goes on only if its own token came back, and then returns the server's.
func TestV3ClientChecksItsTokenAndReturnsTheServers(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {web: {binding: waived}}")
	s.node.user("alice")
	c := s.config("alice", "phone", "web")
	c.Binding = wire.BindingNone

	honest := s.middleman(nil)
	c.Dial = honest.dial
	s.phone(c).until(client.Listening)
	challenge, confirm := frames[*wire.Challenge](honest, 1)[0], frames[*wire.Confirm](honest, 1)[0]
	if !bytes.Equal(confirm.ServerToken, challenge.ServerToken) {
		t.Errorf("the confirmation has the server token %x, want %x", confirm.ServerToken, challenge.ServerToken)
	}

	forger := s.middleman(func(f wire.Frame) {
		if c, ok := f.(*wire.Challenge); ok {
			rand.Read(c.ClientToken)
		}
	})
	c.Device, c.Dial = "tablet", forger.dial
	if w := s.phone(c).until(client.Waiting); !isCode(w.Err, wire.ClientTokenMismatch) {
		t.Errorf("with another client token the exchange ends with %v, want %s", w.Err, wire.ClientTokenMismatch)
	}
	if sent := frames[*wire.Confirm](forger, 0); len(sent) != 0 {
		t.Errorf("with another client token the client sends %+v, want no confirmation", sent[0])
	}
}

// V4: nothing passes before the second confirmation, which a wrong, repeated or late token does not get.
func TestV4NothingPassesBeforeTheSecondConfirmation(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {web: {binding: waived}}")
	s.node.user("alice")
	h := s.handset("alice", "phone", "news")
	s.publish(s.node.publisher("newsroom"), client.Publication{Token: h.token, Data: []byte("for the verified")})

	// Late: whoever says nothing more is sent away. It is waited for at the end.
	silent := s.handset("alice", "watch", "news")
	silent.dial()
	silent.send(silent.hello())
	silent.challenged()

	early := map[string]wire.Frame{
		"listen":    &wire.Listen{Token: h.token, State: map[string]string{"network": "wifi"}},
		"state":     &wire.State{Set: map[string]string{"network": "wifi"}},
		"ack":       &wire.Ack{Seq: []uint64{1}},
		"heartbeat": &wire.Heartbeat{Sent: 1},
		"a renewal": h.renewal(newClientKey(t), h.sTime, 0, make([]byte, 16)),
	}
	for name, f := range early {
		for _, challenged := range []bool{false, true} {
			h.dial()
			if challenged {
				h.send(h.hello())
				h.challenged()
			}
			t.Log(name)
			h.send(f)
			h.wantEnd(wire.NotVerified)
		}
	}
	h.dial()
	h.send(&wire.Confirm{ServerToken: make([]byte, 32), Versions: []string{wire.Subprotocol}, Proof: []byte("x")})
	h.wantEnd(wire.OutOfOrder)

	h.verify()
	used := h.said.ServerToken
	for code, change := range map[wire.Code]func(*wire.Confirm){
		wire.ServerTokenMismatch: func(c *wire.Confirm) { rand.Read(c.ServerToken) },
		wire.ServerTokenUsed:     func(c *wire.Confirm) { c.ServerToken = used },
		wire.Downgrade:           func(c *wire.Confirm) { c.Versions = append([]string{"keyhole-push.v2"}, c.Versions...) },
		wire.ProofInvalid:        func(c *wire.Confirm) { c.Proof[0] ^= 1 },
	} {
		h.dial()
		h.send(h.hello())
		h.challenged()
		c := h.confirm()
		c.ServerToken = bytes.Clone(c.ServerToken)
		change(c)
		h.send(c)
		h.wantEnd(code)
	}
	s.node.metricBecomes("pushd_terminals", "0")

	// The client, too, sends nothing but the exchange to a server that cannot confirm.
	m := s.middleman(func(f wire.Frame) {
		if c, ok := f.(*wire.Confirmed); ok {
			c.Proof[0] ^= 1
		}
	})
	c := s.config("alice", "tablet", "web")
	c.Dial, c.Binding = m.dial, wire.BindingNone
	if w := s.phone(c).until(client.Waiting); !isCode(w.Err, wire.ServerProofInvalid) {
		t.Errorf("with a wrong second confirmation the exchange ends with %v, want %s", w.Err, wire.ServerProofInvalid)
	}
	if sent := frames[*wire.Listen](m, 0); len(sent) != 0 {
		t.Errorf("after a wrong second confirmation the client sends %+v", sent[0])
	}
	if got := s.node.metric("pushd_delivered_total"); got != "0" {
		t.Errorf("pushd_delivered_total = %s, want 0", got)
	}
	h.listen(nil)
	h.wantMessage("for the verified")
	silent.wantEnd(wire.HandshakeTimeout)
}

// V5: somebody who ends TLS in between is found out, whatever certificate he has, unless the server's policy for the
// app says that it does without.
func TestV5TerminatingProxyIsFoundOut(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {web: {binding: waived}}")
	s.node.user("alice")
	h := s.handset("alice", "phone", "news")
	s.publish(s.node.publisher("newsroom"), client.Publication{Token: h.token, Data: []byte("not for others")})
	m := s.middleman(nil)
	c := s.config("alice", "phone", "news")
	c.Dial = m.dial
	p := s.phone(c)
	if w := p.until(client.Waiting); !isCode(w.Err, wire.BindingMismatch) {
		t.Errorf("through a proxy that ends TLS the exchange ends with %v, want %s", w.Err, wire.BindingMismatch)
	}
	p.hangUp()
	if sent := frames[*wire.Message](m, 0); len(sent) != 0 || len(p.arrived) != 0 {
		t.Errorf("the middleman has read %+v and the terminal %d messages, want none", sent, len(p.arrived))
	}
	if got := s.node.metric("pushd_delivered_total"); got != "0" {
		t.Errorf("pushd_delivered_total = %s, want 0", got)
	}

	// A client cannot do without by itself.
	h.binding = wire.BindingNone
	h.dial()
	h.send(h.hello())
	h.wantEnd(wire.BindingRequired)

	// Through the edge, which ends nothing, the message comes. It is the one way that proves it.
	h.binding = wire.BindingExporter
	h.listen(nil)
	if h.last.Binding != wire.BindingExporter {
		t.Errorf("binding %q, want %q", h.last.Binding, wire.BindingExporter)
	}
	h.wantMessage("not for others")

	// Where the policy waives it, that is said and counted.
	if got := s.node.metric("pushd_binding_waived_total"); got != "0" {
		t.Errorf("pushd_binding_waived_total = %s, want 0", got)
	}
	web := s.handset("alice", "browser", "web")
	web.binding, web.way = wire.BindingNone, m.dial
	web.verify()
	if web.last.Binding != wire.BindingWaived {
		t.Errorf("binding %q, want %q", web.last.Binding, wire.BindingWaived)
	}
	s.node.metricBecomes("pushd_binding_waived_total", "1")
}
