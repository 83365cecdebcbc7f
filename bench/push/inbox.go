package main

import (
	"slices"
	"time"

	"keyhole/bench/internal/stats"
)

// An inbox is what all terminals have received of one run of publishes.
type inbox struct {
	count map[uint64]int // by number
	due   []time.Duration
	sent  []time.Duration
	sum   Delivered
}

// Delivered sums up an inbox.
type Delivered struct {
	Messages    int           // different ones
	Twice       int           // handed to the app again
	Redelivered int           // marked so by the server
	Astray      int           // for another terminal
	Last        time.Duration // when the last one came, on the clock of now
	Due, Sent   Latency       // since the message was due, and since it was published
}

// Latency is a distribution of times.
type Latency struct{ P50, P99, Max time.Duration }

func (b *inbox) reset() { *b = inbox{count: map[uint64]int{}} }

func (b *inbox) add(terminal int, at time.Duration, p payload, redelivered bool) {
	if b.count[p.number]++; b.count[p.number] > 1 {
		b.sum.Twice++
	} else {
		b.due, b.sent = append(b.due, at-p.due), append(b.sent, at-p.sent)
	}
	if int(p.terminal) != terminal {
		b.sum.Astray++
	}
	if redelivered {
		b.sum.Redelivered++
	}
	b.sum.Last = max(b.sum.Last, at)
}

func (b *inbox) delivered() Delivered {
	d := b.sum
	d.Messages = len(b.count)
	d.Due, d.Sent = latency(b.due), latency(b.sent)
	return d
}

func latency(times []time.Duration) Latency {
	sorted := slices.Sorted(slices.Values(times))
	return Latency{stats.Quantile(sorted, 0.50), stats.Quantile(sorted, 0.99), stats.Quantile(sorted, 1)}
}
