package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"keyhole/push/wire"
)

// One attempt takes longer than this only where a server has died, no leader
// is elected or a write failed: nobody will answer then.
const (
	attemptLimit = time.Second
	diskLimit    = 10 * time.Second // of the embedded server's disk, while it works
)

// retry calls attempt, with a deadline of its own, until it returns something
// else than that the store is out of reach, or ctx or the Store ends.
func (s *Store) retry(ctx context.Context, attempt func(context.Context) error) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		err := s.once(ctx, attempt)
		switch {
		case err == nil:
			return nil
		case isCode(err, codeAccountFull), isCode(err, codeServerFull), isCode(err, codeStorageFull):
			return fmt.Errorf("%w: %s: %w: give its account more storage", wire.DiskFull, s.place(), err)
		case !passing(err):
			return err
		}
		if err := s.broken(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return s.ended(ctx, err)
		case <-s.ctx.Done():
			return s.isClosed()
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

func (s *Store) once(ctx context.Context, attempt func(context.Context) error) error {
	limit := attemptLimit
	if s.local != nil && s.broken() == nil {
		limit = diskLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return attempt(ctx)
}

// retryWrite is retry for what writes: it ends with the first write that fails.
func (s *Store) retryWrite(ctx context.Context, attempt func(context.Context) error) error {
	if s.local == nil {
		return s.retry(ctx, attempt)
	}
	return s.retry(ctx, func(ctx context.Context) error {
		if err := s.broken(); err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.local.health.Load(), cancel)()
		return attempt(ctx)
	})
}

// broken returns an error once a write has failed, until JetStream starts
// again. What can be read is read all the same.
func (s *Store) broken() error {
	if s.local == nil {
		return nil
	}
	return s.local.broken()
}

// ended is the error of a loop that ctx ended.
func (s *Store) ended(ctx context.Context, causes ...error) error {
	return fmt.Errorf("%w: %s: %w", wire.StoreUnavailable, s.place(), errors.Join(append(causes, ctx.Err())...))
}

func (s *Store) isClosed() error {
	return fmt.Errorf("%w: %s is closed", wire.StoreUnavailable, s.place())
}

// errAgain is a refusal that passes by itself.
var errAgain = errors.New("not yet")

// passing reports whether err may go when the same is asked again.
func passing(err error) bool {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		passes := []jetstream.ErrorCode{codeNoPeers, codeStoreFailed, codeDuplicateInProcess, codeInProcess}
		return api.Code == 503 || slices.Contains(passes, api.ErrorCode)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return true
	}
	return slices.ContainsFunc([]error{
		errAgain, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrReconnectBufExceeded, nats.ErrConnectionClosed, nats.ErrStaleConnection, jetstream.ErrNoStreamResponse,
	}, func(e error) bool { return errors.Is(err, e) })
}

// Of nats-server's errors.json.
const (
	codeAccountFull        jetstream.ErrorCode = 10002
	codeNoPeers            jetstream.ErrorCode = 10005 // fewer servers than replicas, as when they start
	codeServerFull         jetstream.ErrorCode = 10023
	codeNoSequence         jetstream.ErrorCode = 10043
	codeStorageFull        jetstream.ErrorCode = 10047
	codeDeleteFailed       jetstream.ErrorCode = 10057
	codeWrongLastSequence  jetstream.ErrorCode = 10071
	codeStoreFailed        jetstream.ErrorCode = 10077
	codeDuplicateInProcess jetstream.ErrorCode = 10158 // the same id is being stored
	codeInProcess          jetstream.ErrorCode = 10164 // the same subject is being stored
)

func isCode(err error, code jetstream.ErrorCode) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}
