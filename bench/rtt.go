package main

import "golang.org/x/sys/unix"

const (
	rttClients = 100
	rttSize    = 100 // bytes, each way
)

// pingpong is a session that sends a message, waits until it is back, and sends the next.
type pingpong struct{ got int }

func (p *pingpong) answered(c *client) error { return sendMessage(c) }

func (p *pingpong) ready(c *client) error {
	n, err := unix.Read(c.fd, c.load.buffer[:rttSize-p.got])
	if err == unix.EAGAIN {
		return nil
	}
	if n <= 0 {
		return c.failed("read", n, err)
	}
	if p.got += n; p.got < rttSize {
		return nil
	}
	p.got = 0
	c.load.count++
	return sendMessage(c)
}

func sendMessage(c *client) error {
	if n, err := unix.Write(c.fd, c.load.data[:rttSize]); n != rttSize {
		return c.failed("write", n, err)
	}
	return nil
}

// runRTT measures round trips on open connections, as many as the proxy can do.
func runRTT(t trial) (values, error) {
	t.load.origin.behaviour = echoing
	if err := t.load.open(rttClients, func() session { return new(pingpong) }); err != nil {
		return nil, err
	}
	w, err := t.measure()
	if err != nil {
		return nil, err
	}
	return values{"rtt.cpu": micros(w.cpuPer(1)), "rtt.rate": w.rate()}, t.load.clear()
}
