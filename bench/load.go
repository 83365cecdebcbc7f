package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A load is the load of one workload on one subject: the clients, the origin, and the loop that runs both. It is made
// anew for each, so that nothing of one measurement is left in the next.
type load struct {
	loop     *loop
	origin   *origin
	target   *unix.SockaddrInet4 // where clients connect to
	hellos   [][]byte
	dialed   int    // connections
	answered int    // of them, by the origin
	buffer   []byte // read into by whoever is at turn
	data     []byte // sent by whoever is at turn
	count    int64  // what the workload counts: connections, bytes, round trips
}

// openLimit is how long open may take.
const openLimit = 30 * time.Second

// newLoad starts the origin. Clients connect to the origin itself until target is set.
func newLoad(ctx context.Context, hellos [][]byte) (*load, error) {
	lp, err := newLoop(ctx)
	if err != nil {
		return nil, err
	}
	ld := &load{loop: lp, hellos: hellos, buffer: make([]byte, 1<<20), data: make([]byte, 256<<10)}
	if ld.origin, err = newOrigin(ld); err != nil {
		unix.Close(lp.epfd)
		return nil, err
	}
	ld.target = sockaddr(ld.origin.addr)
	return ld, nil
}

// helloSize is the length of every hello.
func (ld *load) helloSize() int { return len(ld.hellos[0]) }

// nextHello takes the hellos in turn, so that every route is used.
func (ld *load) nextHello() []byte {
	h := ld.hellos[ld.dialed%len(ld.hellos)]
	ld.dialed++
	return h
}

// open dials, at most 64 at a time, until n connections are answered in all. The error says how far it came.
func (ld *load) open(n int, newSession func() session) error {
	for end := time.Now().Add(openLimit); ld.answered < n; {
		for ld.dialed < n && ld.dialed-ld.answered < 64 {
			if err := ld.dial(newSession()); err != nil {
				return err
			}
		}
		if err := ld.loop.turn(50 * time.Millisecond); err != nil {
			return fmt.Errorf("after %d of %d connections: %w", ld.answered, n, err)
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d connections answered in %v", ld.answered, n, openLimit)
		}
	}
	return nil
}

// clear closes the clients, waits until the subject has closed its connections to the origin, and is then ready for
// another open.
func (ld *load) clear() error {
	ld.origin.closing = true
	for _, h := range ld.loop.handlers {
		if c, ok := h.(*client); ok {
			c.close()
		}
	}
	err := ld.loop.runUntil(10*time.Second, func() bool { return ld.origin.open == 0 })
	if errors.Is(err, errTimeLimit) {
		return fmt.Errorf("origin: %d connections still open 10 s after their clients' end", ld.origin.open)
	}
	ld.origin.closing = false
	ld.dialed, ld.answered = 0, 0
	return err
}

// close lets go of every descriptor.
func (ld *load) close() {
	for fd, h := range ld.loop.handlers {
		if h != nil {
			ld.loop.drop(fd)
		}
	}
	unix.Close(ld.loop.epfd)
}
