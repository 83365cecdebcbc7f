package main

import "golang.org/x/sys/unix"

// shortClients is how many short connections are under way at a time.
const shortClients = 32

// short is a session that reads the answer, waits for the end of the connection, and opens the next.
type short struct{}

func (short) answered(*client) error { return nil }

func (s short) ready(c *client) error {
	ld := c.load
	n, err := unix.Read(c.fd, ld.buffer)
	if err == unix.EAGAIN {
		return nil
	}
	if n != 0 || err != nil {
		return c.failed("await the end", n, err)
	}
	c.close()
	ld.count++
	return ld.dial(s)
}

// runShort measures connections that carry a hello and an answer and are then closed, by the origin first.
func runShort(t trial) (values, error) {
	t.load.origin.behaviour = closing
	for range shortClients {
		if err := t.load.dial(short{}); err != nil {
			return nil, err
		}
	}
	w, err := t.measure()
	if err != nil {
		return nil, err
	}
	return values{"short.cpu": micros(w.cpuPer(1)), "short.rate": w.rate()}, t.load.clear()
}
