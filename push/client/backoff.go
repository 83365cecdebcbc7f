package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// A backoff spreads attempts: full jitter over a range that doubles. Jitter
// from zero, and not around the range's end, because after an edge is lost all
// of its terminals come at once; only the full range thins them evenly.
type backoff struct {
	min, max time.Duration
	failed   int // attempts in a row
}

// next is the wait after one more failed attempt.
func (b *backoff) next() time.Duration {
	ceiling := b.max
	if shift := b.failed; shift < 32 && b.min<<shift>>shift == b.min {
		ceiling = min(b.min<<shift, b.max)
	}
	b.failed++
	return rand.N(ceiling + 1)
}

// slow is the wait after what would only happen again: the upper half of the
// longest range.
func (b *backoff) slow() time.Duration {
	b.failed++
	return b.max/2 + rand.N(b.max/2+1)
}

// sleep waits for d, or until ctx ends; then it returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
