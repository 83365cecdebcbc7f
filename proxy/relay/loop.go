package relay

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	batch = 256 // events fetched at once

	// Tokens of what is not a connection; above every slot.
	tokenWake     = 1<<32 - 1
	tokenTimer    = 1<<32 - 2
	tokenListener = 1<<32 - 1<<16 // and the listeners after it
)

const listenEvents = unix.EPOLLIN | unix.EPOLLEXCLUSIVE

// connEvents are waited for on every connection's sockets. Room to write is
// there nearly always, so it is asked for only once a write found none: asked
// for from the start, it would be announced at once, for nothing.
const connEvents = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET

// A loop serves its share of the connections, all on one goroutine.
type loop struct {
	engine *Engine
	index  int
	epfd   int32
	thread int   // the id of the thread that runs the loop
	holds  bool  // see wait
	bulk   *loop // for this loop's bulk; nil: none of its own
	home   *loop // whose bulk this loop is for; nil: it is for all
	timer  int32 // timerfd
	wakeup int32 // eventfd
	events [batch]unix.EpollEvent
	ready  int // events fetched by the last poll

	now       int64     // nanoseconds since the engine's epoch, read once a batch
	wallAt    int64     // when epoch was last taken
	epoch     time.Time // by the wall clock of that moment, the engine's start
	conns     []*Conn
	free      []*Conn
	vacant    []place // slots that connections have left for another loop
	queue     queue
	left      int // bytes that the present step may still move
	busiest   int // the most that a round has moved
	wheel     wheel
	listeners []*Listener      // by index; nil where there is none
	knocking  map[*Conn]string // unix origins with a full backlog, by path
	armed     int64            // the tick that the timer is set to; 0: none

	buf    []byte
	blocks blocks
	oldest *block // of the unfinished hellos, with its newer ones
	newest *block
	hellos int // bytes that those hold
	pipes  pipes
	kernel kernel
	addr   sockaddr // scratch
	size   uint32
	spare  int32 // a descriptor to give up when there are no more
	stale  int
	paused bool // the listeners are not watched until the next tick
	stop   bool

	active atomic.Int32 // open connections, for spreading
	mu     sync.Mutex   // guards what follows: the way in from other goroutines
	inbox  []func(*loop)
}

func newLoop(e *Engine, index int) (_ *loop, err error) {
	l := &loop{
		engine: e, index: index, kernel: e.options.kernel, buf: make([]byte, readSize),
		pipes: pipes{most: e.options.Pipes}, knocking: make(map[*Conn]string), timer: -1, wakeup: -1, epfd: -1, spare: -1,
	}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	l.epfd = int32(epfd)
	if err := l.openWakers(); err != nil {
		return nil, err
	}
	return l, nil
}

// keepSpare opens a descriptor only to have one to give up.
func (l *loop) keepSpare() {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		fd = -1
	}
	l.spare = int32(fd)
}

func (l *loop) openWakers() error {
	t, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	l.timer = int32(t)
	w, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	l.wakeup = int32(w)
	for _, own := range []struct {
		fd    int32
		token uint64
	}{{l.timer, tokenTimer}, {l.wakeup, tokenWake}} {
		if e := epollCtl(l.epfd, unix.EPOLL_CTL_ADD, own.fd, unix.EPOLLIN|unix.EPOLLET, own.token); e != 0 {
			return fmt.Errorf("epoll_ctl: %w", e)
		}
	}
	return nil
}

// watch has the loop accept from ln, which every loop does.
func (l *loop) watch(ln *Listener) error {
	e := l.kernel.epollCtl(l.epfd, unix.EPOLL_CTL_ADD, ln.fd, listenEvents, tokenListener+uint64(ln.index))
	if e != 0 {
		return fmt.Errorf("epoll_ctl: %w", e)
	}
	for len(l.listeners) <= ln.index {
		l.listeners = append(l.listeners, nil)
	}
	l.listeners[ln.index] = ln
	return nil
}

// unwatch leaves a listener to the caller, who closes it.
func (l *loop) unwatch(ln *Listener) {
	if ln.index < len(l.listeners) && l.listeners[ln.index] == ln {
		l.kernel.epollCtl(l.epfd, unix.EPOLL_CTL_DEL, ln.fd, 0, 0)
		l.listeners[ln.index] = nil
	}
}

func (l *loop) close() {
	l.pipes.closeAll()
	l.blocks.closeAll()
	for _, fd := range []int32{l.timer, l.wakeup, l.spare, l.epfd} {
		if fd > 0 {
			sysClose(fd)
		}
	}
}

func (l *loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l.thread = unix.Gettid()
	if !l.isApart() {
		askForPromptness()
	}
	l.tellTime()
	for !l.stop {
		l.wait()
		l.cycle()
	}
}

// askForPromptness has the kernel run this thread soon after it wakes up, in
// short slices (Linux 6.12; older kernels ignore it). It takes no share of the
// processor from other threads.
func askForPromptness() {
	const slice = 100_000 // nanoseconds, the least that the kernel takes
	if a, err := unix.SchedGetAttr(0, 0); err == nil && a.Policy == unix.SCHED_NORMAL {
		a.Runtime = slice
		unix.SchedSetAttr(0, a, 0) // without it wake-ups are as late as any thread's
	}
}

// cycle deals with the events that were fetched, and gives the queue a round.
func (l *loop) cycle() {
	l.tellTime()
	for i := range l.ready {
		l.dispatch(&l.events[i])
	}
	l.takeTurns()
	l.armTimer()
}

// holdTime, in milliseconds, is how long a loop waits with its P in its hands.
// The runtime takes a P from a thread that has kept it for 10 ms.
const holdTime = 5

// wait fetches the next events. With nothing to do it blocks in the kernel, on
// the loop's own thread: parking in the runtime's poller would cost a second
// epoll and a turn of the scheduler for each wake-up.
//
// A loop that is busy does not tell the scheduler that it blocks, where there
// are more Ps than loops. It would lose its P to whatever is runnable, such as
// the collector's workers, and stand in line for it after each wake-up. A loop
// that nothing happens to for holdTime gives its P up. The runtime's signals
// end the wait, so that a loop does not hold up a stop of the world.
func (l *loop) wait() {
	switch {
	case l.queue.len() > 0:
		l.ready, _ = epollHold(l.epfd, l.events[:], 0)
		return
	case l.holds:
		var e unix.Errno
		if l.ready, e = epollHold(l.epfd, l.events[:], holdTime); l.ready > 0 || e != 0 {
			return
		}
	}
	l.ready = epollWait(l.epfd, l.events[:])
}

// tellTime reads the monotonic clock, by which everything is timed, and now
// and then the wall clock too: records show the latter, and a machine that
// starts with a wrong one gets it right later.
func (l *loop) tellTime() {
	l.now = max(1, int64(time.Since(l.engine.epoch)))
	if l.wallAt == 0 || l.now-l.wallAt >= int64(time.Second) {
		l.wallAt = l.now
		l.epoch = time.Now().Round(0).Add(-time.Duration(l.now))
	}
}

func (l *loop) dispatch(ev *unix.EpollEvent) {
	t := token(ev)
	if uint32(t) >= tokenListener {
		l.dispatchOther(uint32(t))
		return
	}
	c, side := l.conns[uint32(t)>>1], int(t&1)
	if c.gen[side] != uint32(t>>32) || c.state == stateClosed {
		l.stale++
		return
	}
	c.note(side, ev.Events)
	if ev.Events&unix.EPOLLERR != 0 && c.state == stateRelaying {
		l.destDied(c, 1-side)
	}
	if c.isHeavy() {
		l.enqueue(c)
		return
	}
	l.left = lightBytes
	l.step(c, side, ev.Events)
	l.sendHome(c)
}

// note keeps what an event says, since an edge is announced only once.
func (c *Conn) note(side int, events uint32) {
	in, out := &c.flows[side], &c.flows[1-side]
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		in.flags |= readable
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		in.flags |= ending
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) == unix.EPOLLRDHUP {
		in.flags |= finQueued
	}
	if events&unix.EPOLLPRI != 0 && !in.has(urgent) {
		in.flags |= readable | urgent
		setInt(c.fds[side], unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		out.flags |= writable
	}
}

// step does what the connection's state can do now that something happened
// on one of its sides; events is 0 for a turn from the queue.
func (l *loop) step(c *Conn, side int, events uint32) {
	switch c.state {
	case stateHello:
		l.readHello(c)
	case stateWaiting:
		if c.hasLeft() || events&unix.EPOLLERR != 0 && side == client {
			l.end(c, ClientGone)
		}
	case stateDialing:
		switch {
		case side == origin:
			l.dialProgress(c)
		case events&unix.EPOLLERR != 0:
			l.end(c, lossOf(client, socketError(c.fds[client])))
		}
	case stateRelaying:
		l.relay(c)
	case stateLingering:
		l.discard(c)
	}
}

// hasLeft reports whether a client has sent its end while it is decided upon.
// Between two dials an end is no more than during one: the client may have said
// its all, and wait for the answer.
func (c *Conn) hasLeft() bool { return c.phase < PhaseDial && c.flows[client].has(ending) }

func (l *loop) dispatchOther(t uint32) {
	var b [8]byte
	switch t {
	case tokenWake:
		sysRead(l.wakeup, b[:])
		l.takeInbox()
	case tokenTimer:
		sysRead(l.timer, b[:])
		l.armed = 0
		if l.paused {
			l.resumeAccepting()
		}
		l.wheel.advance(l.now, l.expire)
	default:
		if ln := l.listeners[t-tokenListener]; ln != nil {
			l.accept(ln)
		}
	}
}

// armTimer sets the timer to the wheel's next entry; most batches find it
// set well enough.
func (l *loop) armTimer() {
	if l.armed != 0 && l.armed <= l.wheel.now+1 {
		return
	}
	next := l.wheel.next()
	if l.paused {
		next = ticks(l.now) + 1
	}
	if next == 0 || (l.armed != 0 && l.armed <= next) {
		return
	}
	l.armed = next
	wait := max(next*int64(tick)-l.now, int64(time.Millisecond))
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(wait)}
	unix.TimerfdSettime(int(l.timer), 0, &spec, nil)
}

// post has f run on the loop's goroutine, soon.
func (l *loop) post(f func(*loop)) {
	l.mu.Lock()
	l.inbox = append(l.inbox, f)
	first := len(l.inbox) == 1
	l.mu.Unlock()
	if first {
		one := [8]byte{1}
		unix.Write(int(l.wakeup), one[:])
	}
}

// call is post, and waits until f has run.
func (l *loop) call(f func(*loop)) {
	done := make(chan struct{})
	l.post(func(l *loop) {
		f(l)
		close(done)
	})
	<-done
}

func (l *loop) takeInbox() {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range inbox {
		f(l)
	}
}

func (l *loop) stats() LoopStats {
	return LoopStats{
		Active:    int(l.active.Load()),
		Pipes:     l.pipes.open,
		PipesLent: l.pipes.open - len(l.pipes.free),
		BytesHeld: l.blocks.lent,
		Stale:     l.stale,
		Busiest:   l.busiest,
	}
}
