package relay

import (
	"context"
	"fmt"
	"runtime"
	"slices"
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
	Loops       int  // that take connections; 0: Processors
	Apart       bool // give each of them another for its bulk; see setApart
	Timeouts    Timeouts
	HelloMemory int64 // bytes that all unfinished hellos may hold together, each loop an equal share; 0: no limit
	Pipes       int   // that each loop may open, for splicing; 0: 32, negative: none
	NewSession  func(*Conn) Session
	// Trouble is told what the kernel refuses, each kind once a minute, on a
	// goroutine of its own. Nil: nobody is.
	Trouble func(t Trouble, cause error, times uint64)

	kernel kernel // the zero one is linux
}

// An Engine runs the loops. Make one with New.
type Engine struct {
	options     Options
	loops       []*loop // first those that take connections, then those for bulk
	epoch       time.Time
	timeouts    atomic.Pointer[Timeouts]
	helloMemory atomic.Int64
	active      atomic.Int64 // connections that are open
	accepted    atomic.Uint64
	refusals    [troubles]refusals
	own         ownSockets
	ephemeral   ports
	running     sync.WaitGroup
	idle        chan struct{} // a loop has closed its last connection while stopping
	stopping    atomic.Bool
	stop        sync.Once     // for the loops
	stopped     chan struct{} // closed when the loops have ended

	mu        sync.Mutex  // guards what follows
	listeners []*Listener // by index; nil where there is none
	started   bool
}

// Processors is how many the process may use, as the runtime found at the
// start: GOMAXPROCS is raised later, so that the loops leave Ps to the rest.
var Processors = runtime.GOMAXPROCS(0)

// LoopsApart is how many loops there are for each that takes connections, with
// Options.Apart.
const LoopsApart = 2

// lameDuck is how long a stopping engine still takes connections that were
// made before. With TCP_DEFER_ACCEPT a silent client reaches the edge only when
// the kernel sends the SYN-ACK again, after a second.
const lameDuck = 1200 * time.Millisecond

// New returns an engine that has no listener yet and does not run.
func New(o Options) (*Engine, error) {
	if o.Loops == 0 {
		o.Loops = Processors
	}
	if o.Pipes == 0 {
		o.Pipes = maxPipes
	}
	if o.kernel.accept == nil {
		o.kernel = linux
	}
	e := &Engine{
		options: o, epoch: time.Now(), ephemeral: ephemeralPorts(),
		idle: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	e.timeouts.Store(&o.Timeouts)
	e.helloMemory.Store(o.HelloMemory)
	loops := o.Loops
	if o.Apart {
		loops *= LoopsApart
	}
	for i := range loops {
		l, err := newLoop(e, i)
		if err != nil {
			e.closeLoops()
			return nil, fmt.Errorf("relay: event loop %d: %w", i, err)
		}
		if e.loops = append(e.loops, l); i < o.Loops {
			l.keepSpare()
		} else {
			l.home = e.loops[i-o.Loops]
			l.home.bulk = l
		}
	}
	return e, nil
}

// taking returns the loops that take connections.
func (e *Engine) taking() []*loop { return e.loops[:min(e.options.Loops, len(e.loops))] }

// Start runs the loops until Shutdown or Close.
func (e *Engine) Start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = true
	for _, l := range e.loops {
		l.holds = runtime.GOMAXPROCS(0) > len(e.loops)
		e.running.Go(l.run)
	}
}

// SetTimeouts changes the timeouts for connections accepted from now on, and
// for the later steps of those that are open.
func (e *Engine) SetTimeouts(t Timeouts) { e.timeouts.Store(&t) }

// SetHelloMemory changes Options.HelloMemory.
func (e *Engine) SetHelloMemory(bytes int64) { e.helloMemory.Store(bytes) }

// Active returns the number of open connections.
func (e *Engine) Active() int { return int(e.active.Load()) }

// Accepted returns how many connections were ever accepted.
func (e *Engine) Accepted() uint64 { return e.accepted.Load() }

// Shutdown closes the listeners as Listener.Close does, and waits until every
// connection has ended by itself. When ctx ends first, the rest are closed as
// Drained and ctx's error is returned. It returns once every loop has ended.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.stopping.Store(true)
	defer e.stopLoops()
	if all := e.listening(); e.refuse(all...) {
		select {
		case <-time.After(lameDuck):
		case <-e.stopped:
		case <-ctx.Done():
		}
	}
	e.stopAcceptingAll()
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
	e.stopAcceptingAll()
	e.endAll(Killed)
	e.stopLoops()
	return nil
}

// listening returns the listeners that are open.
func (e *Engine) listening() []*Listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.listeners), func(ln *Listener) bool { return ln == nil })
}

// isOpen reports whether ln is among the listeners. It is called with e.mu held.
func (e *Engine) isOpen(ln *Listener) bool {
	return ln != nil && ln.index < len(e.listeners) && e.listeners[ln.index] == ln
}

// refuse has the kernel drop the SYNs of new clients, and wake the edge for
// those that are connected and silent. It reports whether that worked.
func (e *Engine) refuse(lns ...*Listener) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ln := range lns {
		if !e.isOpen(ln) {
			continue // closed meanwhile
		}
		if err := refuseSYN(ln.fd); err != nil {
			return false
		}
	}
	return e.started && len(lns) > 0
}

func (e *Engine) stopAcceptingAll() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.started {
		e.stopAccepting(e.listeners...)
	}
}

// stopAccepting empties the accept queues of lns and closes them. It is called
// with e.mu held.
func (e *Engine) stopAccepting(lns ...*Listener) {
	open := slices.DeleteFunc(slices.Clone(lns), func(ln *Listener) bool { return !e.isOpen(ln) })
	if len(open) == 0 {
		return
	}
	for _, l := range e.loops {
		e.do(l, func(l *loop) {
			for _, ln := range open {
				l.unwatch(ln)
			}
		})
	}
	// One loop empties each accept queue; a client that had connected gets
	// served, not reset.
	for _, ln := range open {
		e.listeners[ln.index] = nil
		e.do(e.loops[ln.index%e.options.Loops], func(l *loop) {
			for e.started && l.acceptOne(ln) {
			}
			sysClose(ln.fd)
		})
	}
	// Connections handed from loop to loop must have arrived before the
	// count of open ones means anything.
	for _, l := range e.loops {
		e.do(l, func(*loop) {})
	}
}

// do runs f on a loop's goroutine, or here when the loops do not run.
func (e *Engine) do(l *loop, f func(*loop)) {
	if e.started {
		l.call(f)
	} else {
		f(l)
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
	// A loop for bulk may have sent a connection home before it knew.
	for _, l := range e.taking() {
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
		if ln != nil {
			sysClose(ln.fd)
		}
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
	Busiest   int // the most bytes of bulk that went between two looks at the events
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

// Threads returns the ids of the threads that run the loops. It waits until
// they do.
func (e *Engine) Threads() (ids []int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.loops {
		e.do(l, func(l *loop) { ids = append(ids, int(l.thread)) })
	}
	return ids
}

// Descriptors returns how many descriptors a process needs to hold the given
// number of connections with so many loops, each with another for its bulk: two
// for each connection, the loops' own, and some for files and resolvers. Pipes
// come on top.
func Descriptors(connections, loops int) int {
	const own, bulk, others = 4, 3, 64
	return 2*connections + loops*(own+bulk) + others
}

// Pipes returns how many pipes each of these loops, and each of those for bulk,
// should open at most, of a limit of descriptors: 32, or fewer where they would
// take more than an eighth of the limit.
func Pipes(limit uint64, loops int) int {
	return int(min(maxPipes, limit/8/2/LoopsApart/uint64(loops)))
}
