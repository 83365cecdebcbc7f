package channel

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"keyhole/push/store"
)

// flushEvery is how long a record waits to be written: an acknowledgement that
// is lost with the server costs a duplicate, a write for each would cost more.
const flushEvery = 2 * time.Second

// writeTimeout is how long one write may take.
const writeTimeout = 5 * time.Second

// writers is how many records are written at once.
const writers = 16

// A journal writes the records of channels after a while. It has a timer while
// one waits.
type journal struct {
	put    func(ctx context.Context, token string, t store.Terminal) error
	failed func(error)
	ctx    context.Context // of the writes, until close
	cancel context.CancelFunc

	flushing chan struct{} // holds one of one flush: the records of a token are written in order

	mu      sync.Mutex
	waiting map[string]*Channel // by token
	writing map[string]*Channel
	timer   *time.Timer
	closed  bool
}

func newJournal(put func(context.Context, string, store.Terminal) error, failed func(error)) *journal {
	j := &journal{put: put, failed: failed, flushing: make(chan struct{}, 1)}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j
}

// mark has the record of c written. It replaces that of an older channel of
// the token, which is in it.
func (j *journal) mark(token string, c *Channel) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.markLocked(token, c)
}

func (j *journal) markLocked(token string, c *Channel) {
	if j.waiting == nil {
		j.waiting = map[string]*Channel{}
	}
	j.waiting[token] = c
	if j.timer == nil && !j.closed {
		j.timer = time.AfterFunc(flushEvery, j.tick)
	}
}

// find returns the channel whose record of the token is not written yet, or
// nil.
func (j *journal) find(token string) *Channel {
	j.mu.Lock()
	defer j.mu.Unlock()
	if c := j.waiting[token]; c != nil {
		return c
	}
	return j.writing[token]
}

func (j *journal) tick() {
	if err := j.flush(j.ctx); err != nil {
		j.failed(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.timer = nil
	if len(j.waiting) > 0 && !j.closed {
		j.timer = time.AfterFunc(flushEvery, j.tick)
	}
}

// flush writes what waits, and returns the first error. What could not be
// written waits again.
func (j *journal) flush(ctx context.Context) error {
	select {
	case j.flushing <- struct{}{}:
		defer func() { <-j.flushing }()
	case <-ctx.Done():
		return fmt.Errorf("records of terminals: %w", context.Cause(ctx))
	}
	j.mu.Lock()
	j.writing, j.waiting = j.waiting, nil
	batch := j.writing
	j.mu.Unlock()
	err := j.writeAll(ctx, batch)
	j.mu.Lock()
	j.writing = nil
	j.mu.Unlock()
	return err
}

// writeAll stops trying after some failures: a store that is away would take
// the whole timeout for each record.
func (j *journal) writeAll(ctx context.Context, batch map[string]*Channel) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		group    sync.WaitGroup
		first    atomic.Pointer[error]
		failures atomic.Int32
		slots    = make(chan struct{}, writers)
	)
	for token, c := range batch {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			err := j.write(ctx, token, c)
			if err == nil {
				return
			}
			first.CompareAndSwap(nil, &err)
			if failures.Add(1) == writers {
				cancel()
			}
		})
	}
	group.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// write writes one record.
func (j *journal) write(ctx context.Context, token string, c *Channel) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := j.put(ctx, token, c.record())
	if err == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.waiting[token] == nil {
		j.markLocked(token, c)
	}
	return fmt.Errorf("record of a terminal: %w", err)
}

// close writes what waits, and nothing after. It ends a flush that has begun,
// since that would not end with ctx.
func (j *journal) close(ctx context.Context) error {
	j.mu.Lock()
	j.closed = true
	if j.timer != nil {
		j.timer.Stop()
	}
	j.mu.Unlock()
	j.cancel()
	return j.flush(ctx)
}
