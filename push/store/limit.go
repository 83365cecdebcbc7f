package store

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"keyhole/push/wire"
)

// appBacklog is how many messages to one version of an app are stored at once.
// Theirs are not deleted when they are acknowledged, since others may come for
// them: they stay until they expire.
const appBacklog = 10_000

// A limiter knows, of the targets that were published to lately, a number that
// their stored messages do not exceed. It spares Publish from having them
// counted, which takes as long as storing one.
type limiter struct {
	mu     sync.Mutex
	bounds *simplelru.LRU[string, int]

	// One publisher at a time counts a target, or each would find the room that
	// the others are about to take. Targets share these by their hash.
	counting [64]chan struct{} // capacity 1: full while somebody does
	seed     maphash.Seed
}

// limitedTargets are kept in mind: about 10 MB.
const limitedTargets = 1 << 16

func newLimiter() *limiter {
	bounds, err := simplelru.NewLRU[string, int](limitedTargets, nil)
	if err != nil {
		panic(err) // of a size below one only
	}
	l := &limiter{bounds: bounds, seed: maphash.MakeSeed()}
	for i := range l.counting {
		l.counting[i] = make(chan struct{}, 1)
	}
	return l
}

func (l *limiter) counter(target string) chan struct{} {
	return l.counting[maphash.String(l.seed, target)%uint64(len(l.counting))]
}

// take counts one more message to target, where there is room for certain.
func (l *limiter) take(target string, limit int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, ok := l.bounds.Get(target)
	if !ok || n >= limit {
		return false
	}
	l.bounds.Add(target, n+1)
	return true
}

func (l *limiter) set(target string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bounds.Add(target, n)
}

// saw counts a message that some node published. This one's count twice, which
// only brings the next count forward.
func (l *limiter) saw(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, ok := l.bounds.Peek(target); ok {
		l.bounds.Add(target, n+1)
	}
}

// admit refuses m with wire.BacklogFull when its target has as many messages as
// it may have. What other nodes, or publishers that were admitted already, are
// storing at the moment may exceed that.
func (s *Store) admit(ctx context.Context, m *Message) error {
	target, limit := m.target(), s.cfg.Backlog
	if m.Token == "" {
		limit = appBacklog
	}
	if s.limits.take(target, limit) {
		return nil
	}
	turn := s.limits.counter(target)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return s.ended(ctx)
	}
	if s.limits.take(target, limit) { // somebody else counted meanwhile
		return nil
	}
	return s.count(ctx, m, target, limit)
}

func (s *Store) count(ctx context.Context, m *Message, target string, limit int) error {
	var info struct { // a part of what streamInfo reads, in half the time
		State struct {
			Subjects map[string]int `json:"subjects"`
		} `json:"state"`
	}
	if err := s.call(ctx, "STREAM.INFO."+messageStream, map[string]string{"subjects_filter": target}, &info); err != nil {
		return err
	}
	stored := info.State.Subjects
	if _, replaces := stored[m.Subject()]; replaces || len(stored) < limit {
		s.limits.set(target, len(stored)+1)
		return nil
	}
	s.limits.set(target, len(stored))
	if m.Token == "" {
		return fmt.Errorf("%w: %d messages to app %q, version %q, are stored already: wait until some expire, or publish with a shorter ttl",
			wire.BacklogFull, len(stored), m.App, m.Version)
	}
	return fmt.Errorf("%w: %d messages under the token were not acknowledged yet: wait until the terminal has come for them",
		wire.BacklogFull, len(stored))
}
