package proxy

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// flushBytes is how much is written at once, if there is so much.
const flushBytes = 64 << 10

// closeTime is how long Close and Reopen wait for a write to be done.
const closeTime = 2 * time.Second

// complainEvery bounds how often the loss of records is logged.
const complainEvery = 10 * time.Second

// An AccessLog writes one line for each connection that has ended, on a
// goroutine of its own. When it cannot keep up, or the writer fails, records
// are dropped and counted; connections are never slowed.
type AccessLog struct {
	format      Format
	log         *slog.Logger
	skipNoBytes bool

	mu    sync.Mutex // guards rings
	rings []*ring

	outLock chan struct{} // filled while out is written to, or replaced
	out     io.Writer
	torn    bool // the last write ended within a line

	asleep  atomic.Bool
	wake    chan struct{}
	quit    chan struct{}
	stopped chan struct{}

	// The writer's own.
	buf     []byte
	lost    atomic.Uint64 // written to nowhere
	told    uint64
	toldAt  time.Time
	failing bool
}

// LogOptions are how records are written.
type LogOptions struct {
	Format      Format
	SkipNoBytes bool // none of a connection that ended without a byte
}

// NewAccessLog starts a log that writes to out. Trouble goes to log.
func NewAccessLog(out io.Writer, o LogOptions, log *slog.Logger) *AccessLog {
	a := &AccessLog{
		format: o.Format, skipNoBytes: o.SkipNoBytes, out: out, log: log,
		outLock: make(chan struct{}, 1), wake: make(chan struct{}, 1), quit: make(chan struct{}), stopped: make(chan struct{}),
	}
	go a.run()
	return a
}

// ring returns the ring of a loop, which is made at its first session.
func (a *AccessLog) ring(loop int) *ring {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.rings) <= loop {
		a.rings = append(a.rings, &ring{log: a, records: make([]record, ringSize)})
	}
	return a.rings[loop]
}

// Reopen has the log go on with out, as after a rotation. The former writer
// is not used any more once Reopen returns, unless it is stuck: then the error
// says so, and it stays in use.
func (a *AccessLog) Reopen(out io.Writer) error {
	select {
	case a.outLock <- struct{}{}:
	case <-time.After(closeTime):
		return errors.New("the writer of the former file is stuck")
	}
	a.out, a.torn = out, false
	<-a.outLock
	return nil
}

// Dropped returns how many records could not be written.
func (a *AccessLog) Dropped() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.lost.Load()
	for _, r := range a.rings {
		n += r.dropped.Load()
	}
	return n
}

// Close writes what is waiting and ends the log. The server must have ended.
// A writer that is stuck, as a pipe that nobody reads, does not keep the edge
// from ending: after closeTime, what it has not taken is lost.
func (a *AccessLog) Close() {
	close(a.quit)
	select {
	case <-a.stopped:
	case <-time.After(closeTime):
		a.log.Error("access log is stuck; its last records are lost")
	}
}

func (a *AccessLog) run() {
	defer close(a.stopped)
	for {
		a.drain()
		a.complain(false)
		a.asleep.Store(true)
		if a.waiting() {
			if a.asleep.Swap(false) {
				continue
			}
		}
		select {
		case <-a.wake:
		case <-a.quit:
			a.drain()
			a.complain(true)
			return
		}
	}
}

func (a *AccessLog) waiting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.rings {
		if r.next() != nil {
			return true
		}
	}
	return false
}

// drain writes every record that is waiting.
func (a *AccessLog) drain() {
	a.mu.Lock()
	rings := a.rings
	a.mu.Unlock()
	for _, r := range rings {
		n := uint64(0)
		for rec := r.next(); rec != nil; rec = r.next() {
			a.buf = appendRecord(a.buf, a.format, rec)
			r.done()
			n++
			if len(a.buf) >= flushBytes {
				a.flush(n)
				n = 0
			}
		}
		if n > 0 {
			a.flush(n)
		}
	}
}

// flush writes the buffer, n records long.
func (a *AccessLog) flush(n uint64) {
	err := a.write(a.buf)
	a.buf = a.buf[:0]
	if err == nil {
		if a.failing {
			a.log.Info("access log is written again")
		}
		a.failing = false
		return
	}
	a.lost.Add(n)
	if !a.failing {
		a.failing = true
		a.log.Error("access log cannot be written; records are dropped until it can", "error", err)
	}
}

// write writes whole lines, after the end of one that a failure cut short.
func (a *AccessLog) write(b []byte) error {
	a.outLock <- struct{}{}
	defer func() { <-a.outLock }()
	if a.torn {
		b = append([]byte{'\n'}, b...)
	}
	n, err := a.out.Write(b)
	if err == nil {
		a.torn = false
	} else if n > 0 {
		a.torn = b[n-1] != '\n'
	}
	return err
}

// complain logs the loss of records, now and then.
func (a *AccessLog) complain(last bool) {
	n := a.Dropped()
	if n == a.told || !last && time.Since(a.toldAt) < complainEvery {
		return
	}
	a.log.Warn("access records were dropped", "dropped", n-a.told, "total", n)
	a.told, a.toldAt = n, time.Now()
}
