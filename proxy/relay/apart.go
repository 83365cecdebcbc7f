package relay

import "golang.org/x/sys/unix"

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
		if f := &c.flows[side]; f.held != nil || f.pipe != nil {
			return false
		}
	}
	if c.peek != nil || c.again || l.engine.stopping.Load() {
		return false
	}
	for side := range c.fds {
		l.kernel.epollCtl(l.epfd, unix.EPOLL_CTL_DEL, c.fds[side], 0, 0)
	}
	l.wheel.remove(c)
	l.vacate(c)
	to.active.Add(1)
	l.gone()
	to.post(func(to *loop) { to.receive(c) })
	return true
}

// vacate gives a connection's slot to a new Conn, which goes on with the
// generations: events for the one that leaves may be in the batch.
func (l *loop) vacate(c *Conn) {
	n := &Conn{loop: l, slot: c.slot, gen: c.gen, fds: [2]int32{-1, -1}, waits: c.waits}
	for side := range n.gen {
		n.gen[side]++
	}
	n.session = l.engine.options.NewSession(n)
	l.conns[c.slot] = n
	l.free = append(l.free, n)
}

// receive goes on with a connection of another loop. It takes the place of a
// slot's Conn.
func (l *loop) receive(c *Conn) {
	c.loop, c.turns = l, 0
	if n := len(l.free); n > 0 {
		old := l.free[n-1]
		l.free = l.free[:n-1]
		c.slot, c.gen, c.waits = old.slot, old.gen, old.waits
		l.conns[c.slot] = c
	} else {
		c.slot, c.gen = uint32(len(l.conns)), [2]uint32{}
		l.conns = append(l.conns, c)
	}
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
