package main

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// short is a session that reads the answer, waits for the end of the connection, and opens the
// next.
type short struct{}

func (short) answered(*client) error { return nil }

func (s short) ready(c *client) error {
	if done, err := ended(c); err != nil || !done {
		return err
	}
	c.load.count++
	return c.load.dial(s)
}

// ended reads the end of the connection and closes it, or returns false when there is none yet.
func ended(c *client) (bool, error) {
	n, err := unix.Read(c.fd, c.load.buffer)
	if err == unix.EAGAIN {
		return false, nil
	}
	if n != 0 || err != nil {
		return false, c.failed("await the end", n, err)
	}
	c.close()
	return true, nil
}

// runShort measures connections that carry a hello and an answer and are then closed, by the origin
// first.
func runShort(t trial) (values, error) {
	w, err := t.short()
	if err != nil {
		return nil, err
	}
	return values{"short.cpu": micros(w.cpuPer(1)), "short.rate": w.rate()}, nil
}

// runUnix is runShort under another key: only the origin differs.
func runUnix(t trial) (values, error) {
	w, err := t.short()
	if err != nil {
		return nil, err
	}
	return values{"unix.cpu": micros(w.cpuPer(1))}, nil
}

func (t trial) short() (window, error) {
	t.load.origin.behaviour = closing
	for range t.plan.clients {
		if err := t.load.dial(short{}); err != nil {
			return window{}, err
		}
	}
	w, err := t.measure()
	if err != nil {
		return window{}, err
	}
	return w, t.load.clear()
}

// gigabyte is 10^9 bytes.
const gigabyte = 1e9

// bulkStreams are the numbers of streams that bulk runs with, each down and up.
var bulkStreams = []int{4, 64}

// download is a session that reads without end.
type download struct{}

func (download) answered(*client) error { return nil }

func (download) ready(c *client) error {
	n, err := discard(c.fd, c.load.buffer)
	if err == unix.EAGAIN {
		return nil
	}
	if n <= 0 {
		return c.failed("read", n, err)
	}
	c.load.count += int64(n)
	return nil
}

// upload is a session that writes without end; the origin counts what arrives.
type upload struct{}

func (upload) answered(c *client) error { return c.load.loop.want(c.fd, unix.EPOLLOUT) }

func (upload) ready(c *client) error {
	n, err := unix.Write(c.fd, c.load.data)
	if err == unix.EAGAIN {
		return nil
	}
	if n <= 0 {
		return c.failed("write", n, err)
	}
	return nil
}

// runBulk measures streams that go as fast as they can, all down and then all up.
func runBulk(t trial) (values, error) {
	vs := make(values)
	for _, n := range bulkStreams {
		if err := t.bulk(vs, fmt.Sprintf("down%d", n), n, sending, download{}); err != nil {
			return nil, err
		}
		if err := t.bulk(vs, fmt.Sprintf("up%d", n), n, discarding, upload{}); err != nil {
			return nil, err
		}
	}
	return vs, nil
}

func (t trial) bulk(vs values, key string, streams int, b behaviour, s session) error {
	t.load.origin.behaviour = b
	if err := t.load.open(streams, func() session { return s }); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	w, err := t.measure()
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	vs[key+".cpu"] = millis(w.cpuPer(gigabyte))
	vs[key+".rate"] = w.rate() / gigabyte
	return t.load.clear()
}

const (
	rttClients = 100
	rttSize    = 100 // bytes, each way
)

// pingpong is a session that sends a message, waits until it is back, and sends the next.
type pingpong struct{ got int }

func (p *pingpong) answered(c *client) error { return sendMessage(c) }

func (p *pingpong) ready(c *client) error {
	if whole, err := p.received(c); err != nil || !whole {
		return err
	}
	c.load.count++
	return sendMessage(c)
}

// received reads, and reports whether the whole message is back.
func (p *pingpong) received(c *client) (bool, error) {
	n, err := unix.Read(c.fd, c.load.buffer[:rttSize-p.got])
	if err == unix.EAGAIN {
		return false, nil
	}
	if n <= 0 {
		return false, c.failed("read", n, err)
	}
	p.got = (p.got + n) % rttSize
	return p.got == 0, nil
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

// idle is a session in which nothing happens.
type idle struct{}

func (idle) answered(*client) error { return nil }

func (idle) ready(c *client) error {
	n, err := unix.Read(c.fd, c.load.buffer)
	if err == unix.EAGAIN {
		return nil
	}
	return c.failed("stay idle", n, err)
}

// A footprint is a proxy's memory and descriptors.
type footprint struct {
	pss         int64 // bytes
	descriptors int
}

// runIdle measures a proxy's memory and descriptors for each open connection on which nothing is
// sent after the answer. It subtracts what the proxy held before the first.
func runIdle(t trial) (values, error) {
	t.load.origin.behaviour = echoing
	before, err := t.settled()
	if err != nil {
		return nil, err
	}
	vs := values{"start.memory": float64(before.pss) / 1024}
	for _, n := range t.plan.idle {
		if err := t.load.open(n, func() session { return idle{} }); err != nil {
			return nil, err
		}
		now, err := t.settled()
		if err != nil {
			return nil, err
		}
		vs[fmt.Sprintf("idle%d.memory", n)] = float64(now.pss-before.pss) / 1024 / float64(n)
		// Two decimals: a pipe that stays in a pool is not a third descriptor of every connection.
		each := float64(now.descriptors-before.descriptors) / float64(n)
		vs[fmt.Sprintf("idle%d.descriptors", n)] = math.Round(each*100) / 100
	}
	return vs, t.load.clear()
}

// settled is the footprint after a time of quiet.
func (t trial) settled() (footprint, error) {
	if err := t.load.loop.runFor(t.plan.settle); err != nil {
		return footprint{}, err
	}
	pss, err := t.tree.PSS()
	if err != nil {
		return footprint{}, err
	}
	fds, err := t.tree.Descriptors()
	return footprint{pss: pss, descriptors: fds}, err
}
