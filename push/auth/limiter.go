package auth

import (
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// A RetryError is a refusal that time heals. Err wraps the wire.Code.
type RetryError struct {
	After time.Duration // until the next attempt can succeed
	Err   error
}

// Error says what was refused, and for how long.
func (e *RetryError) Error() string {
	return fmt.Sprintf("%s; try again in %s", e.Err, e.After.Round(time.Millisecond))
}

// Unwrap returns Err.
func (e *RetryError) Unwrap() error { return e.Err }

// accounts bounds what the limiter remembers. An attempt is counted only when
// it is about to be hashed, so that made-up names come in no faster than
// Argon2 runs: pushing an account out this way takes longer than its bucket
// takes to fill again.
const accounts = 1 << 16

// maxBurst keeps the depth of a bucket within a time.Duration.
const maxBurst = 1 << 20

// A limiter is a token bucket for each account, kept as the time at which the
// bucket will be full again (the generic cell rate algorithm of ITU-T I.371).
type limiter struct {
	every time.Duration // between two attempts in the long run; 0: no limit
	depth time.Duration // how far ahead of the clock a bucket may be

	mu   sync.Mutex
	seed maphash.Seed // secret: nobody can choose a name that shares another's bucket
	full *simplelru.LRU[uint64, time.Time]
}

func newLimiter(perMinute, burst int) *limiter {
	l := &limiter{seed: maphash.MakeSeed()}
	if perMinute > 0 {
		l.every = time.Minute / time.Duration(perMinute)
		l.depth = l.every * time.Duration(min(burst, maxBurst))
	}
	l.full, _ = simplelru.NewLRU[uint64, time.Time](accounts, nil) // fails for a size of 0
	return l
}

// wait returns how long account has to wait for its next attempt; 0: not at
// all. It counts nothing and remembers nothing.
func (l *limiter) wait(account string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, _ := l.full.Peek(maphash.String(l.seed, account))
	return l.waitFor(full, now)
}

// take counts an attempt, unless it has to wait.
func (l *limiter) take(account string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := maphash.String(l.seed, account)
	full, _ := l.full.Get(key)
	if d := l.waitFor(full, now); d > 0 || l.every == 0 {
		return d
	}
	l.full.Add(key, later(full, now).Add(l.every))
	return 0
}

func (l *limiter) waitFor(full, now time.Time) time.Duration {
	return max(0, later(full, now).Sub(now)+l.every-l.depth)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
