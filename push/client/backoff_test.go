package client

import (
	"context"
	"errors"
	"math"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoffRangeDoublesUpToItsEnd(t *testing.T) {
	const min, max = 500 * time.Millisecond, time.Minute
	b := backoff{min: min, max: max}
	for attempt := range 100 {
		ceiling := time.Duration(math.Min(float64(min)*math.Pow(2, float64(attempt)), float64(max)))
		if got := b.next(); got < 0 || got > ceiling {
			t.Fatalf("next() = %s after %d failures, want 0 to %s", got, attempt, ceiling)
		}
	}
	b = backoff{min: math.MaxInt64 / 2, max: math.MaxInt64 - 1}
	for range 40 {
		if got := b.next(); got < 0 {
			t.Fatalf("next() = %s, want no overflow", got)
		}
	}
}

// The waits of many terminals are spread evenly from zero to the end.
func TestBackoffHasFullJitter(t *testing.T) {
	const draws, parts = 10_000, 10
	var count [parts]int
	for range draws {
		b := backoff{min: time.Second, max: time.Minute, failed: 3}
		count[int(b.next()*parts/(8*time.Second+1))]++
	}
	for i, n := range count {
		if n < draws/parts*8/10 || n > draws/parts*12/10 {
			t.Errorf("%d of %d waits in tenth %d of the range, want about %d", n, draws, i, draws/parts)
		}
	}
	for range 100 {
		b := backoff{min: time.Second, max: time.Minute}
		if got := b.slow(); got < 30*time.Second || got > time.Minute {
			t.Fatalf("slow() = %s, want the upper half of a minute", got)
		}
	}
}

// A server that cannot be reached is tried for a day: the waits are those that
// the statuses say, and no goroutine is left.
func TestUnreachableServerIsTriedWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPipeFake(t)
		c := f.config()
		c.MinBackoff, c.MaxBackoff = 0, 0 // as in production
		attempts := 0
		refused := errors.New("connection refused")
		c.Dial = func(context.Context, string, string) (net.Conn, error) { attempts++; return nil, refused }
		r := start(t, c)
		began := time.Now()
		var waited time.Duration
		for time.Since(began) < 24*time.Hour {
			s := r.until(Waiting)
			if !errors.Is(s.Err, refused) || s.Wait > defaultMaxBackoff {
				t.Fatalf("waiting %s after %v, want at most %s after %v", s.Wait, s.Err, defaultMaxBackoff, refused)
			}
			if waited != time.Since(began) {
				t.Fatalf("attempt after %s, want it after the waits of %s", time.Since(began), waited)
			}
			waited += s.Wait
		}
		if per := 24 * time.Hour / time.Duration(attempts); per < 25*time.Second || per > 35*time.Second {
			t.Errorf("an attempt each %s on average, want about half of %s", per, defaultMaxBackoff)
		}
		r.stop()
	})
}

// Only a connection that has lived makes the next wait a short one again.
func TestBackoffIsResetByAConnectionThatLived(t *testing.T) {
	for name, tt := range map[string]struct {
		lived time.Duration
		short bool
	}{
		"lived": {livedAfter + time.Second, true},
		"not":   {livedAfter / 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newPipeFake(t)
				c := f.config()
				c.MinBackoff, c.MaxBackoff = time.Nanosecond, time.Hour
				failing := 50
				c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if failing--; failing >= 0 {
						return nil, errors.New("connection refused")
					}
					return f.dial(ctx, network, addr)
				}
				r := start(t, c)
				conn := f.connected()
				r.until(Listening)
				time.Sleep(tt.lived) // of the bubble's clock
				conn.close()
				if s := r.until(Waiting); (s.Wait < time.Microsecond) != tt.short {
					t.Errorf("a wait of %s after 50 failures and a connection of %s, short = %t", s.Wait, tt.lived, tt.short)
				}
			})
		})
	}
}
