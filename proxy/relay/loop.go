package relay

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
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
	poll   *os.File // epfd, as the runtime's poller knows it
	raw    syscall.RawConn
	fetch  func(uintptr) bool // fetches events, for raw; made once, since a method value is an allocation
	timer  int32              // timerfd
	wakeup int32              // eventfd
	events [batch]unix.EpollEvent
	ready  int // events fetched by the last poll

	now       int64 // nanoseconds since the engine's epoch, read once a batch
	conns     []*Conn
	free      []*Conn
	queue     []*Conn // connections that have used up their turn
	turn      []*Conn // queue's spare
	wheel     wheel
	listeners []*listener
	armed     int64 // the tick that the timer is set to; 0: none

	buf    []byte
	blocks blocks
	pipes  pipes
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
	l := &loop{engine: e, index: index, buf: make([]byte, readSize), timer: -1, wakeup: -1, epfd: -1}
	l.fetch = l.fetchEvents
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	// The runtime takes a descriptor into its poller only if it is in
	// non-blocking mode.
	if err := unix.SetNonblock(epfd, true); err != nil {
		unix.Close(epfd)
		return nil, err
	}
	l.epfd, l.poll = int32(epfd), os.NewFile(uintptr(epfd), "epoll")
	if l.raw, err = l.poll.SyscallConn(); err != nil {
		return nil, err
	}
	if err := l.openWakers(); err != nil {
		return nil, err
	}
	l.keepSpare()
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
	if e := epollAdd(l.epfd, l.timer, unix.EPOLLIN|unix.EPOLLET, tokenTimer); e != 0 {
		return e
	}
	if e := epollAdd(l.epfd, l.wakeup, unix.EPOLLIN|unix.EPOLLET, tokenWake); e != 0 {
		return e
	}
	return nil
}

// watch has the loop accept from ln, which every loop does.
func (l *loop) watch(ln *listener) error {
	if e := epollAdd(l.epfd, ln.fd, listenEvents, tokenListener+uint64(len(l.listeners))); e != 0 {
		return e
	}
	l.listeners = append(l.listeners, ln)
	return nil
}

// unwatchAll leaves every listener to whoever closes it. Their places stay,
// since an event for one may still be in the batch.
func (l *loop) unwatchAll() {
	for i, ln := range l.listeners {
		if ln != nil {
			unix.EpollCtl(int(l.epfd), unix.EPOLL_CTL_DEL, int(ln.fd), nil)
			l.listeners[i] = nil
		}
	}
}

func (l *loop) close() {
	l.pipes.closeAll()
	for _, fd := range []int32{l.timer, l.wakeup, l.spare} {
		if fd > 0 {
			sysClose(fd)
		}
	}
	if l.poll != nil {
		l.poll.Close()
	}
}

func (l *loop) run() {
	l.tellTime()
	for !l.stop {
		l.wait()
		l.tellTime()
		for i := range l.ready {
			l.dispatch(&l.events[i])
		}
		l.takeTurns()
		l.armTimer()
	}
}

// wait fetches the next events. With nothing to do it parks in the runtime's
// poller until the epoll descriptor itself is readable: a blocking epoll_wait
// would cost a hand-off of the processor each time.
func (l *loop) wait() {
	if len(l.queue) > 0 {
		l.ready = epollPoll(l.epfd, l.events[:])
		return
	}
	if err := l.raw.Read(l.fetch); err != nil {
		panic("relay: parking on epoll: " + err.Error()) // the descriptor is the loop's own
	}
}

func (l *loop) fetchEvents(uintptr) bool {
	l.ready = epollPoll(l.epfd, l.events[:])
	return l.ready > 0
}

func (l *loop) tellTime() { l.now = max(1, int64(time.Since(l.engine.epoch))) }

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
	l.step(c, side, ev.Events)
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
	case stateDialing:
		switch {
		case side == origin:
			l.dialProgress(c)
		case events&unix.EPOLLERR != 0:
			l.end(c, ClientReset)
		}
	case stateRelaying:
		l.relay(c)
	case stateLeaving:
		l.discard(c)
	}
}

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

// takeTurns gives every connection that had more to do another turn, in the
// order in which they asked.
func (l *loop) takeTurns() {
	l.queue, l.turn = l.turn[:0], l.queue
	for i, c := range l.turn {
		l.turn[i] = nil
		c.queued = false
		if c.state != stateClosed {
			l.step(c, client, 0)
		}
	}
}

func (l *loop) enqueue(c *Conn) {
	if !c.queued {
		c.queued = true
		l.queue = append(l.queue, c)
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
	}
}
