package relay

import (
	"math"

	"golang.org/x/sys/unix"
)

// A connection that stays bulk moves to a loop for bulk beside its own, on
// another thread. A thread that always has something to do is run by the kernel
// in turn with everybody else who does: beside two busy processes it waits for
// some 9 ms, and a small connection on it waits as long. The loop for small
// connections sleeps most of the time, so that the kernel runs it as soon as
// something happens.
const (
	// turnsBefore is how many turns a connection has before it moves. Moving
	// costs two registrations with epoll and a wake-up: too much for a page or
	// an image.
	turnsBefore = 4
)

// isApart reports whether the loop is one for bulk.
func (l *loop) isApart() bool { return l.home != nil }

// load is the number of connections that the loop took in and that are open.
func (l *loop) load() int32 {
	n := l.active.Load()
	if l.bulk != nil {
		n += l.bulk.active.Load()
	}
	return n
}

// setApart moves a connection that is due for a turn to the loop for bulk, and
// reports whether it did.
func (l *loop) setApart(c *Conn) bool {
	if l.bulk == nil || c.state != stateRelaying || !c.isHeavy() {
		return false
	}
	if c.turns < turnsBefore {
		c.turns++
		return false
	}
	return l.handOver(c, l.bulk)
}

// sendHome moves a connection that is not bulk any more back to the loop for
// small ones.
func (l *loop) sendHome(c *Conn) {
	if l.isApart() && c.state == stateRelaying && !c.queued && !c.isHeavy() {
		l.handOver(c, l.home)
	}
}

// handOver gives a connection to another loop, and reports whether it did: one
// that holds something of this loop's stays. So do all once the engine stops,
// or endAll could miss one on its way.
func (l *loop) handOver(c *Conn, to *loop) bool {
	for side := range c.flows {
		// While bytes are inspected the session may hold some back, which count
		// as an unfinished hello of this loop's.
		if f := &c.flows[side]; f.held != nil || f.pipe != nil || f.has(inspected) {
			return false
		}
	}
	if c.again || l.engine.stopping.Load() {
		return false
	}
	for side := range c.fds {
		l.kernel.epollCtl(l.epfd, unix.EPOLL_CTL_DEL, c.fds[side], 0, 0)
	}
	l.wheel.remove(c)
	l.conns[c.slot] = &departed
	l.vacant = append(l.vacant, place{c.slot, [2]uint32{c.gen[0] + 1, c.gen[1] + 1}, c.waits})
	to.active.Add(1)
	l.gone()
	to.post(func(to *loop) { to.receive(c) })
	return true
}

// departed stands in the slots of the connections that have left.
var departed = Conn{gen: [2]uint32{math.MaxUint32, math.MaxUint32}}

// A place is a slot that nothing occupies, and what its next owner goes on
// from: events and wakers of the former ones may still be on their way.
type place struct {
	slot  uint32
	gen   [2]uint32
	waits uint32
}

// place returns a place for a Conn: one that was left, or a new one.
func (l *loop) place() place {
	if n := len(l.vacant); n > 0 {
		p := l.vacant[n-1]
		l.vacant = l.vacant[:n-1]
		return p
	}
	l.conns = append(l.conns, &departed)
	return place{slot: uint32(len(l.conns) - 1)}
}

// receive goes on with a connection of another loop. It takes the place of a
// free Conn, which would otherwise wait there for an owner that never comes: a
// loop for bulk accepts nothing.
func (l *loop) receive(c *Conn) {
	var p place
	if n := len(l.free); n > 0 {
		old := l.free[n-1]
		l.free = l.free[:n-1]
		p = place{old.slot, old.gen, old.waits}
	} else {
		p = l.place()
	}
	c.loop, c.turns = l, 0
	c.slot, c.gen, c.waits = p.slot, p.gen, p.waits
	l.conns[c.slot] = c
	c.session.Moved()
	for side := range c.fds {
		events := uint32(connEvents)
		if c.flows[1-side].has(roomAsked) {
			events |= unix.EPOLLOUT
		}
		if e := l.kernel.epollCtl(l.epfd, unix.EPOLL_CTL_ADD, c.fds[side], events, c.token(side)); e != 0 {
			l.engine.complain(TroubleEpoll, e)
			l.endReset(c, NoResources)
			return
		}
	}
	l.wheel.put(c, l.now+int64(tick)) // expire finds out when it is due
	l.left = lightBytes
	l.lookAgain(c)
}
