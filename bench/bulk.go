package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

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
