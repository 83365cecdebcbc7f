package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Timeouts bound how long a connection may stay in each step. Zero means no
// limit.
type Timeouts struct {
	Hello     time.Duration // from accept until the first bytes are decided upon
	Connect   time.Duration // of each dial
	HalfClose time.Duration // without a byte, once one side has closed
}

// Options configure an Engine.
type Options struct {
	Loops      int // 0: one for each processor the process may use
	Timeouts   Timeouts
	NewSession func(*Conn) Session
}

// An Engine runs the loops. Make one with New.
type Engine struct {
	options  Options
	loops    []*loop
	epoch    time.Time
	timeouts atomic.Pointer[Timeouts]
	active   atomic.Int64 // connections that are open
	accepted atomic.Uint64
	running  sync.WaitGroup
	idle     chan struct{} // a loop has closed its last connection while stopping
	stopping atomic.Bool
	stop     sync.Once     // for the loops
	stopped  chan struct{} // closed when the loops have ended

	mu        sync.Mutex // guards what follows
	listeners []*listener
	started   bool
}

type listener struct {
	fd    int32
	index int
}

// lameDuck is how long a stopping engine still takes connections that were
// made before. A client that has not spoken is taken when its SYN-ACK is sent
// again, which is after a second.
const lameDuck = 1200 * time.Millisecond

// New returns an engine that has no listener yet and does not run.
func New(o Options) (*Engine, error) {
	if o.Loops == 0 {
		o.Loops = runtime.GOMAXPROCS(0)
	}
	e := &Engine{options: o, epoch: time.Now(), idle: make(chan struct{}, 1), stopped: make(chan struct{})}
	e.timeouts.Store(&o.Timeouts)
	for i := range o.Loops {
		l, err := newLoop(e, i)
		if err != nil {
			e.closeLoops()
			return nil, fmt.Errorf("relay: event loop %d: %w", i, err)
		}
		e.loops = append(e.loops, l)
	}
	return e, nil
}

// Listen opens a listening socket on address, "HOST:PORT"; with no host it
// takes every address, IPv6 and IPv4. It returns the address that was bound.
// Connections are accepted once the engine has started.
func (e *Engine) Listen(address string) (netip.AddrPort, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping.Load() {
		return netip.AddrPort{}, fmt.Errorf("listen %s: %w", address, net.ErrClosed)
	}
	fd, bound, err := listen(address)
	if err != nil {
		return bound, err
	}
	ln := &listener{fd: fd, index: len(e.listeners)}
	e.listeners = append(e.listeners, ln)
	for _, l := range e.loops {
		err := error(nil)
		if e.started {
			l.call(func(l *loop) { err = l.watch(ln) })
		} else {
			err = l.watch(ln)
		}
		if err != nil {
			return bound, fmt.Errorf("listen %s: %w", address, err)
		}
	}
	return bound, nil
}

// Start runs the loops until Shutdown or Close.
func (e *Engine) Start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = true
	for _, l := range e.loops {
		e.running.Go(l.run)
	}
}

// SetTimeouts changes the timeouts for connections accepted from now on, and
// for the later steps of those that are open.
func (e *Engine) SetTimeouts(t Timeouts) { e.timeouts.Store(&t) }

// Active returns the number of open connections.
func (e *Engine) Active() int { return int(e.active.Load()) }

// Accepted returns how many connections were ever accepted.
func (e *Engine) Accepted() uint64 { return e.accepted.Load() }

// Shutdown takes no new connection but those that clients have made already:
// for about a second, so that whoever was about to speak is served. Then it
// closes the listeners and waits until every connection has ended by itself.
// When ctx ends first, the rest are closed as Drained and ctx's error is
// returned. It returns once every loop has ended.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.stopping.Store(true)
	defer e.stopLoops()
	if e.refuse() {
		select {
		case <-time.After(lameDuck):
		case <-e.stopped:
		case <-ctx.Done():
		}
	}
	e.stopAccepting()
	for e.active.Load() > 0 {
		select {
		case <-e.idle:
		case <-e.stopped:
		case <-ctx.Done():
			e.endAll(Drained)
			return ctx.Err()
		}
	}
	return nil
}

// Close ends every connection at once, as Killed, and then the loops. It may
// be called while a Shutdown takes too long.
func (e *Engine) Close() error {
	e.stopping.Store(true)
	e.stopAccepting()
	e.endAll(Killed)
	e.stopLoops()
	return nil
}

// refuse has the kernel drop the SYNs of new clients, and wake the edge for
// those that are connected and silent. It reports whether that worked.
func (e *Engine) refuse() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ln := range e.listeners {
		if err := refuseSYN(ln.fd); err != nil {
			return false
		}
	}
	return e.started && len(e.listeners) > 0
}

// stopAccepting empties the accept queues and closes the listeners.
func (e *Engine) stopAccepting() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.started || len(e.listeners) == 0 {
		return
	}
	for _, l := range e.loops {
		l.call((*loop).unwatchAll)
	}
	// One loop empties each accept queue; a client that had connected gets
	// served, not reset.
	for i, ln := range e.listeners {
		e.loops[i%len(e.loops)].call(func(l *loop) {
			for l.acceptOne(ln) {
			}
			sysClose(ln.fd)
		})
	}
	e.listeners = nil
	// Connections handed from loop to loop must have arrived before the
	// count of open ones means anything.
	for _, l := range e.loops {
		l.call(func(*loop) {})
	}
}

func (e *Engine) endAll(r Reason) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.started {
		return
	}
	for _, l := range e.loops {
		l.endAll(r)
	}
}

// stopLoops ends the loops; whoever calls it second waits for the first.
func (e *Engine) stopLoops() {
	e.stop.Do(func() {
		e.mu.Lock()
		started := e.started
		e.started = false
		e.mu.Unlock()
		if started {
			for _, l := range e.loops {
				l.post(func(l *loop) { l.stop = true })
			}
			e.running.Wait()
		}
		e.closeLoops()
		close(e.stopped)
	})
}

func (e *Engine) closeLoops() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ln := range e.listeners {
		sysClose(ln.fd)
	}
	e.listeners = nil
	for _, l := range e.loops {
		l.close()
	}
	e.loops = nil
}

// LoopStats is a look at what a loop holds.
type LoopStats struct {
	Active    int // connections
	Pipes     int // open, lent or free
	PipesLent int
	BytesHeld int // in blocks that are lent
	Stale     int // events for a descriptor's former owner that were dropped
}

// Stats asks every loop. It must not be called from a Session.
func (e *Engine) Stats() []LoopStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []LoopStats
	if !e.started {
		return nil
	}
	for _, l := range e.loops {
		l.call(func(l *loop) { all = append(all, l.stats()) })
	}
	return all
}

// ErrDialTimeout is what DialFailed gets when the origin did not answer.
var ErrDialTimeout = errors.New("connection timed out")

// Descriptors returns how many descriptors a process needs to hold the given
// number of connections: two for each, the loops' own, the pipes that they
// may lend, and some for files and resolvers.
func Descriptors(connections int) int {
	const own, others = 4, 64
	return 2*connections + runtime.GOMAXPROCS(0)*(own+2*maxPipes) + others
}
