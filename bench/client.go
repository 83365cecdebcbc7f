package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A session is what a workload does on one client connection once the origin has answered.
type session interface {
	// answered is called once, with the origin's answer read to its end.
	answered(c *client) error
	// ready is called for the events after that.
	ready(c *client) error
}

// A client is the client's end of one connection. It sends the hello, reads the answer, and leaves the rest to its
// session.
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
	fd, err := socket()
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

// failed closes the connection and says what went wrong on it, n being the bytes moved.
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
