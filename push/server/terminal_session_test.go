package server

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"keyhole/push/auth"
	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// renew goes through a renewal and returns the reply; the phone goes on with
// the new key and session unless keep is set.
func (p *phone) renew(keep bool) *wire.HeartbeatReply {
	p.t.Helper()
	next := newKey(p.t)
	last := p.beat()
	p.send(p.renewal(next, last.STime, last.Epoch, last.Nonce))
	reply := want[*wire.HeartbeatReply](p)
	if reply.Epoch != last.Epoch+1 || reply.Session == "" || reply.Session == p.session {
		p.t.Fatalf("reply %+v, want epoch %d and a new session", reply, last.Epoch+1)
	}
	if !keep {
		p.key, p.session = next, reply.Session
	}
	return reply
}

func TestK3ReservedFieldsAreEmptyButForARenewal(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	c := p.verify()
	before := s.records(p)
	first := p.beat()
	second := p.beat()
	if first.Session != "" || first.ServerKey != nil || first.Epoch != 0 || first.STime != c.STime {
		t.Errorf("reply to a plain heartbeat %+v, want no session, no server key, epoch 0 and s_time %d", first, c.STime)
	}
	if string(first.Nonce) == string(second.Nonce) || string(first.Nonce) == string(c.Nonce) {
		t.Error("a nonce was handed out twice")
	}
	if after := s.records(p); after != before {
		t.Errorf("records after plain heartbeats:\n%s, want\n%s", after, before)
	}
}

func TestK4NewKeyHoldsFromTheNextMessageOn(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	p.verify()
	s.clock.advance(time.Hour)
	old, oldSession := p.key, p.session
	reply := p.renew(false)
	if got, most := reply.STime, s.clock.now().UnixMilli(); got < most-20_000 || got > most {
		t.Errorf("s_time after the renewal is %d, want about %d", got, most)
	}
	if n := value(t, s.metrics.renewals); n != 1 {
		t.Errorf("%v renewals counted, want 1", n)
	}
	p.renew(false) // signed by the new key, which is the old one by now
	p.verify()

	// The token before the last, and its key, are worth nothing.
	p.key, p.session = old, oldSession
	p.dial().send(p.hello())
	p.wantError(wire.SessionStale)
}

// The reply to a renewal is lost: the token before it is good with the new key,
// and with that alone.
func TestK4ReplyToARenewalIsLost(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	p.verify()
	next := newKey(t)
	last := p.beat()
	p.send(p.renewal(next, last.STime, last.Epoch, last.Nonce))
	want[*wire.HeartbeatReply](p) // and forgotten
	p.hangUp()
	s.eventually("the connection to be gone", func() bool { return s.channels.Len() == 0 })

	before := s.records(p)
	p.dial().send(p.hello())
	p.challenged()
	p.send(p.confirm()) // by the old key
	p.wantError(wire.ProofInvalid)
	if after := s.records(p); after != before {
		t.Errorf("records after the old key:\n%s, want\n%s", after, before)
	}

	p.key = next
	c := p.verify()
	if c.Epoch != 1 || c.Session == "" {
		t.Fatalf("confirmed %+v, want epoch 1 and the new session", c)
	}
	p.session = c.Session
	p.renew(false)
	p.verify()
}

func TestK4RenewalRefused(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	other := s.newPhone("other")
	c := p.verify()
	nonce, next := c.Nonce, newKey(t)
	make := func(change func(*wire.Heartbeat)) *wire.Heartbeat {
		f := p.renewal(next, c.STime, c.Epoch, nonce)
		change(f)
		return f
	}
	for _, r := range []struct {
		name   string
		change func(*wire.Heartbeat)
		code   wire.Code
	}{
		{"no key", func(f *wire.Heartbeat) { f.NewKey = "" }, wire.RenewalIncomplete},
		{"no offset", func(f *wire.Heartbeat) { f.Offset = nil }, wire.RenewalIncomplete},
		{"no proofs", func(f *wire.Heartbeat) { f.Renewal = nil }, wire.RenewalIncomplete},
		{"offset alone", func(f *wire.Heartbeat) { f.NewKey, f.Renewal = "", nil }, wire.RenewalIncomplete},
		{"no signature", func(f *wire.Heartbeat) { f.Renewal.OldSignature = nil }, wire.RenewalIncomplete},
		{"session of another", func(f *wire.Heartbeat) { f.Renewal.Session = other.session }, wire.RenewalUserMismatch},
		{"offset too large", func(f *wire.Heartbeat) { *f.Offset += 31_000 }, wire.OffsetOutOfRange},
		{"offset too small", func(f *wire.Heartbeat) { *f.Offset -= 31_000 }, wire.OffsetOutOfRange},
		{"nonce of another", func(f *wire.Heartbeat) { f.Renewal.Nonce = random(nonceSize) }, wire.NonceInvalid},
		{"epoch again", func(f *wire.Heartbeat) { f.Renewal.Epoch = 0 }, wire.EpochInvalid},
		{"epoch too far", func(f *wire.Heartbeat) { f.Renewal.Epoch = 2 }, wire.EpochInvalid},
		{"old signature missing its key", func(f *wire.Heartbeat) { f.Renewal.OldSignature = f.Renewal.NewSignature }, wire.RenewalSignatureInvalid},
		{"new signature missing its key", func(f *wire.Heartbeat) { f.Renewal.NewSignature = f.Renewal.OldSignature }, wire.RenewalSignatureInvalid},
		{"key exchanged", func(f *wire.Heartbeat) { f.NewKey = newKey(t).Public().String() }, wire.RenewalSignatureInvalid},
	} {
		t.Run(r.name, func(t *testing.T) {
			before := s.records(p)
			p.send(make(r.change))
			p.wantError(r.code)
			// Answered by its error alone, and the nonce is used, even when the
			// rest is mended.
			p.send(make(func(*wire.Heartbeat) {}))
			p.wantError(wire.NonceInvalid)
			if after := s.records(p); after != before {
				t.Errorf("records after %s:\n%s, want\n%s", r.code, after, before)
			}
			nonce = p.beat().Nonce
		})
	}
	p.send(make(func(*wire.Heartbeat) {}))
	if reply := want[*wire.HeartbeatReply](p); reply.Epoch != 1 {
		t.Errorf("epoch %d after the one that is right, want 1", reply.Epoch)
	}
}

// Whoever has the session token and the connection's nonce, but not the key,
// renews nothing.
func TestK4StolenTokenRenewsNothing(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	c := p.verify()
	before := s.records(p)
	mine := p.key
	p.key = newKey(t)
	p.send(p.renewal(newKey(t), c.STime, c.Epoch, c.Nonce))
	p.wantError(wire.RenewalSignatureInvalid)
	if after := s.records(p); after != before {
		t.Errorf("records:\n%s, want\n%s", after, before)
	}
	p.key = mine
	p.renew(false)
}

// The nonce of one connection is not that of another.
func TestK4NonceIsOfOneConnection(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	stolen := p.verify().Nonce
	c := p.verify()
	p.send(p.renewal(newKey(t), c.STime, c.Epoch, stolen))
	p.wantError(wire.NonceInvalid)
}

// Whoever has connected with a stolen key is put out when the key is renewed,
// and so is an exchange with it that was under way.
func TestK4RenewalEndsConnectionsOfTheOldKey(t *testing.T) {
	s := newSite(t)
	p := s.newPhone("phone")
	p.verify()
	thief, second := *p, *p
	for _, q := range []*phone{&thief, &second} {
		q.conn = nil
		t.Cleanup(q.hangUp)
	}
	thief.verify()
	second.dial().send(second.hello())
	second.challenged()
	p.renew(false)
	thief.wantError(wire.ProofInvalid)
	second.send(second.confirm())
	second.wantError(wire.ProofInvalid)
	p.beat()
	p.verify() // with the new key
	s.eventually("one connection to be left", func() bool { return s.channels.Len() == 1 })
}

func TestK5ServerKeyIsHandedOut(t *testing.T) {
	s := newSite(t, func(c *setup) { c.auth.RotateEvery = 24 * time.Hour })
	p := s.newPhone("phone")
	late := s.newPhone("late")
	p.verify()
	if r := p.beat(); r.ServerKey != nil {
		t.Fatalf("server key %+v before its time, want none", r.ServerKey)
	}
	s.rotate()
	k := p.beat().ServerKey
	if k == nil {
		t.Fatal("no server key in the reply after its renewal")
	}
	next := checkKey(t, p.server, k)
	if r := p.beat(); r.ServerKey != nil {
		t.Errorf("server key %+v handed out twice", r.ServerKey)
	}

	// The renewal of the client's key seals to it.
	reply := p.renew(false)
	if kid, err := keys.SessionKey(reply.Session); err != nil || kid != next.KID() {
		t.Errorf("session is sealed to %v, %v, want %v", kid, err, next.KID())
	}
	p.server = next
	p.verify()

	// The old one keeps opening; who comes with it is told of the new one, and
	// of a session sealed to that. It may have missed one in between.
	s.rotate()
	c := late.verify()
	if c.ServerKey == nil || c.Session == "" {
		t.Fatalf("confirmed %+v, want the new server key and a session", c)
	}
	late.server, late.session = checkKey(t, late.server, c.ServerKey), c.Session
	if c := late.verify(); c.ServerKey != nil || c.Session != "" {
		t.Errorf("confirmed %+v, want no server key and no session", c)
	}
}

// rotate has the server key's deadline pass. Another node renews it, and this
// one learns of that from a session that is sealed to the new key.
func (s *site) rotate() {
	s.t.Helper()
	s.clock.advance(25 * time.Hour)
	other, err := auth.New(s.t.Context(), auth.Config{Store: s.store, LoginPerMinute: -1, Log: slog.New(slog.DiscardHandler), Now: s.clock.now})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = other.Run(ctx) }()
	defer func() { cancel(); <-done }()
	before := s.signIn(s.auth).ServerKey
	var made auth.LoginReply
	s.eventually("the server key to be renewed", func() bool {
		made = s.signIn(other)
		return made.ServerKey != before
	})
	if _, err := s.auth.Open(s.t.Context(), made.Session); err != nil {
		s.t.Fatal(err)
	}
}

// signIn is what a login gives.
func (s *site) signIn(a *auth.Auth) auth.LoginReply {
	s.t.Helper()
	r, err := a.Login(s.t.Context(), auth.LoginRequest{
		User: "ada", Password: sitePassword, Device: "d", App: "a", Key: newKey(s.t).Public().String(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func checkKey(t *testing.T, known keys.Public, k *wire.Key) keys.Public {
	t.Helper()
	next, err := keys.ParsePublic(k.Public)
	if err != nil || k.Previous != known.KID().String() || !known.VerifyServerKey(next, k.Signature) {
		t.Fatalf("server key %+v, %v: want one signed by %s", k, err, known.KID())
	}
	return next
}

// What is revoked ends the connections that are there.
func TestRevokedOnALiveConnection(t *testing.T) {
	s := newSite(t)
	s.addUser("bob")
	for _, c := range []struct {
		name   string
		code   wire.Code
		revoke func(p *phone) error
	}{
		{"token", wire.TokenRevoked, func(p *phone) error { return s.store.RevokeToken(t.Context(), store.TokenHash(p.token)) }},
		{"session", wire.SessionRevoked, func(p *phone) error {
			session, err := s.auth.Open(t.Context(), p.session)
			if err != nil {
				return err
			}
			return s.auth.Logout(t.Context(), session)
		}},
		{"account", wire.AccountDisabled, func(p *phone) error { return s.auth.DisableUser(t.Context(), p.user) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := s.newPhoneOf("bob", "phone of "+c.name, "mail").listen(nil)
			kept := s.newPhone("phone").listen(nil)
			if err := c.revoke(p); err != nil {
				t.Fatal(err)
			}
			p.wantError(c.code)
			kept.beat()
			if c.code == wire.TokenRevoked {
				p.verify()
				p.send(&wire.Listen{Token: p.token})
				p.wantError(wire.TokenRevoked)
				return
			}
			p.dial().send(p.hello())
			p.wantError(c.code)
		})
	}
}

func TestSessionExpiresOnALiveConnection(t *testing.T) {
	s := newSite(t, func(c *setup) {
		c.server.Heartbeat = 10 * time.Second // the sweeper looks four times as often
		c.auth.SessionLife = time.Hour
	})
	p := s.newPhone("phone")
	p.verify()
	s.clock.advance(time.Hour)
	p.wantError(wire.SessionExpired)
}
