package auth

import (
	"context"
	"errors"
	"testing"
	"time"

	"keyhole/push/store"
)

// Run goes by the real clock here, at a pace that nobody would configure.
func TestK5RunRenewsAtTheDeadlineAndSweeps(t *testing.T) {
	w := newWorld(t)
	a := w.node(func(c *Config) { c.Now, c.RotateEvery, c.TokenIdle = time.Now, 20*time.Millisecond, time.Hour })
	w.user("alice")
	_, old, err := w.store.TokenOf(w.ctx, "alice", "phone", "mail")
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(3 * day) // which the store goes by
	_, used, err := w.store.TokenOf(w.ctx, "alice", "tablet", "mail")
	if err != nil {
		t.Fatal(err)
	}
	first := a.ring.get().Current().ID()
	ctx, cancel := context.WithCancel(w.ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	eventually(t, "two more keys", func() bool { return len(a.ring.get().Keys) >= 3 })
	if a.ServerKey(first) == nil {
		t.Error("ServerKey after a renewal = nil, want the new key")
	}
	eventually(t, "the old token is swept", func() bool {
		_, err := w.store.Token(w.ctx, old.Hash)
		return errors.Is(err, store.ErrNotFound)
	})
	if _, err := w.store.Token(w.ctx, used.Hash); err != nil {
		t.Errorf("Token of one in use = %v, want it to be left alone", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want its context's error", err)
	}
}
