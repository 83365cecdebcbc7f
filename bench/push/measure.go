package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"keyhole/bench/internal/stats"
)

// concurrency are the numbers of publishers that publish measures.
var concurrency = []int{1, 16, 64}

// publish measures durable publishes with no terminal connected, and the disk
// before and after them.
func (b *bench) publish(ctx context.Context) error {
	p, err := b.site.publisher(b.population, b.site.Edge)
	if err != nil {
		return err
	}
	defer p.close()
	disk, err := fsyncRate(b.site.dir, b.plan.window/2)
	if err != nil {
		return err
	}
	var rates []float64
	for _, n := range concurrency {
		rate, err := p.closed(ctx, n, b.plan.window)
		if err != nil {
			return err
		}
		rates = append(rates, rate)
	}
	again, err := fsyncRate(b.site.dir, b.plan.window/2)
	if err != nil {
		return err
	}
	disk = (disk + again) / 2
	b.note("fsync", disk)
	for i, n := range concurrency {
		b.note(fmt.Sprintf("publish%d", n), rates[i])
		b.note(fmt.Sprintf("publish%d.ratio", n), rates[i]/disk)
	}
	return nil
}

// connect has all terminals connect, and measures what they hold when that is
// asked for.
func (b *bench) connect(ctx context.Context, f *fleetClient, measured bool) error {
	var before footprint
	var err error
	if measured {
		if before, err = b.site.settled(ctx, b.plan); err != nil {
			return err
		}
	}
	var took time.Duration
	if err := f.call("Connect", None{}, &took); err != nil {
		return err
	}
	b.note("connect", float64(b.plan.terminals)/took.Seconds())
	if !measured {
		return nil
	}
	at, err := b.site.footprint()
	if err != nil {
		return err
	}
	after, err := b.site.settled(ctx, b.plan)
	if err != nil {
		return err
	}
	each := func(key string, after, before float64) { b.note(key, (after-before)/float64(b.plan.terminals)/1024) }
	each("idle.peak", at.rss, before.rss)
	each("idle.rss", after.rss, before.rss)
	each("idle.heap", after.heap, before.heap)
	each("idle.stacks", after.stacks, before.stacks)
	each("idle.edge", after.edge, before.edge)
	return nil
}

// latency finds the highest rate of publishes that are delivered and
// acknowledged, and measures how long deliveries take at half of it.
func (b *bench) latency(ctx context.Context, f *fleetClient) error {
	p, err := b.site.publisher(b.population, b.site.Edge)
	if err != nil {
		return err
	}
	defer p.close()
	before, err := b.site.metrics()
	if err != nil {
		return err
	}
	begin := now()
	if _, err := p.closed(ctx, concurrency[len(concurrency)-1], b.plan.window); err != nil {
		return err
	}
	d, err := b.delivered(f, p)
	if err != nil {
		return err
	}
	most := float64(d.Messages) / (d.Last - begin).Seconds()
	b.note("delivered", most)
	// Deletions that are left over would have the disk of what is measured next.
	if err := b.site.drained(ctx, before["pushd_store_messages"]+deletionsUnderWay); err != nil {
		return err
	}
	p.next.Store(0)
	disk, err := b.halfLoad(ctx, p, most/2)
	if err != nil {
		return err
	}
	if d, err = b.delivered(f, p); err != nil {
		return err
	}
	for key, took := range map[string]time.Duration{
		"due.p50": d.Due.P50, "due.p99": d.Due.P99, "sent.p50": d.Sent.P50, "sent.p99": d.Sent.P99, "sent.max": d.Sent.Max,
		"disk.p50": disk.P50, "disk.p99": disk.P99,
	} {
		b.note("latency."+key, millis(took))
	}
	return nil
}

// deletionsUnderWay is how many messages may still be stored when the rest of
// those that were acknowledged is deleted.
const deletionsUnderWay = 10

// halfLoad publishes at a rate, and meanwhile times syncs of the disk that are
// none of pushd's.
func (b *bench) halfLoad(ctx context.Context, p *publisher, rate float64) (disk Latency, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.plan.latency)
	defer cancel()
	var group sync.WaitGroup
	var failed error
	group.Go(func() { disk, failed = fsyncLatency(ctx, b.site.dir) })
	err = p.open(ctx, rate)
	group.Wait()
	return disk, errors.Join(err, failed)
}

// delivered waits until every message of p has arrived, and begins anew.
func (b *bench) delivered(f *fleetClient, p *publisher) (d Delivered, err error) {
	published := int(p.next.Load())
	wait := f.call("Wait", Wait{Messages: published, Limit: time.Minute}, new(None))
	if err := f.call("Delivered", None{}, &d); err != nil {
		return d, err
	}
	if wait != nil {
		return d, fmt.Errorf("%d of %d messages arrived: %w", d.Messages, published, wait)
	}
	if d.Astray > 0 {
		return d, fmt.Errorf("%d messages went to another terminal", d.Astray)
	}
	return d, f.call("Reset", None{}, new(None))
}

// reconnect kills the edge while messages are published to pushd, starts it
// again at once, and measures until every terminal listens again.
func (b *bench) reconnect(ctx context.Context, f *fleetClient) error {
	p, err := b.site.publisher(b.population, b.site.Origin)
	if err != nil {
		return err
	}
	defer p.close()
	publishing, stop := context.WithCancel(ctx)
	defer stop()
	published := make(chan error, 1)
	go func() { published <- p.open(publishing, b.plan.meanwhile) }()
	if err := rest(ctx, b.plan.away); err != nil {
		return err
	}
	killed := now()
	b.site.edge.kill()
	if err := b.site.startEdge(ctx); err != nil {
		return err
	}
	b.note("reconnect.edge", (now() - killed).Seconds())
	wait := f.call("Wait", Wait{Since: killed, Limit: 5 * time.Minute}, new(None))
	stop()
	if err := <-published; err != nil {
		return err
	}
	if err := b.returned(f, killed); err != nil || wait != nil {
		return fmt.Errorf("terminals did not come back: %w, %w", wait, err)
	}
	d, err := b.delivered(f, p)
	if err != nil {
		return err
	}
	b.note("reconnect.published", float64(p.next.Load()))
	b.note("reconnect.missed", float64(int(p.next.Load())-d.Messages))
	b.note("reconnect.redelivered", float64(d.Redelivered))
	b.note("reconnect.twice", float64(d.Twice))
	return nil
}

// returned notes when half, nearly all and all terminals were back.
func (b *bench) returned(f *fleetClient, killed time.Duration) error {
	var all []time.Duration
	if err := f.call("Returned", killed, &all); err != nil {
		return err
	}
	for key, q := range map[string]float64{"reconnect.half": 0.5, "reconnect.99": 0.99, "reconnect.all": 1} {
		b.note(key, stats.Quantile(all, q).Seconds())
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
