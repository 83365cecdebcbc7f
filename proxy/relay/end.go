package relay

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lingerTime and lingerBytes bound how long a client that was rejected, or
	// a peer whose other side is gone, is read from and ignored. Closing a
	// socket with unread bytes sends a reset, which can overtake the alert or
	// the answer that the peer has not read yet.
	lingerTime  = 2 * time.Second
	lingerBytes = 4 << 20
	// lastBytes is what an origin may still send to a client that has ended
	// and was reset: a close_notify, not the rest of an answer.
	lastBytes = 64 << 10
)

// passEnd tells the destination that the source has ended, now that every
// byte before the end is written.
func (l *loop) passEnd(c *Conn, side int) {
	f := &c.flows[side]
	f.flags |= finSent
	if c.reason == NoReason {
		c.reason = [...]Reason{client: ClientClosed, origin: OriginClosed}[side]
	}
	if c.flows[1-side].over() {
		return // closing the sockets says the same
	}
	sysShutdownWrite(c.fds[1-side])
	l.watchHalfClose(c)
}

// destDied gives up flow side, whose destination failed. What the destination
// sent before it failed is still there to be read.
func (l *loop) destDied(c *Conn, side int) {
	f := &c.flows[side]
	if f.over() {
		f.flags |= dead
		return
	}
	f.flags |= dead
	l.release(f)
	c.flows[1-side].flags |= readable | ending
	l.watchHalfClose(c)
}

// watchHalfClose puts the shorter limit of a connection with one side gone
// in force. It counts from now: an end is a sign of life as a byte is, and after
// a pause of the process the other side has not had the time to answer it.
func (l *loop) watchHalfClose(c *Conn) {
	c.active = l.now
	if t := l.engine.timeouts.Load().HalfClose; t > 0 {
		l.wheel.put(c, l.now+int64(t))
	}
}

// sourceReset ends a connection one side of which was reset or has vanished:
// the other is reset.
func (l *loop) sourceReset(c *Conn, side int) {
	e := unix.ECONNRESET
	if c.flows[side].has(lost) {
		e = unix.ETIMEDOUT
	}
	l.endReset(c, lossOf(side, e))
}

// finish ends a connection with nothing left to move. When a side failed
// after it had said its all, the other may not have read that yet.
func (l *loop) finish(c *Conn) {
	for side := range c.flows {
		if c.flows[side].has(dead) && c.flows[1-side].has(ended) && !c.flows[1-side].has(dead) {
			l.closeSide(c, 1-side)
			sysShutdownWrite(c.fds[side])
			most := int32(lingerBytes)
			if side == origin {
				most = lastBytes
			}
			l.linger(c, lingerTime, most)
			return
		}
	}
	if c.reason == NoReason { // both sockets failed, neither had ended
		l.sourceReset(c, client)
		return
	}
	l.end(c, c.reason)
}

// reject sends a client away before a relay as the session wants it.
func (l *loop) reject(c *Conn, bye Farewell) {
	c.reason = Rejected
	l.release(&c.flows[client])
	l.farewell(c, bye)
}

// farewell says good-bye to a client that is alone.
func (l *loop) farewell(c *Conn, bye Farewell) {
	stay := lingerTime
	switch bye.Ending {
	case Reset:
		l.endReset(c, c.reason)
		return
	case Close:
		if len(bye.Bytes) > 0 {
			sysSend(c.fds[client], bye.Bytes, unix.MSG_MORE)
		}
		sysShutdownWrite(c.fds[client])
	case Silence:
		if t := l.engine.timeouts.Load().Hello; t > 0 {
			stay = t
		}
	}
	if l.watchClient(c); c.state != stateClosed {
		l.linger(c, stay, lingerBytes)
	}
}

// linger reads and throws away until the peer closes, for d, or until most
// bytes have come.
func (l *loop) linger(c *Conn, d time.Duration, most int32) {
	c.state = stateLingering
	c.left = most
	l.deadline(c, d)
	l.discard(c)
}

func (l *loop) discard(c *Conn) {
	side := client
	if c.fds[client] < 0 {
		side = origin
	}
	for l.left > 0 {
		n, e := sysRecv(c.fds[side], l.buf)
		if e == unix.EAGAIN {
			return
		}
		l.left -= max(n, 0)
		if e != 0 || n == 0 {
			l.end(c, c.reason)
			return
		}
		if c.left -= int32(n); c.left <= 0 {
			l.lingerOver(c)
			return
		}
	}
	l.enqueue(c)
}

// lingerOver ends a connection whose last peer did not end it in time. An
// origin that was still answering learns that nobody hears it.
func (l *loop) lingerOver(c *Conn) {
	if c.fds[client] < 0 {
		l.sourceReset(c, client)
		return
	}
	l.end(c, c.reason)
}

// expire is called when a connection's place on the wheel comes up. Traffic
// does not move that place, so it may not be due at all.
func (l *loop) expire(c *Conn) {
	l.left = lightBytes
	if c.again {
		c.again = false
		l.repeat(c)
	}
	if at, _ := l.due(c); at != 0 && at <= l.now {
		l.overdue(c)
	}
	if c.state == stateClosed {
		return
	}
	next := int64(0)
	if c.state == stateRelaying {
		if next = l.tend(c); c.state == stateClosed {
			return
		}
	}
	if at, _ := l.due(c); at != 0 && (next == 0 || at < next) {
		next = at
	}
	if next != 0 {
		l.wheel.put(c, next)
	}
}

// repeat tries again what the kernel refused at the last tick.
func (l *loop) repeat(c *Conn) {
	switch c.state {
	case stateDialing:
		l.knock(c)
	case stateRelaying:
		l.lookAgain(c)
	}
}

// overdue ends a step whose time is over. It reads the sockets first: after
// a pause of the whole process the bytes may have come in time, and only the
// loop has not.
func (l *loop) overdue(c *Conn) {
	switch c.state {
	case stateHello, stateRelaying, stateDialing:
		l.lookAgain(c)
	}
	at, r := l.due(c)
	switch {
	case c.state == stateClosed || at == 0 || at > l.now:
	case c.state == stateDialing:
		l.redial(c, ErrTimeout)
	case c.state == stateWaiting:
		l.resume(c, ErrTimeout)
	case c.state == stateHello && c.quiet:
		l.silent(c)
	case c.state == stateLingering:
		l.lingerOver(c)
	default:
		l.end(c, r)
	}
}

// lookAgain asks the sockets themselves, as if everything had been announced.
func (l *loop) lookAgain(c *Conn) {
	switch c.state {
	case stateHello:
		c.flows[client].flags |= readable
		l.readHello(c)
	case stateDialing:
		if _, knocks := l.knocking[c]; !knocks {
			l.dialProgress(c)
		}
	case stateRelaying:
		for side := range c.flows {
			if f := &c.flows[side]; !f.over() {
				f.flags |= readable | writable
				if f.has(ended) {
					f.flags &^= readable
				}
			}
		}
		l.relay(c)
	}
}

// due returns when the connection's present step must end, 0 for never, and
// the reason to give then.
func (l *loop) due(c *Conn) (int64, Reason) {
	switch c.state {
	case stateClosed:
		return 0, NoReason
	case stateHello:
		return c.deadline, HelloTimeout
	case stateRelaying:
		at, r := l.idleUntil(c)
		if c.peek != nil && c.deadline != 0 && (at == 0 || c.deadline < at) {
			return c.deadline, HelloTimeout
		}
		return at, r
	default:
		return c.deadline, c.reason
	}
}

// idleUntil is due for a connection that relays.
func (l *loop) idleUntil(c *Conn) (int64, Reason) {
	if (c.flows[client].flags|c.flows[origin].flags)&(ended|dead) != 0 {
		if t := l.engine.timeouts.Load().HalfClose; t > 0 && (c.idle == 0 || t < c.idle) {
			return after(c.active, t), HalfCloseTimeout
		}
	}
	return after(c.active, c.idle), IdleTimeout
}

func after(at int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return at + int64(d)
}

// endAll ends every connection of the loop, from any goroutine.
func (l *loop) endAll(r Reason) {
	const some = 256 // so that whoever takes the records can keep up
	for next := 0; next >= 0; {
		l.call(func(l *loop) {
			for i := range some {
				if next+i >= len(l.conns) {
					next = -1
					return
				}
				switch c := l.conns[next+i]; c.state {
				case stateClosed:
				case stateLingering:
					l.end(c, c.reason)
				default:
					l.end(c, r)
				}
			}
			next += some
		})
	}
}

// end closes the connection and makes its record.
func (l *loop) end(c *Conn, r Reason) { l.shut(c, r, sysClose) }

// endReset is end, seen by the peers as a reset.
func (l *loop) endReset(c *Conn, r Reason) { l.shut(c, r, sysReset) }

func (l *loop) shut(c *Conn, r Reason, closeFD func(int32)) {
	l.engine.own.forget(c.key, c.fds[origin])
	for side, fd := range c.fds {
		if fd >= 0 {
			closeFD(fd)
			c.fds[side] = -1
			c.gen[side]++
		}
		l.release(&c.flows[side])
	}
	l.dropPeek(c)
	l.stopKnocking(c)
	l.wheel.remove(c)
	c.reason = r
	c.state = stateClosed
	c.session.Closed(c.summary(l.now, l.epoch))
	l.forget(c)
}

// closeSide closes one socket of a connection that goes on with the other.
func (l *loop) closeSide(c *Conn, side int) {
	if side == origin {
		l.engine.own.forget(c.key, c.fds[origin])
	}
	sysClose(c.fds[side])
	c.fds[side] = -1
	c.gen[side]++
}

// forget makes the slot ready for its next owner. Its generations stay.
func (l *loop) forget(c *Conn) {
	*c = Conn{loop: l, slot: c.slot, session: c.session, gen: c.gen, fds: c.fds, queued: c.queued, waits: c.waits}
	l.free = append(l.free, c)
	l.gone()
	if l.engine.active.Add(-1) == 0 && l.engine.stopping.Load() {
		select {
		case l.engine.idle <- struct{}{}:
		default:
		}
	}
}

// gone counts a connection less.
func (l *loop) gone() {
	if l.active.Add(-1) == 0 {
		l.pipes.closeAll() // an idle edge holds none
	}
}

// release gives back what a flow borrowed.
func (l *loop) release(f *flow) {
	if f.held != nil {
		l.finished(f.held)
		l.blocks.put(f.held)
		f.held = nil
	}
	if f.pipe != nil {
		l.pipes.put(f.pipe)
		f.pipe = nil
	}
}
