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

func (l *loop) accept(ln *listener) {
	for range acceptBatch {
		if !l.acceptOne(ln) {
			return
		}
	}
}

// acceptOne takes one connection from ln's queue and reports whether it did.
func (l *loop) acceptOne(ln *listener) bool {
	fd, e := sysAccept(ln.fd, &l.addr.raw, &l.size)
	switch e {
	case 0:
	case unix.EMFILE, unix.ENFILE:
		return l.acceptSpare(ln)
	case unix.ECONNABORTED: // reset while it was queued
		return true
	default:
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
	listener uint16
}

// accepted counts the connection that the last accept returned.
func (l *loop) accepted(fd int32, ln *listener) arrival {
	l.engine.accepted.Add(1)
	return arrival{
		fd:       fd,
		open:     int32(l.engine.active.Add(1)),
		from:     addrPort(&l.addr.raw),
		listener: uint16(ln.index),
	}
}

// emptiest returns the loop that should serve the next connection: this one,
// unless another has markedly fewer.
func (l *loop) emptiest() *loop {
	best, fewest := l, l.active.Load()-uneven
	for _, other := range l.engine.loops {
		if n := other.active.Load(); n < fewest {
			best, fewest = other, n
		}
	}
	return best
}

// acceptSpare gives up the spare descriptor to take a connection that there
// is no room for, so that the client learns of it and the record is made;
// left in the queue, it would be reported ready for ever.
func (l *loop) acceptSpare(ln *listener) bool {
	if l.spare < 0 {
		if l.keepSpare(); l.spare < 0 {
			l.pauseAccepting()
			return false
		}
	}
	sysClose(l.spare)
	fd, e := sysAccept(ln.fd, &l.addr.raw, &l.size)
	if e == 0 {
		l.active.Add(1)
		c := l.take(l.accepted(fd, ln))
		c.session.Open()
		c.phase = PhaseAdmit
		l.endReset(c, TooManyConnections)
	}
	l.keepSpare()
	return e == 0
}

// pauseAccepting looks away from the listeners until the next tick: with no
// descriptor to be had they would be reported ready for ever.
func (l *loop) pauseAccepting() {
	for _, ln := range l.listeners {
		if ln != nil {
			unix.EpollCtl(int(l.epfd), unix.EPOLL_CTL_DEL, int(ln.fd), nil)
		}
	}
	l.paused = true
}

func (l *loop) resumeAccepting() {
	l.paused = false
	for i, ln := range l.listeners {
		if ln != nil {
			epollAdd(l.epfd, ln.fd, listenEvents, tokenListener+uint64(i))
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
		c = &Conn{loop: l, slot: uint32(len(l.conns))}
		c.session = l.engine.options.NewSession(c)
		l.conns = append(l.conns, c)
	}
	c.fds = [2]int32{a.fd, -1}
	c.from, c.listener, c.open = a.from, a.listener, a.open
	c.start, c.active = l.now, l.now
	c.state, c.phase = stateHello, PhaseAdmit
	c.flows[origin].flags = writable
	return c
}

// open begins a connection's life on this loop.
func (l *loop) open(a arrival) {
	c := l.take(a)
	if v := c.session.Open(); v.Op == Reject {
		l.reject(c, v)
		return
	}
	c.phase = PhaseHello
	if t := l.engine.timeouts.Load().Hello; t > 0 {
		l.deadline(c, t)
	}
	// The listener defers its accepts, so the hello is usually there.
	c.flows[client].flags |= readable
	l.readHello(c)
}

// deadline ends the connection's present step after d.
func (l *loop) deadline(c *Conn, d time.Duration) {
	c.deadline = l.now + int64(d)
	l.wheel.put(c, c.deadline)
}
