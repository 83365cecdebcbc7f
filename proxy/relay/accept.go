package relay

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// acceptBatch is how many connections a loop takes before it looks at
	// its other events again.
	acceptBatch = 16
	// uneven is by how many connections a loop may be ahead of the emptiest
	// before it hands a new one over. Handing over costs a wake-up, so it is
	// left alone while connections come and go evenly.
	uneven = 16
)

func (l *loop) accept(ln *Listener) {
	for range acceptBatch {
		if !l.acceptOne(ln) {
			return
		}
	}
}

// acceptOne takes one connection from ln's queue and reports whether it did.
func (l *loop) acceptOne(ln *Listener) bool {
	fd, e := l.kernel.accept(ln.fd, &l.addr.raw, &l.size)
	switch e {
	case 0:
	case unix.EAGAIN:
		return false
	case unix.ECONNABORTED: // reset while it was queued
		return true
	case unix.EMFILE, unix.ENFILE:
		return l.acceptSpare(ln)
	default:
		// No memory, no buffers, a filter: the queue stays ready, and trying at
		// once would spin.
		l.engine.complain(TroubleAccept, e)
		l.pauseAccepting()
		return false
	}
	a := l.accepted(fd, ln)
	to := l.emptiest()
	to.active.Add(1)
	if to == l {
		l.open(a)
		return true
	}
	to.post(func(to *loop) { to.open(a) })
	return true
}

// An arrival is a connection that was just accepted.
type arrival struct {
	fd       int32
	open     int32 // connections of the engine, this one included
	from     netip.AddrPort
	listener *Listener
}

// accepted counts the connection that the last accept returned.
func (l *loop) accepted(fd int32, ln *Listener) arrival {
	l.engine.accepted.Add(1)
	return arrival{
		fd:       fd,
		open:     int32(l.engine.active.Add(1)),
		from:     addrPort(&l.addr.raw),
		listener: ln,
	}
}

// emptiest returns the loop that should serve the next connection: this one,
// unless another has markedly fewer.
func (l *loop) emptiest() *loop {
	best, fewest := l, l.load()-uneven
	for _, other := range l.engine.taking() {
		if n := other.load(); n < fewest {
			best, fewest = other, n
		}
	}
	return best
}

// acceptSpare gives up the spare descriptor to take a connection that there
// is no room for, so that the client learns of it and the record is made;
// left in the queue, it would be reported ready for ever.
func (l *loop) acceptSpare(ln *Listener) bool {
	if l.spare < 0 {
		if l.keepSpare(); l.spare < 0 {
			l.engine.complain(TroubleAccept, unix.EMFILE)
			l.pauseAccepting()
			return false
		}
	}
	sysClose(l.spare)
	fd, e := l.kernel.accept(ln.fd, &l.addr.raw, &l.size)
	if e == 0 {
		l.active.Add(1)
		c := l.take(l.accepted(fd, ln))
		c.session.Open()
		l.endReset(c, NoDescriptor)
	}
	l.keepSpare()
	return e == 0
}

// pauseAccepting looks away from the listeners until the next tick.
func (l *loop) pauseAccepting() {
	for _, ln := range l.listeners {
		if ln != nil {
			l.kernel.epollCtl(l.epfd, unix.EPOLL_CTL_DEL, ln.fd, 0, 0)
		}
	}
	l.paused = true
}

// resumeAccepting watches the listeners again. It stays paused when the kernel
// refuses one of them.
func (l *loop) resumeAccepting() {
	l.paused = false
	for i, ln := range l.listeners {
		if ln == nil {
			continue
		}
		e := l.kernel.epollCtl(l.epfd, unix.EPOLL_CTL_ADD, ln.fd, listenEvents, tokenListener+uint64(i))
		if e != 0 && e != unix.EEXIST {
			l.engine.complain(TroubleEpoll, e)
			l.paused = true
		}
	}
}

// take gives an accepted descriptor a slot.
func (l *loop) take(a arrival) *Conn {
	if l.spare < 0 {
		l.keepSpare() // it was lost in a shortage that is over now
	}
	var c *Conn
	if n := len(l.free); n > 0 {
		c = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		p := l.place()
		c = &Conn{loop: l, slot: p.slot, gen: p.gen, waits: p.waits}
		c.session = l.engine.options.NewSession(c)
		l.conns[c.slot] = c
	}
	c.fds = [2]int32{a.fd, -1}
	c.from, c.fromPort = a.from.Addr().As16(), a.from.Port()
	c.listener, c.open = a.listener, a.open
	c.start, c.active = l.now, l.now
	c.state, c.phase = stateHello, PhaseAdmit
	c.flows[origin].flags = writable
	return c
}

// open begins a connection's life on this loop.
func (l *loop) open(a arrival) {
	l.left = lightBytes
	c := l.take(a)
	v := c.session.Open()
	switch v.Op {
	case More:
	case Reject:
		l.reject(c, v.Farewell)
		return
	default:
		l.skipHello(c, v)
		return
	}
	c.phase = PhaseHello
	l.limitHello(c)
	l.askIfSilent(c, v.Timeout)
	// Most listeners defer their accepts, so the hello is usually there.
	c.flows[client].flags |= readable
	l.readHello(c)
}

// deadline ends the connection's present step after d.
func (l *loop) deadline(c *Conn, d time.Duration) {
	c.deadline = l.now + int64(d)
	l.wheel.put(c, c.deadline)
}
