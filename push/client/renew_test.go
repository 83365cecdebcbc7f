package client

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// quick has heartbeats come at once, and every one of them renew.
func (f *fake) quick() {
	f.confirmed.HeartbeatMS = 20
	f.confirmed.RenewMS = 1
}

// renewal is the next heartbeat that asks for one. Plain ones before it are
// answered.
func (c *fakeConn) renewal() *wire.Heartbeat {
	c.f.t.Helper()
	for {
		h := must[*wire.Heartbeat](c)
		if h.NewKey != "" {
			return h
		}
		if h.Offset != nil || h.Renewal != nil {
			c.f.t.Fatalf("heartbeat %+v without a new key, want none of the renewal's fields", h)
		}
		c.reply(h)
	}
}

func TestK3FieldsAreEmptyUnlessRenewing(t *testing.T) {
	f := newFake(t)
	f.confirmed.HeartbeatMS = 20
	start(t, f.config())
	c := f.connected()
	for range 3 {
		h := must[*wire.Heartbeat](c)
		if h.NewKey != "" || h.Offset != nil || h.Renewal != nil {
			t.Errorf("heartbeat %+v, want the fields of a renewal empty", h)
		}
		if age := time.Since(time.UnixMilli(h.Sent)); age < -time.Second || age > time.Minute {
			t.Errorf("Sent is %s ago, want now", age)
		}
		c.reply(h)
	}
}

func TestK3NewKeyHoldsFromTheReplyOn(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	f.quick()
	profile := &memory{}
	cfg := f.config()
	cfg.Profile, cfg.RenewEvery = profile, time.Millisecond
	r := start(t, cfg)
	c := f.connected()
	h := c.renewal()
	before := profile.record(t)
	pending, err := keys.ParsePrivate(before.Pending)
	if err != nil || pending.Public().String() != h.NewKey {
		t.Fatalf("the new key is sent before it is saved: %v", err)
	}
	c.reply(h)
	r.until(Renewed)
	after := profile.record(t)
	if after.Session != f.session || string(after.Key) != string(before.Pending) || after.Pending != nil {
		t.Error("the profile is not that of the renewed session")
	}
	c.close()
	if got := f.next().verified().hello.Session; got != f.session {
		t.Error("the next connection has another session, want the renewed one")
	}
}

// The server took the key, and then the reply was lost with the client: it has
// to come back with what the profile holds, and without its password.
func TestK3LostReplyLosesNothing(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	f.quick()
	profile := &memory{}
	cfg := f.config()
	cfg.Profile = profile
	r := start(t, cfg)
	c := f.connected()
	h := c.renewal()
	old := f.session
	f.heartbeatReply(h)
	c.close()
	r.stop()

	cfg.Password = ""
	f.confirmed.RenewMS = time.Hour.Milliseconds()
	r = start(t, cfg)
	c = f.next()
	if c.hello.Session != old {
		t.Error("the session before the renewal is not offered; it is the one that the client has")
	}
	c.listening() // the proof is by the key that the server has now
	r.until(Listening)
	if got := profile.record(t); got.Session != f.session || got.Pending != nil {
		t.Error("the profile has not got the renewed session")
	}
	c.close()
	f.connected()
}

// The request was lost: the server still has the old key. The terminal finds
// out without a wait, and asks again with the same new key, since the server
// might have had the first request after all.
func TestK3LostRequestIsRepeatedWithTheSameKey(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	f.quick()
	cfg := f.config()
	cfg.MinBackoff, cfg.MaxBackoff = time.Nanosecond, time.Nanosecond
	r := start(t, cfg)
	c := f.connected()
	first := c.renewal()
	c.close()
	c = f.next()
	c.sendChallenge()
	if code := c.check(must[*wire.Confirm](c)); code != wire.ProofInvalid {
		t.Fatalf("the confirmation is %q, want one by the new key, which is tried first", code)
	}
	c.refuse(wire.ProofInvalid)
	c = f.connected() // by the old key
	second := c.renewal()
	if second.NewKey != first.NewKey {
		t.Error("the second request has another new key, want the same")
	}
	c.reply(second)
	r.until(Renewed)
	if f.logins != 1 {
		t.Errorf("%d logins, want 1", f.logins)
	}
}

func TestK3RefusedRenewalKeepsTheOldKey(t *testing.T) {
	for _, code := range []wire.Code{wire.OffsetOutOfRange, wire.NonceInvalid, wire.RenewalSignatureInvalid, wire.RenewalUserMismatch, wire.RenewalIncomplete} {
		t.Run(string(code), func(t *testing.T) {
			f := newFake(t)
			f.quick()
			r := start(t, f.config())
			c := f.connected()
			first := c.renewal()
			session := f.session
			c.send(&wire.Error{Code: code})
			plain := must[*wire.Heartbeat](c)
			if plain.NewKey != "" {
				t.Error("the renewal is repeated with the nonce that was refused, want a plain heartbeat first")
			}
			c.reply(plain)
			second := c.renewal()
			if second.NewKey != first.NewKey || second.Renewal.Session != session {
				t.Error("the second request is of another key or session, want the same")
			}
			c.reply(second)
			r.until(Renewed)
		})
	}
}

// The server speaks of another epoch: it had taken the key before.
func TestK3EpochInvalidFindsOutWhichKeyHolds(t *testing.T) {
	for _, code := range []wire.Code{wire.EpochInvalid, wire.RenewalConflict} {
		t.Run(string(code), func(t *testing.T) {
			f := newFake(t)
			f.quick()
			r := start(t, f.config())
			c := f.connected()
			f.heartbeatReply(c.renewal()) // taken, and the reply is lost
			c.send(&wire.Error{Code: code})
			r.waitingFor(code)
			f.connected() // which takes the new key alone
		})
	}
}

func TestK3KeyThatCannotBeSavedIsNotSent(t *testing.T) {
	f := newFake(t)
	f.quick()
	profile := &memory{}
	cfg := f.config()
	cfg.Profile = profile
	r := start(t, cfg)
	c := f.next()
	c.verified()
	profile.fail(errors.New("no space left on device"))
	c.send(&wire.Listening{Ref: must[*wire.Listen](c).Ref})
	for range 3 {
		h := must[*wire.Heartbeat](c)
		if h.NewKey != "" {
			t.Error("a key that is not saved was sent")
		}
		c.reply(h)
	}
	profile.fail(nil)
	c.reply(c.renewal())
	r.until(Renewed)
}

// The offset is by the server's clock, however wrong this one is: the fake
// refuses one that differs by 5 s.
func TestK3OffsetAllowsForAWrongClock(t *testing.T) {
	for _, skew := range []time.Duration{-3 * time.Hour, 40 * time.Second, 24 * 365 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			f := newFake(t)
			f.quick()
			cfg := f.config()
			cfg.Now = func() time.Time { return time.Now().Add(skew) }
			r := start(t, cfg)
			c := f.connected()
			for range 2 {
				c.reply(c.renewal())
				r.until(Renewed)
			}
		})
	}
}

// heartbeats answers heartbeats until the offset has grown for a time, and
// returns how old the session was at each renewal.
func (c *fakeConn) heartbeats(d time.Duration) (renewals []time.Duration) {
	c.f.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		h := must[*wire.Heartbeat](c)
		if h.NewKey != "" {
			renewals = append(renewals, time.Since(c.f.sTime))
		}
		c.reply(h)
	}
	return renewals
}

func TestK6RenewsByTheGrowthOfTheOffset(t *testing.T) {
	for name, tt := range map[string]struct {
		server, client, want time.Duration
	}{
		"as the server says":         {6 * time.Hour, 0, 6 * time.Hour},
		"as the client is set":       {6 * time.Hour, time.Hour, time.Hour},
		"where nobody says anything": {0, 0, 6 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newPipeFake(t)
				f.confirmed.HeartbeatMS = (4 * time.Minute).Milliseconds()
				f.confirmed.RenewMS = tt.server.Milliseconds()
				cfg := f.config()
				cfg.RenewEvery = tt.client
				start(t, cfg)
				c := f.connected()
				ages := c.heartbeats(25 * time.Hour)
				if want := int(25 * time.Hour / (tt.want + 4*time.Minute)); len(ages) < want {
					t.Errorf("%d renewals in 25 h, want %d or one more", len(ages), want)
				}
				for _, age := range ages {
					if age < tt.want || age > tt.want+4*time.Minute {
						t.Errorf("renewed at an offset of %s, want it with the first heartbeat from %s on", age, tt.want)
					}
				}
			})
		})
	}
}

// rotate renews the server's key, and returns it as a frame has it.
func (f *fake) rotate() *wire.Key {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.ring.Current()
	ring, err := f.ring.Rotated(time.Now(), 24*time.Hour, 720*time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	f.ring = ring
	now := ring.Current()
	return &wire.Key{Public: now.Private.Public().String(), Previous: old.ID().String(), Signature: now.Signature}
}

func TestK7ServerKeyIsFollowed(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	f.confirmed.HeartbeatMS = 20
	profile := &memory{}
	cfg := f.config()
	cfg.Profile = profile
	r := start(t, cfg)
	for range 6 { // more than are kept
		c := f.connected()
		key := f.rotate()
		reply := f.heartbeatReply(must[*wire.Heartbeat](c))
		reply.ServerKey = key
		c.send(reply)
		c.reply(must[*wire.Heartbeat](c)) // and what the reply before it said is saved
		if got := profile.record(t).Servers; len(got) > serversKept || got[len(got)-1] != key.Public {
			t.Fatalf("the profile has %d keys of the server, want at most %d and the new one last", len(got), serversKept)
		}
		c.close()
		c = f.next()
		f.mu.Lock()
		f.sealSession() // to the new key
		f.mu.Unlock()
		c.listening()
		r.until(Listening)
		if got := profile.record(t).Session; got != f.session {
			t.Fatal("the profile has not got the new session")
		}
		c.close()
	}
}

// However often the server renews its key during one session, the key that the
// session is sealed to stays.
func TestK7SessionsServerKeyIsKept(t *testing.T) {
	f := newFake(t)
	f.confirmed.HeartbeatMS = 20
	r := start(t, f.config())
	c := f.connected()
	for range 2 * serversKept {
		key := f.rotate()
		reply := f.heartbeatReply(must[*wire.Heartbeat](c))
		reply.ServerKey = key
		c.send(reply)
	}
	must[*wire.Heartbeat](c)
	if got := len(r.identity().servers); got != serversKept {
		t.Errorf("%d keys of the server are kept, want %d", got, serversKept)
	}
	c.close()
	f.connected() // where the server proves the first of them
	if f.logins != 1 {
		t.Errorf("%d logins, want 1", f.logins)
	}
}

func TestK7ServerKeyByAStrangerIsRefused(t *testing.T) {
	stranger, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*wire.Key)
		want   wire.Code
	}{
		"unsigned": {func(k *wire.Key) { k.Signature = nil }, wire.ServerProofInvalid},
		"signed by itself": {func(k *wire.Key) {
			k.Signature, _ = stranger.SignServerKey(stranger.Public())
			k.Public = stranger.Public().String()
		}, wire.ServerProofInvalid},
		"another key":         {func(k *wire.Key) { k.Public = stranger.Public().String() }, wire.ServerProofInvalid},
		"previous is unknown": {func(k *wire.Key) { k.Previous = stranger.Public().KID().String() }, wire.ServerProofInvalid},
		"no key":              {func(k *wire.Key) { k.Public = "" }, wire.BadFrame},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.confirmed.HeartbeatMS = 20
			profile := &memory{}
			cfg := f.config()
			cfg.Profile = profile
			r := start(t, cfg)
			c := f.connected()
			before := profile.record(t)
			reply := f.heartbeatReply(must[*wire.Heartbeat](c))
			reply.ServerKey = f.rotate()
			tt.change(reply.ServerKey)
			c.send(reply)
			r.waitingFor(tt.want)
			if after := profile.record(t); len(after.Servers) != len(before.Servers) || after.Session != before.Session {
				t.Error("the profile has changed")
			}
		})
	}
}

// A session that is sealed to a key that nobody vouched for would have its
// holder prove the server next time.
func TestK7SessionOfAnUnknownServerKeyIsRefused(t *testing.T) {
	f := newFake(t)
	other, err := keys.NewRing(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f.confirm = func(c *wire.Confirmed, _ *wire.Exchange) {
		c.Session, _ = other.Seal(keys.Claims{User: "ada"})
	}
	r := start(t, f.config())
	f.next().verified()
	r.waitingFor(wire.ServerProofInvalid)
}
