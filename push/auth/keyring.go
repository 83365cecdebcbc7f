package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

const (
	// readPause is the shortest time between two readings of the ring that
	// unknown key ids bring about: made-up ids cost the store one read a second,
	// however many there are.
	readPause = time.Second

	// grace keeps a retired key longer than sessions live, since a node may
	// seal with it until it has heard of the next.
	grace = time.Hour
)

// A ringStore keeps the ring of all nodes, by compare-and-set.
type ringStore interface {
	LoadRing(ctx context.Context) (data []byte, revision uint64, err error)
	SaveRing(ctx context.Context, data []byte, revision uint64) error
}

// A keyring is this node's copy of the ring of server keys.
type keyring struct {
	store    ringStore
	every    time.Duration
	lifetime time.Duration
	pause    time.Duration
	now      func() time.Time

	known atomic.Pointer[knownRing]

	turn chan struct{} // filled while the store is asked
	read time.Time     // when the last reading began, by the monotonic clock; for the holder of the turn
}

type knownRing struct {
	*keys.Ring
	revision uint64 // at least; 0: nothing is known
}

func newKeyring(s ringStore, c Config) *keyring {
	r := &keyring{
		store: s, every: c.RotateEvery, lifetime: c.SessionLife + grace, pause: readPause,
		now: c.Now, turn: make(chan struct{}, 1),
	}
	r.known.Store(&knownRing{})
	return r
}

func (r *keyring) get() *keys.Ring { return r.known.Load().Ring }

// open reads the ring, or makes it.
func (r *keyring) open(ctx context.Context) error {
	if err := r.enter(ctx); err != nil {
		return err
	}
	defer r.leave()
	err := r.load(ctx)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	first, err := keys.NewRing(r.now(), r.every)
	if err != nil {
		return err
	}
	if err := r.save(ctx, first, 0); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	return r.load(ctx) // another node's, if that was first
}

// load expects the turn. A server of the store that does not know yet that it
// leads no more may answer with an older ring than is known; that is passed
// over.
func (r *keyring) load(ctx context.Context) error {
	r.read = time.Now()
	data, revision, err := r.store.LoadRing(ctx)
	if err != nil {
		return err
	}
	if revision < r.known.Load().revision {
		return nil
	}
	ring := &keys.Ring{}
	if err := json.Unmarshal(data, ring); err != nil {
		return fmt.Errorf("record of the server keys: %w; restore it from a back-up", err)
	}
	r.known.Store(&knownRing{ring, revision})
	return nil
}

// save expects the turn. The new record's revision is not told, but is past
// the one it replaces.
func (r *keyring) save(ctx context.Context, ring *keys.Ring, revision uint64) error {
	data, err := json.Marshal(ring)
	if err != nil {
		return fmt.Errorf("record of the server keys: %w", err)
	}
	if err := r.store.SaveRing(ctx, data, revision); err != nil {
		return err
	}
	r.known.Store(&knownRing{ring, revision + 1})
	return nil
}

// unseal opens a session token. For a key id that is not known the ring is
// read again, since another node may have renewed the server key.
func (r *keyring) unseal(ctx context.Context, session string) (keys.Claims, *keys.ServerKey, error) {
	claims, key, err := r.get().Open(session)
	if !errors.Is(err, keys.ErrUnknownKey) {
		return claims, key, err
	}
	if err := r.reread(ctx); err != nil {
		return claims, nil, err
	}
	return r.get().Open(session)
}

// reread returns once a reading has begun after it was called: a token that
// came before cannot be sealed to a key made later. Callers share readings,
// and wait for a pause between them rather than be told wrongly to log in
// again.
func (r *keyring) reread(ctx context.Context) error {
	came := time.Now()
	if err := r.enter(ctx); err != nil {
		return err
	}
	defer r.leave()
	if r.read.After(came) {
		return nil
	}
	rest := time.NewTimer(time.Until(r.read.Add(r.pause)))
	defer rest.Stop()
	select {
	case <-rest.C:
		return r.load(ctx)
	case <-ctx.Done():
		return notRead(ctx)
	}
}

// enter takes the turn, which leave gives back.
func (r *keyring) enter(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return notRead(ctx)
	}
}

func (r *keyring) leave() { <-r.turn }

func notRead(ctx context.Context) error {
	return fmt.Errorf("%w: not read in time: %w", wire.StoreUnavailable, ctx.Err())
}

// rotate renews the server key if its deadline has passed (K5), unless another
// node has, and returns whether it was this one.
func (r *keyring) rotate(ctx context.Context) (bool, error) {
	if err := r.enter(ctx); err != nil {
		return false, err
	}
	defer r.leave()
	if err := r.load(ctx); err != nil {
		return false, err
	}
	known := r.known.Load()
	if r.now().Before(known.Rotate) {
		return false, nil
	}
	next, err := known.Rotated(r.now(), r.every, r.lifetime)
	if err != nil {
		return false, err
	}
	switch err := r.save(ctx, next, known.revision); {
	case errors.Is(err, store.ErrConflict):
		return false, r.load(ctx)
	case err != nil:
		return false, err
	}
	return true, nil
}
