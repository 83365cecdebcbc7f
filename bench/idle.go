package main

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

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

// footprint is what a proxy holds.
type footprint struct {
	pss         int64 // bytes
	descriptors int
}

// runIdle measures what open connections hold on which nothing is sent after the answer. What the proxy held before
// the first of them is taken off.
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
		// To two decimals, since a pipe that stays in a pool is no third descriptor for each.
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
