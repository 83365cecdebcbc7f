package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// answerSize is the size of the origin's answer to a whole hello, in bytes. A client waits for the
// answer before it does anything else, so every workload starts on a connection that works.
const answerSize = 200

// A behaviour is what the origin does with a connection after its answer.
type behaviour uint8

const (
	closing    behaviour = iota // closes
	echoing                     // sends back what comes
	sending                     // sends without end
	discarding                  // reads without end
)

// An origin speaks no TLS: it accepts any hello and answers at once, so that no cryptography hides
// what the proxy costs.
type origin struct {
	load      *load
	fd        int
	addr      unix.Sockaddr
	behaviour behaviour // of connections answered from now on
	open      int       // connections
	closing   bool      // the clients are gone, so an end or a reset is no failure
}

func newOrigin(ld *load, at unix.Sockaddr) (*origin, error) {
	fd, addr, err := listen(at)
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	if at, ok := addr.(*unix.SockaddrUnix); ok {
		// nginx's worker runs as another user.
		if err := os.Chmod(at.Name, 0o666); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("origin: %w", err)
		}
	}
	o := &origin{load: ld, fd: fd, addr: addr}
	return o, ld.loop.add(fd, unix.EPOLLIN, o)
}

// ready accepts every waiting connection.
func (o *origin) ready(uint32) error {
	for {
		fd, _, err := unix.Accept4(o.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.EAGAIN || err == unix.ECONNABORTED {
			return nil
		}
		if err != nil {
			return fmt.Errorf("origin: accept: %w", err)
		}
		o.open++
		c := &originConn{origin: o, fd: fd}
		if err := o.load.loop.add(fd, unix.EPOLLIN, c); err != nil {
			return err
		}
		if err := c.ready(unix.EPOLLIN); err != nil { // the hello is often there already
			return err
		}
	}
}

// An originConn is the origin's end of one connection.
type originConn struct {
	origin    *origin
	fd        int
	hello     int // bytes of it that have come
	behaviour behaviour
}

func (c *originConn) ready(uint32) error {
	if c.hello < c.origin.load.helloSize() {
		return c.readHello()
	}
	switch c.behaviour {
	case echoing:
		return c.echo()
	case sending:
		return c.send()
	default:
		return c.discard()
	}
}

func (c *originConn) readHello() error {
	n, err := unix.Read(c.fd, c.origin.load.buffer)
	if n <= 0 {
		return c.ended("read hello", n, err)
	}
	c.hello += n
	want := c.origin.load.helloSize()
	if c.hello > want {
		return fmt.Errorf("origin: %d bytes before its answer, want the %d of the hello", c.hello, want)
	}
	if c.hello < want {
		return nil
	}
	return c.answer()
}

func (c *originConn) answer() error {
	if _, err := unix.Write(c.fd, c.origin.load.data[:answerSize]); err != nil {
		return c.ended("write answer", -1, err)
	}
	switch c.behaviour = c.origin.behaviour; c.behaviour {
	case closing:
		c.close()
	case sending:
		return c.origin.load.loop.want(c.fd, unix.EPOLLOUT)
	}
	return nil
}

func (c *originConn) echo() error {
	b := c.origin.load.buffer
	n, err := unix.Read(c.fd, b)
	if n <= 0 {
		return c.ended("read", n, err)
	}
	if m, err := unix.Write(c.fd, b[:n]); m != n {
		return c.ended("echo", m, err)
	}
	return nil
}

func (c *originConn) send() error {
	n, err := unix.Write(c.fd, c.origin.load.data)
	if n <= 0 {
		return c.ended("write", n, err)
	}
	return nil
}

func (c *originConn) discard() error {
	n, err := discard(c.fd, c.origin.load.buffer)
	if n <= 0 {
		return c.ended("read", n, err)
	}
	c.origin.load.count += int64(n)
	return nil
}

// ended judges a call that moved nothing: EAGAIN is an event without cause; an end before the
// clients' end is a failure.
func (c *originConn) ended(what string, n int, err error) error {
	if err == unix.EAGAIN {
		return nil
	}
	c.close()
	if c.origin.closing {
		return nil
	}
	if err == nil {
		return fmt.Errorf("origin: %s: ended early (%d bytes)", what, n)
	}
	return fmt.Errorf("origin: %s: %w", what, err)
}

func (c *originConn) close() {
	c.origin.load.loop.drop(c.fd)
	c.origin.open--
}
