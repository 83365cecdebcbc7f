package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"keyhole/push/auth"
	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// A connection passes through its parts, and each leaves what the next needs:
// TLS, the upgrade, the attributes, the registry's entry.
func TestP1P2ConnectionIsEstablishedInParts(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone").dial()
	if state := p.tls.ConnectionState(); state.Version != 0x0304 || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("TLS version %#x with ALPN %q, want 0x0304 with http/1.1", state.Version, state.NegotiatedProtocol)
	}
	s.eventually("the connection to be announced", func() bool { return len(s.live.list()) == 1 })
	if n := s.channels.Len(); n != 0 {
		t.Errorf("%d channels before the exchange, want 0", n)
	}
	p.send(p.hello())
	p.challenged()
	p.send(p.confirm())
	p.confirmed()
	all := s.channels.Channels()
	if len(all) != 1 {
		t.Fatalf("%d channels, want 1", len(all))
	}
	a := all[0].Attributes
	if a.Node != "a" || a.User != "ada" || a.Device != "phone" || a.App != "mail" || a.Version != "2.1" || a.Session == "" || a.Conn == "" || a.Token != "" {
		t.Errorf("attributes %+v, want those of ada's phone with mail 2.1 on node a, and no token yet", a)
	}
	p.send(&wire.Listen{Token: p.token, State: map[string]string{"network": "wifi"}})
	want[*wire.Listening](p)
	info := s.channels.Channels()[0]
	if info.Token != store.TokenHash(p.token) || info.State["network"] != "wifi" {
		t.Errorf("channel %+v, want the token's, with network=wifi", info)
	}
	p.hangUp()
	s.eventually("the channel to be gone", func() bool { return s.channels.Len() == 0 && len(s.live.list()) == 0 })
}

func TestP3MessageArrivesAndIsAcknowledged(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone").listen(nil)
	seq := s.publish(p, "hello", func(m *store.Message) { m.ContentType, m.Topic, m.Urgency = "text/plain", "greeting", "high" })
	m := p.wantMessage("hello")
	if m.Seq != seq || m.To != "token" || m.ContentType != "text/plain" || m.Topic != "greeting" || m.Urgency != "high" || m.Redelivered || m.Encryption != "" {
		t.Errorf("message %+v, want seq %d to the token with its properties", m, seq)
	}
	s.eventually("the message to be deleted", func() bool {
		_, err := s.store.Message(t.Context(), seq)
		return err != nil
	})
	p.send(&wire.Ack{Seq: []uint64{seq + 1000}})
	p.wantError(wire.AckUnknown)
	p.beat() // the connection goes on
}

// The answer to listen comes before the first message, also when there are
// many at once.
func TestP6BacklogFollowsListening(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	for i := range 100 {
		s.publish(p, fmt.Sprint("message ", i))
	}
	p.listen(nil)
	for i := range 100 {
		p.wantMessage(fmt.Sprint("message ", i))
	}
}

// What was sent and not acknowledged comes again on the next connection, with
// the same id; what was acknowledged does not.
func TestP6MessageComesAgainUntilItIsAcknowledged(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone").listen(nil)
	s.publish(p, "first")
	s.publish(p, "second")
	p.wantMessage("first")
	second := want[*wire.Message](p)
	p.beat() // the acknowledgement before it has been read
	p.listen(nil)
	again := p.wantMessage("second")
	if again.ID != second.ID || again.Seq != second.Seq || second.Redelivered || !again.Redelivered {
		t.Errorf("second message %+v, then %+v, want the same id and seq, redelivered the second time", second, again)
	}
	p.beat()
	p.listen(nil)
	s.publish(p, "third")
	p.wantMessage("third")
}

func TestP4StateIsReportedAndAnswered(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone").listen(map[string]string{"network": "cellular", "battery": "80"})
	s.publish(p, "large", func(m *store.Message) { m.Condition = "network=wifi" })
	s.publish(p, "small")
	p.wantMessage("small")
	p.send(&wire.State{Ref: "r1", Set: map[string]string{"network": "wifi"}, Unset: []string{"battery"}})
	var ok *wire.OK
	for ok == nil { // the message may come before the answer
		f, err := p.receive()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *wire.OK:
			ok = f
		case *wire.Message:
			if string(f.Data) != "large" {
				t.Fatalf("message %q, want %q", f.Data, "large")
			}
		}
	}
	if ok.Ref != "r1" {
		t.Errorf("ok has ref %q, want %q", ok.Ref, "r1")
	}
	got := s.channels.Channels()[0].State
	if got["network"] != "wifi" || got["battery"] != "" || got["app_version"] != "2.1" {
		t.Errorf("state %v, want network=wifi, no battery, app_version=2.1", got)
	}
}

func TestP4StateRefused(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone").listen(map[string]string{"network": "wifi"})
	before := s.channels.Channels()[0].State
	for _, f := range []*wire.State{
		{Ref: "1", Set: map[string]string{"Network": "wifi"}},
		{Ref: "2", Set: map[string]string{"note": strings.Repeat("x", 257)}},
		{Ref: "3", Set: map[string]string{"network": "none"}, Unset: []string{"network"}},
		{Ref: "4", Sealed: []byte("not sealed at all")},
	} {
		p.send(f)
		if e := p.wantError(wire.StateInvalid); e.Ref != f.Ref {
			t.Errorf("error has ref %q, want %q", e.Ref, f.Ref)
		}
	}
	if after := s.channels.Channels()[0].State; fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("state %v after what was refused, want %v", after, before)
	}
	p.send(&wire.State{Ref: "both", Set: map[string]string{"a": "b"}, Sealed: []byte("x")})
	p.wantError(wire.BadFrame)
}

func TestListenRefused(t *testing.T) {
	s := newSite(t)
	p, other := s.newPhone("phone"), s.newPhone("other")
	for _, c := range []struct {
		name, token string
		code        wire.Code
	}{
		{"unknown token", strings.Repeat("A", 43), wire.TokenUnknown},
		{"no token", "", wire.TokenUnknown},
		{"token of another device", other.token, wire.TokenNotYours},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.verify()
			p.send(&wire.Listen{Ref: "l", Token: c.token})
			if e := p.wantError(c.code); e.Ref != "l" {
				t.Errorf("error has ref %q, want %q", e.Ref, "l")
			}
			s.eventually("the channel to be gone", func() bool { return s.channels.Len() == 0 })
		})
	}
	t.Run("twice", func(t *testing.T) {
		p.listen(nil)
		p.send(&wire.Listen{Token: p.token})
		p.wantError(wire.OutOfOrder)
	})
	t.Run("state first", func(t *testing.T) {
		p.verify()
		p.send(&wire.State{Set: map[string]string{"network": "wifi"}})
		p.wantError(wire.OutOfOrder)
	})
	t.Run("bad state, then a good one", func(t *testing.T) {
		p.verify()
		p.send(&wire.Listen{Token: p.token, State: map[string]string{"?": "x"}})
		p.wantError(wire.StateInvalid)
		p.send(&wire.Listen{Token: p.token, State: map[string]string{"network": "wifi"}})
		want[*wire.Listening](p)
	})
}

func TestReplacedByANewerConnection(t *testing.T) {
	s := newSite(t)
	old := s.newPhone("phone").listen(nil)
	newer := *old
	newer.conn = nil
	t.Cleanup(newer.hangUp)
	newer.listen(nil)
	old.wantError(wire.Replaced)
	s.publish(&newer, "for the newer")
	newer.wantMessage("for the newer")
}

// Where the app asks for it, payloads are sealed to the client's key and states
// to the server's, inside TLS (K7).
func TestK7PayloadsAndStatesAreSealed(t *testing.T) {
	s := newSite(t, func(c *setup) { c.auth.Apps = map[string]auth.AppPolicy{"mail": {Encrypt: true}} })
	p := s.newPhone("phone")
	if c := p.verify(); !c.Encryption {
		t.Fatalf("confirmed %+v, want encryption", c)
	}
	p.send(&wire.Listen{Ref: "l", Token: p.token, State: map[string]string{"network": "wifi"}})
	p.wantError(wire.EncryptionRequired)
	p.send(&wire.Listen{Ref: "l", Token: p.token, Sealed: seal(t, p.server, map[string]string{"network": "cellular"})})
	want[*wire.Listening](p)
	p.send(&wire.State{Set: map[string]string{"network": "wifi"}})
	p.wantError(wire.EncryptionRequired)
	p.send(&wire.State{Ref: "s", Sealed: seal(t, p.server, map[string]any{"set": map[string]string{"network": "wifi"}, "unset": []string{}})})
	want[*wire.OK](p)
	if got := s.channels.Channels()[0].State["network"]; got != "wifi" {
		t.Errorf("state has network=%s, want wifi", got)
	}
	p.send(&wire.State{Sealed: seal(t, p.server, map[string]any{"add": 1})})
	p.wantError(wire.StateInvalid)

	wantSealed(p, p.key, "first")
	p.renew(false)
	wantSealed(p, p.key, "to the new key")
}

// A message before the reply to a renewal is sealed to the old key, and one
// after it to the new, with no moment in between.
func TestK7SealedMessagesFollowTheKey(t *testing.T) {
	s := newSite(t, func(c *setup) { c.auth.Apps = map[string]auth.AppPolicy{"*": {Encrypt: true}} })
	p := s.newPhone("phone")
	c := p.verify()
	p.send(&wire.Listen{Token: p.token})
	want[*wire.Listening](p)
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := range 60 {
			s.publish(p, fmt.Sprint("message ", i))
		}
	}()
	next := newKey(t)
	p.send(p.renewal(next, c.STime, c.Epoch, c.Nonce))
	key := p.key
	for n := 0; n < 60; {
		f, err := p.receive()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *wire.HeartbeatReply:
			key = next
		case *wire.Message:
			if _, err := key.Open(infoMessage, f.Data); err != nil {
				t.Fatalf("message %d is sealed to the other key (renewed: %t)", n, key == next)
			}
			n++
		}
	}
	<-published
}

func seal(t *testing.T, key keys.Public, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := key.Seal(infoState, b)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func wantSealed(p *phone, key *keys.Private, text string) {
	p.t.Helper()
	p.site.publish(p, text)
	m := want[*wire.Message](p)
	plain, err := key.Open(infoMessage, m.Data)
	if m.Encryption != "hpke" || err != nil || string(plain) != text {
		p.t.Fatalf("message with encryption %q opens to %q, %v, want hpke and %q", m.Encryption, plain, err, text)
	}
	if bytes.Contains(m.Data, []byte(text)) {
		p.t.Fatal("the sealed message has its text in clear")
	}
	p.send(&wire.Ack{Seq: []uint64{m.Seq}})
}

// A terminal that stays connected for months keeps its token in use.
func TestT5TokenOfALongConnectionDoesNotExpire(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone").listen(nil)
	used := func() time.Time {
		token, err := s.store.Token(t.Context(), store.TokenHash(p.token))
		if err != nil {
			t.Fatal(err)
		}
		return token.Used
	}
	before := used()
	p.beat()
	if got := used(); !got.Equal(before) {
		t.Errorf("used at %s after a heartbeat on the same day, want %s", got, before)
	}
	s.clock.advance(49 * time.Hour)
	p.beat()
	s.eventually("the token to be noted as used", func() bool { return used().After(before.Add(24 * time.Hour)) })
}
