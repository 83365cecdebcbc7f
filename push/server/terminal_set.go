package server

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"

	"keyhole/push/wire"
)

// A terminalSet is every terminal's connection from its upgrade to its end, and
// the number of upgrades under way.
type terminalSet struct {
	ctx    context.Context // ends with the connections, and what they wait for
	cancel context.CancelFunc
	max    int // 0: no limit

	mu       sync.Mutex
	arriving int // upgrades: the client may have its answer, and the terminal is not in all yet
	all      map[*terminal]struct{}
	closed   bool
	empty    chan struct{} // closed when closed is set and nobody is left or arriving
}

func newTerminalSet(most int) *terminalSet {
	ctx, cancel := context.WithCancel(context.Background())
	return &terminalSet{ctx: ctx, cancel: cancel, max: most, all: map[*terminal]struct{}{}, empty: make(chan struct{})}
}

// arrive announces an upgrade, which ends with add or fail.
func (s *terminalSet) arrive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arriving++
}

// fail ends an upgrade that made no terminal.
func (s *terminalSet) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arriving--
	s.emptyLocked()
}

// add ends an upgrade, and takes its terminal in. An error says that it must go
// again: it wraps wire.Draining, net.ErrClosed when the connections were ended,
// or wire.TooManyConnections past the limit. It is in the set all the same,
// until it has gone.
func (s *terminalSet) add(t *terminal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arriving--
	s.all[t] = struct{}{}
	switch {
	case s.ctx.Err() != nil: // it missed being cut
		return net.ErrClosed
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
// is left, nor arriving.
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
	if !s.closed || s.arriving > 0 || len(s.all) > 0 {
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
