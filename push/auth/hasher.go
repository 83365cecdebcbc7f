package auth

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"golang.org/x/crypto/argon2"

	"keyhole/push/wire"
)

const (
	hashing = 2  // runs of Argon2 at once: 38 MiB
	waiting = 64 // attempts in all, those at work included: less than a second of waiting
)

var errBusy = fmt.Errorf("%w: too many logins at once", wire.RateLimited)

// A hasher checks passwords, a few at a time.
type hasher struct {
	run    kdf
	places chan struct{} // filled by attempts
	slots  chan struct{} // filled by attempts at work
	nobody phc           // stands for the hash of a user that does not exist
}

func newHasher() *hasher {
	h := &hasher{
		run:    argon2.IDKey,
		places: make(chan struct{}, waiting),
		slots:  make(chan struct{}, hashing),
		nobody: standard,
	}
	h.nobody.salt = make([]byte, saltBytes)
	h.nobody.hash = make([]byte, hashBytes) // random, so that no password has it
	rand.Read(h.nobody.salt)
	rand.Read(h.nobody.hash)
	return h
}

// enter waits until there is room for one run; leave ends it. The error is a
// RetryError, when too many wait already or ctx ends before it is this one's
// turn.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.places <- struct{}{}:
	default:
		return nil, &RetryError{After: time.Second, Err: errBusy}
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; <-h.places }, nil
	case <-ctx.Done():
		<-h.places
		return nil, &RetryError{After: time.Second, Err: fmt.Errorf("%w: %w", errBusy, ctx.Err())}
	}
}
