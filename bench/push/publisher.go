package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"keyhole/push/client"
)

// A publisher publishes numbered messages to the terminals in turn, over one
// HTTP/2 connection.
type publisher struct {
	client client.Publisher
	tokens []string
	next   atomic.Uint64 // number of the next message
}

// publisher connects to addr, the edge's or pushd's own.
func (s *site) publisher(p *population, addr netip.AddrPort) (*publisher, error) {
	d, err := newDialer(s.dir, addr)
	if err != nil {
		return nil, err
	}
	tokens := make([]string, len(p.Terminals))
	for i, m := range p.Terminals {
		tokens[i] = m.Token
	}
	return &publisher{client: client.Publisher{URL: "https://" + host, Key: p.Key, HTTP: d.http2()}, tokens: tokens}, nil
}

func (p *publisher) close() { p.client.HTTP.CloseIdleConnections() }

// publish returns when the message that was due then is on disk.
func (p *publisher) publish(ctx context.Context, due time.Duration) error {
	n := p.next.Add(1) - 1
	terminal := int(n % uint64(len(p.tokens)))
	m := payload{number: n, terminal: uint32(terminal), due: due, sent: now()}
	_, err := p.client.Publish(ctx, client.Publication{Token: p.tokens[terminal], Data: m.encode()})
	return err
}

// closed has so many publishers each publish as fast as it is answered, for a
// time, and returns how many messages per second were stored.
func (p *publisher) closed(ctx context.Context, publishers int, d time.Duration) (rate float64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	first, begin := p.next.Load(), now()
	var group sync.WaitGroup
	for range publishers {
		group.Go(func() {
			for at := begin; at-begin < d && ctx.Err() == nil; at = now() {
				if err := p.publish(ctx, at); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return float64(p.next.Load()-first) / (now() - begin).Seconds(), context.Cause(ctx)
}

// underWay bounds the publishes that were not answered yet. One that has to
// wait for its turn is late, and its latency counts from when it was due.
const underWay = 2000

// open publishes at a rate until ctx ends, whether or not those before have
// been answered. Messages are due at random, with exponential gaps, since
// events are. It returns once every one is answered.
func (p *publisher) open(ctx context.Context, rate float64) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var group sync.WaitGroup
	slots := make(chan struct{}, underWay)
	for due := now(); work.Err() == nil && waitUntil(ctx, due); due += gap(rate) {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			limited, done := context.WithTimeout(work, time.Minute)
			defer done()
			if err := p.publish(limited, due); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	if err := context.Cause(work); err != nil {
		return fmt.Errorf("publish at %.0f a second: %w", rate, err)
	}
	return nil
}

func gap(rate float64) time.Duration {
	return time.Duration(rand.ExpFloat64() / rate * float64(time.Second))
}

// waitUntil reports whether ctx outlasts the wait.
func waitUntil(ctx context.Context, due time.Duration) bool {
	left := due - now()
	if left <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
