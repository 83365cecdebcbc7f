package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A load is the load of one workload on one subject: the clients, the origin, and the loop that
// runs both. It is made anew for each, so that nothing of one measurement is left in the next.
type load struct {
	loop     *loop
	origin   *origin
	target   unix.Sockaddr // of the clients' connections
	hellos   [][]byte
	dialed   int    // connections
	answered int    // of them, by the origin
	buffer   []byte // every handler reads into it
	data     []byte // every handler sends from it
	count    int64  // what the workload counts: connections, bytes, round trips
}

// openLimit is how long open may take.
const openLimit = 30 * time.Second

// newLoad starts the origin, at the given address. Clients connect to the origin itself until
// target is set.
func newLoad(ctx context.Context, hellos [][]byte, at unix.Sockaddr) (*load, error) {
	lp, err := newLoop(ctx)
	if err != nil {
		return nil, err
	}
	ld := &load{loop: lp, hellos: hellos, buffer: make([]byte, 1<<20), data: make([]byte, 256<<10)}
	if ld.origin, err = newOrigin(ld, at); err != nil {
		unix.Close(lp.epfd)
		return nil, err
	}
	ld.target = ld.origin.addr
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

// open dials, at most 64 at a time, until n connections are answered in all. The error says how
// many were.
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

// clear closes the clients and waits until the subject has closed its connections to the origin.
// The load is then ready for another open.
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

// close closes every descriptor, and removes the origin's unix socket.
func (ld *load) close() {
	for fd, h := range ld.loop.handlers {
		if h != nil {
			ld.loop.drop(fd)
		}
	}
	unix.Close(ld.loop.epfd)
	if at, ok := ld.origin.addr.(*unix.SockaddrUnix); ok {
		os.Remove(at.Name)
	}
}

// A session is what a workload does on one client connection once the origin has answered.
type session interface {
	// answered is called once, with the origin's answer read to its end.
	answered(c *client) error
	// ready is called for the events after that.
	ready(c *client) error
}

// A client is the client's end of one connection. It sends the hello, reads the answer, and leaves
// the rest to its session.
type client struct {
	load    *load
	session session
	fd      int
	hello   []byte
	sent    bool // the hello
	got     int  // bytes of the answer
}

// dial opens a connection to the subject for s. Names are taken in turn.
func (ld *load) dial(s session) error {
	fd, err := socket(ld.target)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if err := unix.Connect(fd, ld.target); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return fmt.Errorf("client: connect: %w", err)
	}
	c := &client{load: ld, session: s, fd: fd, hello: ld.nextHello()}
	if err := ld.loop.add(fd, unix.EPOLLOUT, c); err != nil {
		return err
	}
	return c.sendHello() // over loopback the connection is there when connect returns
}

func (c *client) ready(uint32) error {
	switch {
	case !c.sent:
		return c.sendHello()
	case c.got < answerSize:
		return c.readAnswer()
	}
	return c.session.ready(c)
}

func (c *client) sendHello() error {
	n, err := unix.Write(c.fd, c.hello)
	if err == unix.EAGAIN || err == unix.ENOTCONN {
		return nil
	}
	if n != len(c.hello) {
		return c.failed("send hello", n, err)
	}
	c.sent = true
	return c.load.loop.want(c.fd, unix.EPOLLIN)
}

func (c *client) readAnswer() error {
	n, err := unix.Read(c.fd, c.load.buffer[:answerSize-c.got])
	if err == unix.EAGAIN {
		return nil
	}
	if n <= 0 {
		return c.failed("read answer", n, err)
	}
	if c.got += n; c.got < answerSize {
		return nil
	}
	c.load.answered++
	return c.session.answered(c)
}

// failed closes the connection and returns what went wrong on it; n is the number of bytes moved.
func (c *client) failed(what string, n int, err error) error {
	c.close()
	if err == nil {
		return fmt.Errorf("client: %s: ended early (%d bytes)", what, n)
	}
	return fmt.Errorf("client: %s: %w", what, err)
}

func (c *client) close() {
	c.load.loop.drop(c.fd)
}
