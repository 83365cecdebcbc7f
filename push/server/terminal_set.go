package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"keyhole/push/wire"
)

// A terminalSet is every terminal's connection from its upgrade to its end.
type terminalSet struct {
	ctx    context.Context // ends with the connections, and what they wait for
	cancel context.CancelFunc
	max    int // 0: no limit

	mu     sync.Mutex
	all    map[*terminal]struct{}
	closed bool
	empty  chan struct{} // closed when closed is set and nobody is left
}

func newTerminalSet(most int) *terminalSet {
	ctx, cancel := context.WithCancel(context.Background())
	return &terminalSet{ctx: ctx, cancel: cancel, max: most, all: map[*terminal]struct{}{}, empty: make(chan struct{})}
}

// add takes t in. An error says that it must go again: it wraps wire.Draining,
// or wire.TooManyConnections past the limit. It is in the set all the same,
// until it has gone.
func (s *terminalSet) add(t *terminal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[t] = struct{}{}
	switch {
	case s.closed:
		return fmt.Errorf("%w: this server is stopping; connect again", wire.Draining)
	case s.max > 0 && len(s.all) > s.max:
		return fmt.Errorf("%w: this server takes %d", wire.TooManyConnections, s.max)
	}
	return nil
}

func (s *terminalSet) remove(t *terminal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, t)
	s.emptyLocked()
}

// close lets nobody else in. The channel that it returns is closed when nobody
// is left.
func (s *terminalSet) close() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.emptyLocked()
	}
	return s.empty
}

func (s *terminalSet) emptyLocked() {
	if !s.closed || len(s.all) > 0 {
		return
	}
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

func (s *terminalSet) list() []*terminal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.all))
}
