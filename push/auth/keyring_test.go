package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// A shelf is a ringStore in memory that counts.
type shelf struct {
	mu           sync.Mutex
	data         []byte
	revision     uint64
	loads, saves int
	err          error         // of every call, when set
	delay        time.Duration // of every call
	stale        *shelf        // what LoadRing answers from, when set
}

func (s *shelf) LoadRing(ctx context.Context) ([]byte, uint64, error) {
	time.Sleep(s.delay) // of the fake clock: only tests in a bubble set it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	from := s
	if s.stale != nil {
		from = s.stale
	}
	switch {
	case s.err != nil:
		return nil, 0, s.err
	case from.revision == 0:
		return nil, 0, store.ErrNotFound
	}
	return from.data, from.revision, nil
}

func (s *shelf) SaveRing(ctx context.Context, data []byte, revision uint64) error {
	time.Sleep(s.delay)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if revision != s.revision {
		return store.ErrConflict
	}
	s.saves++
	s.data, s.revision = data, s.revision+3 // the stream has other records too
	return nil
}

// copy is the shelf as it is now.
func (s *shelf) copy() *shelf { return &shelf{data: s.data, revision: s.revision} }

// keyringOn opens a keyring on a shelf.
func keyringOn(t *testing.T, s ringStore, every time.Duration, now func() time.Time) *keyring {
	t.Helper()
	r := newKeyring(s, Config{RotateEvery: every, SessionLife: 30 * day, Now: now})
	if err := r.open(t.Context()); err != nil {
		t.Fatalf("open = %v, want a ring", err)
	}
	return r
}

func (r *keyring) mustRotate(t *testing.T, want bool) {
	t.Helper()
	got, err := r.rotate(t.Context())
	if err != nil || got != want {
		t.Fatalf("rotate = %t, %v, want %t", got, err, want)
	}
}

// unknown is a session token of a key that nobody has.
func unknown() string {
	b := make([]byte, 200)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func TestK5DeadlineIsStored(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	first := a.ring.get()
	if want := w.clock.Now().Add(24 * time.Hour); !first.Rotate.Equal(want) {
		t.Fatalf("the first key is due at %s, want %s", first.Rotate, want)
	}
	for range 3 { // restarts, eight hours apart less a millisecond in the end
		w.clock.Advance(8*time.Hour - time.Millisecond/2)
		a = w.node(func(c *Config) { c.RotateEvery = 48 * time.Hour })
		a.ring.mustRotate(t, false)
		if got := a.ring.get(); !got.Rotate.Equal(first.Rotate) || got.Current().ID() != first.Current().ID() {
			t.Fatalf("after a restart key %s is due at %s, want %s at %s", got.Current().ID(), got.Rotate, first.Current().ID(), first.Rotate)
		}
	}
	w.clock.Advance(2 * time.Millisecond)
	a.ring.mustRotate(t, true)
	if got := w.node().ring.get(); got.Current().ID() == first.Current().ID() || !got.Rotate.Equal(w.clock.Now().Add(48*time.Hour)) {
		t.Errorf("past the deadline key %s is due at %s, want another in two days", got.Current().ID(), got.Rotate)
	}
}

func TestK5TwoNodesRenewOnce(t *testing.T) {
	w := newWorld(t)
	nodes := []*Auth{w.node(), w.node(), w.node()}
	w.clock.Advance(24 * time.Hour)
	var all sync.WaitGroup
	var mu sync.Mutex
	renewed := 0
	for _, a := range nodes {
		all.Go(func() {
			ok, err := a.ring.rotate(w.ctx)
			if err != nil {
				t.Errorf("rotate = %v, want nil", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if ok {
				renewed++
			}
		})
	}
	all.Wait()
	if renewed != 1 {
		t.Errorf("%d nodes renewed the key, want 1", renewed)
	}
	for i, a := range nodes {
		ring := a.ring.get()
		if len(ring.Keys) != 2 || ring.Current().ID() != nodes[0].ring.get().Current().ID() {
			t.Errorf("node %d has %d keys and seals to %s, want 2 and that of node 0", i, len(ring.Keys), ring.Current().ID())
		}
	}
}

func TestK5TwoNodesMakeOneRing(t *testing.T) {
	w := newWorld(t)
	made := make(chan *Auth, 4)
	for range cap(made) {
		go func() {
			a, err := New(w.ctx, Config{Store: w.store, Now: w.clock.Now})
			if err != nil {
				t.Errorf("New = %v, want an Auth", err)
			}
			made <- a
		}()
	}
	first := (<-made).ring.get().Current().ID()
	for range cap(made) - 1 {
		if got := (<-made).ring.get().Current().ID(); got != first {
			t.Errorf("one node seals to %s, another to %s, want the same", first, got)
		}
	}
}

func TestK5OldKeyOpensItsSessionsForTheirLifetime(t *testing.T) {
	w := newWorld(t)
	a := w.node(func(c *Config) { c.SessionLife = 3 * 24 * time.Hour })
	w.user("alice")
	term := w.login(a, "alice")
	for range 2 {
		w.clock.Advance(24 * time.Hour)
		a.ring.mustRotate(t, true)
		if s := w.open(a, term.session); s.Server.ID() == a.ring.get().Current().ID() {
			t.Fatal("the session is sealed to the current key, want the one of its login")
		}
	}
	w.clock.Advance(24*time.Hour - time.Millisecond)
	w.open(a, term.session)
	for range 2 {
		w.clock.Advance(24 * time.Hour)
		a.ring.mustRotate(t, true)
	}
	if n := len(a.ring.get().Keys); n != 4 {
		t.Errorf("the ring has %d keys after four renewals, want 4: the first is of no use any more", n)
	}
}

// A refreshed token is sealed to the current key, and says the same.
func TestK5RefreshMovesASessionToTheCurrentKey(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	s := w.open(a, w.login(a, "alice").session)
	before := s.Claims
	w.clock.Advance(24 * time.Hour)
	a.ring.mustRotate(t, true)
	token, err := a.Refresh(s)
	if err != nil {
		t.Fatalf("Refresh = %v, want a token", err)
	}
	if kid, err := keys.SessionKey(token); err != nil || kid != a.ring.get().Current().ID() || s.Server.ID() != kid {
		t.Errorf("the refreshed token is sealed to %s (%v), want the current key %s", kid, err, a.ring.get().Current().ID())
	}
	if got := w.open(a, token).Claims; got != before {
		t.Errorf("the refreshed token claims %+v, want %+v", got, before)
	}
}

func TestK5ServerKeyIsSignedByTheOneThatTheClientHas(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	had := []keys.Public{a.ring.get().Current().Private.Public()}
	for range 3 {
		w.clock.Advance(24 * time.Hour)
		a.ring.mustRotate(t, true)
		had = append(had, a.ring.get().Current().Private.Public())
	}
	current := had[len(had)-1]
	if k := a.ServerKey(current.KID()); k != nil {
		t.Errorf("ServerKey for a client that has the current one = %+v, want nil", k)
	}
	for i, old := range had[:len(had)-1] {
		k := a.ServerKey(old.KID())
		if k == nil || k.Public != current.String() || k.Previous != old.KID().String() || !old.VerifyServerKey(current, k.Signature) {
			t.Errorf("ServerKey for a client that has key %d = %+v, want %s signed by that one", i, k, current)
		}
	}
	k := a.ServerKey(keys.KID{1})
	if k == nil || k.Public != current.String() || k.Previous != had[2].KID().String() || !had[2].VerifyServerKey(current, k.Signature) {
		t.Errorf("ServerKey for a client of an unknown key = %+v, want %s signed by its predecessor", k, current)
	}
}

func TestK5NodeFindsTheKeyThatAnotherMade(t *testing.T) {
	w := newWorld(t)
	a, b := w.node(), w.node()
	b.ring.pause = 0
	w.user("alice")
	w.clock.Advance(24 * time.Hour)
	a.ring.mustRotate(t, true)
	term := w.login(a, "alice")
	w.unchanged(func() { w.open(b, term.session) })
}

// Made-up key ids cost the store a read a second, not one each.
func TestK5UnknownKeysReadTheRingOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{delay: 10 * time.Millisecond}
		r := keyringOn(t, s, day, time.Now)
		s.loads = 0
		start := time.Now()
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				for time.Since(start) < 10*time.Second {
					if _, _, err := r.unseal(t.Context(), unknown()); !errors.Is(err, keys.ErrUnknownKey) {
						t.Errorf("unseal = %v, want ErrUnknownKey", err)
					}
				}
			})
		}
		all.Wait()
		took := time.Since(start)
		if most := int(took/readPause) + 1; s.loads > most || s.loads < 9 {
			t.Errorf("the ring was read %d times in %s, want 9 to %d", s.loads, took, most)
		}
	})
}

// One who comes while attackers have the readings of the ring is not sent away:
// the answer waits for a reading that began after the question.
func TestK5NewKeyIsFoundUnderAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{delay: 10 * time.Millisecond}
		a, b := keyringOn(t, s, 5*time.Second, time.Now), keyringOn(t, s, 5*time.Second, time.Now)
		ctx, stop := context.WithCancel(t.Context())
		var attack sync.WaitGroup
		for range 100 {
			attack.Go(func() {
				for ctx.Err() == nil {
					b.unseal(ctx, unknown())
				}
			})
		}
		for range 5 {
			time.Sleep(5*time.Second + 123*time.Millisecond)
			a.mustRotate(t, true)
			token, err := a.get().Seal(keys.Claims{User: "alice"})
			if err != nil {
				t.Fatal(err)
			}
			asked := time.Now()
			if _, _, err := b.unseal(ctx, token); err != nil {
				t.Errorf("unseal of a token of the new key = %v, want its claims", err)
			}
			if d := time.Since(asked); d > 2*readPause {
				t.Errorf("unseal took %s, want at most %s", d, 2*readPause)
			}
		}
		stop()
		attack.Wait()
	})
}

func TestK5WaitingForTheRingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		r := keyringOn(t, s, day, time.Now)
		r.pause = time.Hour
		var all sync.WaitGroup
		for range 3 { // one waits for the pause, the others for their turn
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, _, err := r.unseal(ctx, unknown()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("unseal = %v, want its context's error", err)
				}
			})
		}
		start := time.Now()
		all.Wait()
		if d := time.Since(start); d != time.Second || s.loads != 2 {
			t.Errorf("it took %s and %d readings, want 1s and the 2 of open", d, s.loads)
		}
		if len(r.turn) != 0 {
			t.Error("the turn is still taken, want it given back")
		}
	})
}

func TestK5StoreThatDoesNotAnswerIsNoVerdictOnAKey(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	s := &shelf{err: wire.StoreUnavailable}
	a.ring.store, a.ring.pause = s, 0
	_, err := a.Open(w.ctx, unknown())
	wantCode(t, "Open of a token of an unknown key", err, wire.StoreUnavailable)
	w.clock.Advance(24 * time.Hour)
	if wait := a.renewServerKey(w.ctx); wait != retryAfter {
		t.Errorf("renewServerKey without a store: again in %s, want %s", wait, retryAfter)
	}
}

// What is known is kept when the store answers with an older ring.
func TestK5OlderRingIsPassedOver(t *testing.T) {
	clock := newClock()
	s := &shelf{}
	a, b := keyringOn(t, s, day, clock.Now), keyringOn(t, s, day, clock.Now)
	s.stale = s.copy()
	clock.Advance(24 * time.Hour)
	a.mustRotate(t, true)
	if err := a.load(t.Context()); err != nil || len(a.get().Keys) != 2 {
		t.Errorf("after a reading of an older ring (%v) %d keys are known, want 2", err, len(a.get().Keys))
	}
	b.mustRotate(t, false) // lost to a, and does not see by what
	if n := len(b.get().Keys); n != 1 {
		t.Errorf("%d keys are known, want 1 until the store tells of the second", n)
	}
	s.stale = nil
	b.mustRotate(t, false)
	if b.get().Current().ID() != a.get().Current().ID() || s.saves != 2 {
		t.Errorf("after %d saves the nodes seal to %s and %s, want 2 and the same", s.saves, a.get().Current().ID(), b.get().Current().ID())
	}
}

func TestK5LostRaceIsLookedAtAgain(t *testing.T) {
	clock := newClock()
	s := &shelf{}
	log := slog.New(slog.DiscardHandler)
	a := &Auth{ring: keyringOn(t, s, day, clock.Now), now: clock.Now, log: log}
	b := &Auth{ring: keyringOn(t, s, day, clock.Now), now: clock.Now, log: log}
	if wait := a.renewServerKey(t.Context()); wait != lookEvery {
		t.Errorf("a day before the deadline: again in %s, want %s", wait, lookEvery)
	}
	clock.Advance(24*time.Hour - time.Second)
	if wait := a.renewServerKey(t.Context()); wait != time.Second {
		t.Errorf("a second before the deadline: again in %s, want 1s", wait)
	}
	clock.Advance(time.Second)
	s.stale = s.copy()
	if wait := a.renewServerKey(t.Context()); wait != lookEvery || len(a.ring.get().Keys) != 2 {
		t.Errorf("at the deadline: %d keys, again in %s, want 2 and %s", len(a.ring.get().Keys), wait, lookEvery)
	}
	if wait := b.renewServerKey(t.Context()); wait != retryAfter {
		t.Errorf("lost to another node that the store does not tell of: again in %s, want %s", wait, retryAfter)
	}
}

func TestK5DamagedRingIsNotReplaced(t *testing.T) {
	w := newWorld(t)
	if err := w.store.SaveRing(w.ctx, []byte(`{"keys":[]}`), 0); err != nil {
		t.Fatal(err)
	}
	w.unchanged(func() {
		_, err := New(w.ctx, Config{Store: w.store})
		if err == nil || !strings.Contains(err.Error(), "record of the server keys") || !strings.Contains(err.Error(), "back-up") {
			t.Errorf("New on a damaged ring = %v, want an error that names it and the remedy", err)
		}
	})
}
