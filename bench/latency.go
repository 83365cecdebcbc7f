package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/bench/internal/stats"
)

// latencies are quantiles of a round trip.
type latencies struct{ p50, p99 time.Duration }

// paced is a session that sends each message when it is due, whether or not the earlier ones are
// back. Latency counts from the due time, so it includes the time that a slow proxy makes the load
// wait.
type paced struct {
	client *client
	run    *pacing
	due    []time.Duration // of messages under way, oldest first
	got    int
}

// A pacing is the state that paced sessions share.
type pacing struct {
	begin    time.Time
	from     time.Duration // messages due earlier are for warming up
	measured []time.Duration
}

func (p *paced) answered(c *client) error {
	p.client = c
	return nil
}

func (p *paced) send(due time.Duration) error {
	p.due = append(p.due, due)
	return sendMessage(p.client)
}

func (p *paced) ready(c *client) error {
	n, err := unix.Read(c.fd, c.load.buffer)
	if err == unix.EAGAIN {
		return nil
	}
	if n <= 0 {
		return c.failed("read", n, err)
	}
	now := time.Since(p.run.begin)
	back := (p.got + n) / rttSize
	if back > len(p.due) {
		return c.failed("read more than was sent", n, nil)
	}
	p.got = (p.got + n) % rttSize
	for _, due := range p.due[:back] {
		if due >= p.run.from {
			p.run.measured = append(p.run.measured, now-due)
		}
	}
	p.due = slices.Delete(p.due, 0, back)
	return nil
}

// runLatency measures how much latency the proxy adds at t.rate round trips per second.
func runLatency(t trial) (values, error) {
	q, err := t.latency()
	if err != nil {
		return nil, err
	}
	return values{
		"latency.p50": micros(q.p50 - t.direct.p50),
		"latency.p99": micros(q.p99 - t.direct.p99),
	}, nil
}

// latency offers t.rate round trips per second over the connections in turn. Their due times are
// random with exponential gaps, as requests arrive. The seed is fixed, so every subject gets the
// same ones.
func (t trial) latency() (latencies, error) {
	t.load.origin.behaviour = echoing
	run := &pacing{from: t.plan.warm, measured: make([]time.Duration, 0, int(2*t.rate*t.plan.latency.Seconds()))}
	var sessions []*paced
	err := t.load.open(rttClients, func() session {
		p := &paced{run: run, due: make([]time.Duration, 0, 1024)}
		sessions = append(sessions, p)
		return p
	})
	if err != nil {
		return latencies{}, err
	}
	if err := t.pace(run, sessions); err != nil {
		return latencies{}, err
	}
	// The last ones count too, and the slowest may be among them.
	err = t.load.loop.runUntil(5*time.Second, func() bool {
		return !slices.ContainsFunc(sessions, func(p *paced) bool { return len(p.due) > 0 })
	})
	if err != nil {
		return latencies{}, fmt.Errorf("await the last round trips: %w", err)
	}
	slices.Sort(run.measured)
	return latencies{p50: stats.Quantile(run.measured, 0.50), p99: stats.Quantile(run.measured, 0.99)}, t.load.clear()
}

// pace spins, because a sleep lasts longer than many round trips.
func (t trial) pace(run *pacing, sessions []*paced) error {
	random := rand.New(rand.NewPCG(1, 2))
	gap := func() time.Duration { return time.Duration(random.ExpFloat64() / t.rate * float64(time.Second)) }
	run.begin = time.Now()
	next, due := 0, gap()
	for end := t.plan.warm + t.plan.latency; ; {
		now := time.Since(run.begin)
		if now > end {
			return nil
		}
		for ; due <= now; due += gap() {
			if err := sessions[next%len(sessions)].send(due); err != nil {
				return err
			}
			next++
		}
		if err := t.load.loop.turn(0); err != nil {
			return err
		}
	}
}
