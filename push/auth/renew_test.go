package auth

import (
	"bytes"
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// A renewal is one that a terminal is about to send; a test spoils it before
// it is signed.
type renewal struct {
	session  string
	old, new *keys.Private
	offset   int64
	epoch    uint64
	nonce    []byte // that the client sends
	expected []byte // that the server gave last
}

// renewal returns the one that is right, now.
func (w *world) renewal(s *Session, term terminal) *renewal {
	nonce := []byte("nonce of the heartbeat")
	return &renewal{
		session: term.session, old: term.key, new: newKey(w.t),
		offset: w.clock.Now().UnixMilli() - s.Record.STime, epoch: s.Record.Epoch + 1,
		nonce: nonce, expected: nonce,
	}
}

func (r *renewal) sign(w *world) RenewRequest {
	w.t.Helper()
	oldSig, newSig, err := keys.SignRenewal(r.old, r.new, r.session, r.offset, r.epoch, r.nonce)
	if err != nil {
		w.t.Fatal(err)
	}
	return RenewRequest{
		NewKey: r.new.Public().String(), Offset: r.offset, Nonce: r.expected, Received: w.clock.Now(),
		Renewal: wire.Renewal{Session: r.session, Epoch: r.epoch, Nonce: r.nonce, OldSignature: oldSig, NewSignature: newSig},
	}
}

// renewed renews the key of term, which must work.
func (w *world) renewed(a *Auth, term terminal) terminal {
	w.t.Helper()
	s := w.open(a, term.session)
	r := w.renewal(s, term)
	next, token, err := a.Renew(w.ctx, s, r.sign(w))
	if err != nil {
		w.t.Fatalf("Renew = %v, want a session", err)
	}
	return terminal{r.new, token, next.Record.STime}
}

// refused has one renewal refused with a code, and the records left alone.
func (w *world) refused(what string, a *Auth, s *Session, r RenewRequest, want wire.Code) {
	w.t.Helper()
	w.unchanged(func() {
		w.t.Helper()
		got, token, err := a.Renew(w.ctx, s, r)
		wantCode(w.t, what+": Renew", err, want)
		if got != nil || token != "" {
			w.t.Errorf("%s: Renew = %v and a token of %d characters, want none", what, got, len(token))
		}
	})
}

func TestK4RenewalReplacesTheKey(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	s := w.open(a, term.session)
	w.clock.Advance(6 * time.Hour)
	r := w.renewal(s, term)
	next, token, err := a.Renew(w.ctx, s, r.sign(w))
	if err != nil {
		t.Fatalf("Renew = %v, want a session", err)
	}
	opened := w.open(a, token)
	for what, got := range map[string]*Session{"Renew": next, "Open of the new token": opened} {
		now := w.clock.Now().UnixMilli()
		if got.Client != r.new.Public() || got.Claims.Epoch != 1 || got.Claims.STime != now || got.Claims.Expires != now+30*24*3600*1000 || got.Renewed {
			t.Errorf("%s: %+v of key %s, renewed %t, want the new key in epoch 1 from %d on", what, got.Claims, got.Client, got.Renewed, now)
		}
	}
	if next.Claims != opened.Claims || next.Record != opened.Record || next.Server.ID() != opened.Server.ID() {
		t.Errorf("Renew returns %+v, and its token opens as %+v, want the same", next, opened)
	}
	w.renewed(a, terminal{r.new, token, next.Record.STime}) // the new key is as good as the first was
}

// The offset is how far the client's clock has come since s_time; the server
// has its own, and lets the two differ by a threshold.
func TestK4OffsetOutOfRangeIsRefused(t *testing.T) {
	w := newWorld(t)
	w.user("alice")
	for _, threshold := range []time.Duration{0, 5 * time.Second, time.Millisecond} {
		a := w.node(func(c *Config) { c.OffsetThreshold = threshold })
		most := threshold.Milliseconds()
		if most == 0 {
			most = 30_000 // the default
		}
		term := w.login(a, "alice")
		w.clock.Advance(time.Hour)
		s := w.open(a, term.session)
		for _, by := range []int64{most + 1, -most - 1, -3600_000 - most, math.MaxInt64 - 3600_000, math.MinInt64} {
			r := w.renewal(s, term)
			r.offset += by
			w.refused("offset off by "+time.Duration(by).String(), a, s, r.sign(w), wire.OffsetOutOfRange)
		}
		for _, by := range []int64{most, -most, 0} {
			s = w.open(a, term.session)
			r := w.renewal(s, term)
			r.offset += by
			next, token, err := a.Renew(w.ctx, s, r.sign(w))
			if err != nil {
				t.Fatalf("threshold %s, offset off by %d ms: Renew = %v, want a session", threshold, by, err)
			}
			term = terminal{r.new, token, next.Record.STime}
		}
	}
}

// The same offset is in range while it is fresh, and not when it comes late.
func TestK4OffsetMeasuredLongAgoIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	s := w.open(a, term.session)
	r := w.renewal(s, term).sign(w)
	r.Received = r.Received.Add(30*time.Second + time.Millisecond)
	w.refused("30.001 s late", a, s, r, wire.OffsetOutOfRange)
	r.Received = time.Time{} // now, by the server's own clock
	w.clock.Advance(30*time.Second + time.Millisecond)
	w.refused("30.001 s late, time not given", a, s, r, wire.OffsetOutOfRange)
	r.Received = w.clock.Now().Add(-time.Millisecond)
	if _, _, err := a.Renew(w.ctx, s, r); err != nil {
		t.Errorf("30 s late: Renew = %v, want a session", err)
	}
}

func TestK4IncompleteRenewalIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	s := w.open(a, term.session)
	good := w.renewal(s, term).sign(w)
	for _, c := range []struct {
		name  string
		spoil func(*RenewRequest)
		want  wire.Code
	}{
		{"no new key", func(r *RenewRequest) { r.NewKey = "" }, wire.RenewalIncomplete},
		{"no session", func(r *RenewRequest) { r.Session = "" }, wire.RenewalIncomplete},
		{"no nonce", func(r *RenewRequest) { r.Renewal.Nonce = nil }, wire.RenewalIncomplete},
		{"no old signature", func(r *RenewRequest) { r.OldSignature = nil }, wire.RenewalIncomplete},
		{"no new signature", func(r *RenewRequest) { r.NewSignature = wire.Bytes{} }, wire.RenewalIncomplete},
		{"nothing", func(r *RenewRequest) { r.NewKey, r.Renewal = "", wire.Renewal{} }, wire.RenewalIncomplete},
		{"new key cut", func(r *RenewRequest) { r.NewKey = r.NewKey[:100] }, wire.BadFrame},
		{"new key off the curve", func(r *RenewRequest) { r.NewKey = "BAAA" + r.NewKey[4:] }, wire.BadFrame},
		{"garbage for a session", func(r *RenewRequest) { r.Session = "garbage" }, wire.SessionInvalid},
	} {
		r := good
		c.spoil(&r)
		w.refused(c.name, a, s, r, c.want)
	}
}

func TestK4SessionOfAnotherInTheRenewalIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	w.user("bob")
	term := w.login(a, "alice")
	s := w.open(a, term.session)
	for name, other := range map[string]terminal{
		"another user":              w.login(a, "bob"),
		"another device":            w.loginAs(a, "alice", "tablet", "mail"),
		"another app":               w.loginAs(a, "alice", "phone", "chat"),
		"another login of the same": w.login(a, "alice"),
	} {
		r := w.renewal(s, term)
		r.session = other.session
		w.refused(name+", by the key of the connection", a, s, r.sign(w), wire.RenewalUserMismatch)
		r.old = other.key
		w.refused(name+", by the other's own key", a, s, r.sign(w), wire.RenewalUserMismatch)
	}
	// Nor with its own id: such a token exists only if a server erred.
	for name, set := range map[string]func(*keys.Claims){
		"user":   func(c *keys.Claims) { c.User = "bob" },
		"device": func(c *keys.Claims) { c.Device = "tablet" },
		"app":    func(c *keys.Claims) { c.App = "chat" },
	} {
		claims, r := s.Claims, w.renewal(s, term)
		set(&claims)
		var err error
		if r.session, err = a.ring.get().Seal(claims); err != nil {
			t.Fatal(err)
		}
		w.refused("another "+name+" with this id", a, s, r.sign(w), wire.RenewalUserMismatch)
	}
	// Whether another's session is revoked is nobody's business either.
	gone := w.login(a, "bob")
	if err := a.Logout(w.ctx, w.open(a, gone.session)); err != nil {
		t.Fatal(err)
	}
	r := w.renewal(s, term)
	r.session = gone.session
	w.refused("a revoked one", a, s, r.sign(w), wire.RenewalUserMismatch)
}

func TestK4NonceIsOfTheLastReplyAndUsedOnce(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	s := w.open(a, term.session)
	for name, spoil := range map[string]func(*renewal){
		"another":       func(r *renewal) { r.nonce = []byte("nonce of another beat!") },
		"cut":           func(r *renewal) { r.nonce = r.nonce[:8] },
		"used already":  func(r *renewal) { r.expected = nil },
		"never made up": func(r *renewal) { r.nonce, r.expected = []byte{0}, []byte{} },
	} {
		r := w.renewal(s, term)
		spoil(r)
		w.refused(name, a, s, r.sign(w), wire.NonceInvalid)
	}
}

func TestK4ReplayedRenewalIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	s := w.open(a, term.session)
	r := w.renewal(s, term)
	sent := r.sign(w)
	next, token, err := a.Renew(w.ctx, s, sent)
	if err != nil {
		t.Fatalf("Renew = %v, want a session", err)
	}
	w.refused("with the session it was sent on", a, s, sent, wire.SessionStale)
	w.refused("with the session it made", a, next, sent, wire.SessionStale)
	sent.Session = token
	w.refused("with the new token put in", a, next, sent, wire.EpochInvalid)
	sent.Epoch++
	w.refused("with the new epoch put in", a, next, sent, wire.RenewalSignatureInvalid)
}

func TestK4EpochIsTheNextOne(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.renewed(a, w.login(a, "alice"))
	s := w.open(a, term.session)
	for _, epoch := range []uint64{0, s.Record.Epoch, s.Record.Epoch + 2, math.MaxUint64} {
		r := w.renewal(s, term)
		r.epoch = epoch
		w.refused("epoch", a, s, r.sign(w), wire.EpochInvalid)
	}
}

// A stolen token renews nothing: it takes the old key. And nobody has a key
// taken for the client's that the client has not.
func TestK4RenewalIsSignedByBothKeys(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	s := w.open(a, term.session)
	thief := newKey(t)
	right := w.renewal(s, term)
	good := right.sign(w)
	signed := func(old, new *keys.Private) RenewRequest {
		r := *right
		r.old, r.new = old, new
		return r.sign(w)
	}
	for _, c := range []struct {
		name  string
		spoil func(*RenewRequest)
	}{
		{"stolen token, keys of the thief", func(r *RenewRequest) { *r = signed(thief, newKey(t)) }},
		{"stolen token, one key for both", func(r *RenewRequest) { *r = signed(thief, thief) }},
		{"old key only", func(r *RenewRequest) { r.NewSignature = signed(term.key, thief).NewSignature }},
		{"old key only, one signature for both", func(r *RenewRequest) { r.NewSignature = r.OldSignature }},
		{"new key only", func(r *RenewRequest) { r.OldSignature = signed(thief, right.new).OldSignature }},
		{"new key only, one signature for both", func(r *RenewRequest) { r.OldSignature = r.NewSignature }},
		{"swapped", func(r *RenewRequest) { r.OldSignature, r.NewSignature = r.NewSignature, r.OldSignature }},
		{"another new key put in", func(r *RenewRequest) { r.NewKey = thief.Public().String() }},
		{"another offset put in", func(r *RenewRequest) { r.Offset++ }},
		{"another nonce put in", func(r *RenewRequest) { r.Renewal.Nonce, r.Nonce = []byte("x"), []byte("x") }},
		{"signature cut", func(r *RenewRequest) { r.OldSignature = r.OldSignature[:63] }},
		{"signature of zeros", func(r *RenewRequest) { r.OldSignature = make([]byte, 64) }},
		{"one bit of the old signature", func(r *RenewRequest) {
			r.OldSignature = bytes.Clone(r.OldSignature)
			r.OldSignature[0] ^= 1
		}},
	} {
		r := good
		c.spoil(&r)
		w.refused(c.name, a, s, r, wire.RenewalSignatureInvalid)
	}
	w.refused("the key in use for the new one", a, s, signed(term.key, term.key), wire.BadFrame)
	if _, _, err := a.Renew(w.ctx, s, good); err != nil {
		t.Errorf("Renew after all that = %v, want a session", err)
	}
}

func TestK4OneOfManyRenewalsWins(t *testing.T) {
	w := newWorld(t)
	nodes := []*Auth{w.node(), w.node()}
	w.user("alice")
	term := w.login(nodes[0], "alice")
	const each = 8
	var mu sync.Mutex
	var won []string
	var all sync.WaitGroup
	start := make(chan struct{})
	for _, a := range nodes {
		for range each {
			s := w.open(a, term.session)
			r := w.renewal(s, term).sign(w)
			all.Go(func() {
				<-start
				next, _, err := a.Renew(w.ctx, s, r)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, next.Client.String())
					return
				}
				var code wire.Code
				if !errors.As(err, &code) || code != wire.RenewalConflict && code != wire.SessionStale {
					t.Errorf("Renew = %v, want %q or %q", err, wire.RenewalConflict, wire.SessionStale)
				}
			})
		}
	}
	close(start)
	all.Wait()
	if len(won) != 1 {
		t.Fatalf("%d of %d renewals at once won, want 1", len(won), len(nodes)*each)
	}
	rec := w.open(nodes[0], term.session).Record
	if rec.Key != won[0] || rec.Epoch != 1 {
		t.Errorf("the record has key %s in epoch %d, want the winner's %s in 1", rec.Key, rec.Epoch, won[0])
	}
}

// Two renewals that have both read the record: the store decides.
func TestK4LateRenewalIsAConflict(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	s := w.open(a, term.session)
	now := w.open(a, w.renewed(a, term).session).Record
	_, _, err := a.replaceKey(w.ctx, s.Record, newKey(t).Public(), w.clock.Now())
	wantCode(t, "replaceKey from an old record", err, wire.RenewalConflict)
	if got, err := w.store.Session(w.ctx, now.ID); err != nil || got != now {
		t.Errorf("the record after the conflict is %+v (%v), want %+v", got, err, now)
	}
}

func TestK4ReplyThatWasLost(t *testing.T) {
	w := newWorld(t)
	a, b := w.node(), w.node()
	w.user("alice")
	before := w.login(a, "alice")
	after := w.renewed(a, before) // of which the client knows only the key
	var s *Session
	w.unchanged(func() { s = w.open(b, before.session) })
	if !s.Renewed || s.Client != after.key.Public() {
		t.Fatalf("Open of the old token: renewed %t with key %s, want true with the new key", s.Renewed, s.Client)
	}
	w.unchanged(func() { w.refusesAll(b, s, before) })

	e := exchange(s, before.session)
	if old, _ := before.key.Sign("keyhole-push.v1 client confirmation", []byte("anything")); e.VerifyClient(old) {
		t.Error("a proof by the old key holds, want none to")
	}
	if _, err := e.ClientProof(before.key); err == nil {
		t.Error("the exchange takes the old key for the client's, want the new one only")
	}
	proof, err := e.ClientProof(after.key)
	if err != nil || !e.VerifyClient(proof) {
		t.Fatalf("the proof by the new key does not hold (%v)", err)
	}

	token, err := b.Refresh(s)
	if err != nil || s.Renewed {
		t.Fatalf("Refresh = %v, renewed %t, want a token", err, s.Renewed)
	}
	if got := w.open(a, token); got.Renewed || got.Claims != s.Claims || got.Client != after.key.Public() {
		t.Errorf("Open of the refreshed token = %+v, want %+v", got, s)
	}
	term := terminal{after.key, token, s.Record.STime}
	if _, _, err := b.Renew(w.ctx, s, w.renewal(s, term).sign(w)); err != nil {
		t.Errorf("Renew after Refresh = %v, want a session", err)
	}
	_, err = a.Open(w.ctx, before.session)
	wantCode(t, "Open of a token two epochs old", err, wire.SessionStale)
}

// refusesAll checks that a session that is Renewed is good for nothing.
func (w *world) refusesAll(a *Auth, s *Session, term terminal) {
	w.t.Helper()
	_, _, err := a.Token(w.ctx, s, "phone", "mail", "alice")
	wantCode(w.t, "Token", err, wire.SessionStale)
	_, err = a.CheckToken(w.ctx, s, "x")
	wantCode(w.t, "CheckToken", err, wire.SessionStale)
	r := w.renewal(s, term)
	_, _, err = a.Renew(w.ctx, s, r.sign(w))
	wantCode(w.t, "Renew", err, wire.SessionStale)
	if r.session, err = a.ring.get().Seal(claimsOf(s.Record, s.Client)); err != nil {
		w.t.Fatal(err)
	}
	_, _, err = a.Renew(w.ctx, s, r.sign(w))
	wantCode(w.t, "Renew with the current token", err, wire.SessionStale)
	wantCode(w.t, "Logout", a.Logout(w.ctx, s), wire.SessionStale)
}

// A connection may be verified, and its session end under it.
func TestK4SessionThatEndedMeanwhileRenewsNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*world, *Auth, *Session) error
		want wire.Code
	}{
		{"logged out", func(w *world, a *Auth, s *Session) error { return a.Logout(w.ctx, s) }, wire.SessionRevoked},
		{"revoked", func(w *world, a *Auth, s *Session) error { return w.store.RevokeSession(w.ctx, s.Record.ID) }, wire.SessionRevoked},
		{"account disabled", func(w *world, a *Auth, s *Session) error { return a.DisableUser(w.ctx, "alice") }, wire.AccountDisabled},
		{"expired", func(w *world, a *Auth, s *Session) error { w.clock.Advance(30 * 24 * time.Hour); return nil }, wire.SessionExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.node()
			w.user("alice")
			term := w.login(a, "alice")
			s := w.open(a, term.session)
			if err := c.end(w, a, s); err != nil {
				t.Fatal(err)
			}
			w.refused(c.name, a, s, w.renewal(s, term).sign(w), c.want)
		})
	}
}

func TestK6RenewalIsAskedForAfter(t *testing.T) {
	w := newWorld(t)
	if got := w.node().RenewAfter(); got != 6*time.Hour {
		t.Errorf("RenewAfter() = %s, want 6h0m0s without configuration", got)
	}
	if got := w.node(func(c *Config) { c.RenewAfter = time.Minute }).RenewAfter(); got != time.Minute {
		t.Errorf("RenewAfter() = %s, want 1m0s as configured", got)
	}
}
