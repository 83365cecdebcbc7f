package store

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A deleter deletes acknowledged messages in the background. A deletion that is
// lost costs a duplicate and nothing else, so nobody waits for it.
type deleter struct {
	mu      sync.RWMutex // held for writing to close the queue
	queue   chan uint64  // nil before start and after stop
	full    atomic.Bool  // said so
	cancel  context.CancelFunc
	workers sync.WaitGroup
}

const (
	deleteWorkers = 8       // deletions on their way at once
	deleteQueue   = 1 << 16 // that wait; those beyond are forgotten
)

func (d *deleter) start(s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	queue := make(chan uint64, deleteQueue)
	d.queue = queue
	for range deleteWorkers {
		d.workers.Go(func() {
			for seq := range queue {
				if err := s.erase(ctx, messageStream, seq); err != nil && ctx.Err() == nil {
					s.cfg.Log.Warn("store: message not deleted: it will be delivered twice", "seq", seq, "error", err)
				}
			}
		})
	}
}

// stop waits until the queue is empty, or gives up what is left in it.
func (d *deleter) stop(limit time.Duration) {
	d.mu.Lock()
	queue := d.queue
	d.queue = nil
	d.mu.Unlock()
	if queue == nil {
		return
	}
	close(queue)
	timer := time.AfterFunc(limit, d.cancel)
	d.workers.Wait()
	timer.Stop()
	d.cancel()
}

// Delete deletes messages in the background: those that were acknowledged.
func (s *Store) Delete(seqs ...uint64) {
	d := &s.deletes
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, seq := range seqs {
		select {
		case d.queue <- seq:
			d.full.Store(false)
		default: // full, or closed
			if d.queue != nil && !d.full.Swap(true) {
				s.cfg.Log.Warn("store: too many deletions wait: some messages will be delivered twice", "waiting", deleteQueue)
			}
		}
	}
}

// DeleteNow is Delete for who waits: the messages are gone when it returns nil.
func (s *Store) DeleteNow(ctx context.Context, seqs ...uint64) error {
	turns := make(chan struct{}, deleteWorkers)
	errs := make([]error, len(seqs))
	var all sync.WaitGroup
	for i, seq := range seqs {
		turns <- struct{}{}
		all.Go(func() {
			errs[i] = s.erase(ctx, messageStream, seq)
			<-turns
		})
	}
	all.Wait()
	return cmp.Or(errs...)
}

// erase deletes one message of a stream. It is no error when it is gone.
func (s *Store) erase(ctx context.Context, stream string, seq uint64) error {
	var reply struct{ Success bool }
	err := s.call(ctx, "STREAM.MSG.DELETE."+stream, map[string]any{"seq": seq, "no_erase": true}, &reply)
	if gone(err) {
		return nil
	}
	return err
}

// gone reports whether a deletion failed since there is nothing to delete. The
// server has a code for that, but uses it only where it looked beforehand.
func gone(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == codeNoSequence ||
		api.ErrorCode == codeDeleteFailed && (strings.Contains(api.Description, "no message found") || strings.Contains(api.Description, "EOF")))
}

// eraseAll deletes what is stored under a subject filter.
func (s *Store) eraseAll(ctx context.Context, stream, filter string) error {
	var reply struct{ Purged uint64 }
	return s.call(ctx, "STREAM.PURGE."+stream, map[string]string{"filter": filter}, &reply)
}
