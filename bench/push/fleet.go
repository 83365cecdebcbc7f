package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"keyhole/push/client"
)

// A fleet is all terminals, in a process of their own: push/client as an app
// embeds it, with its default back-off. It answers the calls of fleetClient.
type fleet struct {
	ctx     context.Context
	members []member
	dialer  *dialer

	mu       sync.Mutex
	changed  chan struct{}   // closed at the next change
	returned []time.Duration // of each terminal: when it last began to listen; 0: it does not
	failed   error           // the first terminal that ended
	inbox    inbox
}

func newFleet(ctx context.Context, dir string, edge netip.AddrPort) (*fleet, error) {
	p, err := readPopulation(dir)
	if err != nil {
		return nil, err
	}
	d, err := newDialer(dir, edge)
	if err != nil {
		return nil, err
	}
	f := &fleet{ctx: ctx, members: p.Terminals, dialer: d, changed: make(chan struct{}), returned: make([]time.Duration, len(p.Terminals))}
	f.inbox.reset()
	return f, nil
}

// run is one terminal, from the first connection to the end of the process.
// listening is called once.
func (f *fleet) run(i int, listening func()) {
	c := f.members[i].config(f.dialer)
	c.OnMessage = func(_ context.Context, m client.Message) error { return f.receive(i, m) }
	var once sync.Once
	c.OnStatus = func(s client.Status) {
		switch s.Phase {
		case client.Listening:
			f.note(func() { f.returned[i] = now() })
			once.Do(listening)
		case client.Waiting:
			f.note(func() { f.returned[i] = 0 })
		}
	}
	t, err := client.New(c)
	if err == nil {
		err = t.Run(f.ctx)
	}
	if f.ctx.Err() == nil {
		f.note(func() { f.failed = errors.Join(f.failed, fmt.Errorf("terminal %d: %w", i, err)) })
	}
}

// note changes the fleet, and wakes the goroutines that wait for a change.
func (f *fleet) note(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fleet) receive(i int, m client.Message) error {
	at := now()
	p, err := decodePayload(m.Data)
	if err != nil {
		return err
	}
	f.note(func() { f.inbox.add(i, at, p, m.Redelivered) })
	return nil
}

// until waits for a condition, which is asked with the lock held.
func (f *fleet) until(limit time.Duration, met func() bool) error {
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		f.mu.Lock()
		done, failed, changed := met(), f.failed, f.changed
		f.mu.Unlock()
		if failed != nil {
			return failed
		}
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-end.C:
			return fmt.Errorf("not within %s", limit)
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

// listening counts the terminals that began to listen after since. The lock is
// held.
func (f *fleet) listening(since time.Duration) (n int) {
	for _, at := range f.returned {
		if at > since {
			n++
		}
	}
	return n
}

// since returns when they did, in order, counted from since. The lock is held.
func (f *fleet) since(since time.Duration) (all []time.Duration) {
	for _, at := range f.returned {
		if at > since {
			all = append(all, at-since)
		}
	}
	slices.Sort(all)
	return all
}
