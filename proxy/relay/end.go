package relay

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// leaveTime and leaveBytes bound how long a client that was rejected, or
	// a peer whose other side is gone, is read from and ignored. Closing a
	// socket with unread bytes sends a reset, which can overtake the alert or
	// the answer that the peer has not read yet.
	leaveTime  = 2 * time.Second
	leaveBytes = 4 << 20
	// farewellBytes is what an origin may still send to a client that said
	// its all and was reset: a TLS farewell, not the rest of an answer.
	farewellBytes = 64 << 10
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
// in force.
func (l *loop) watchHalfClose(c *Conn) {
	if t := l.engine.timeouts.Load().HalfClose; t > 0 {
		l.wheel.put(c, l.now+int64(t))
	}
}

// sourceReset ends a connection one side of which was reset: the other is
// reset too.
func (l *loop) sourceReset(c *Conn, side int) {
	l.endReset(c, [...]Reason{client: ClientReset, origin: OriginReset}[side])
}

// finish ends a connection with nothing left to move. When a side failed
// after it had said its all, the other may not have read that yet.
func (l *loop) finish(c *Conn) {
	for side := range c.flows {
		if c.flows[side].has(dead) && c.flows[1-side].has(ended) && !c.flows[1-side].has(dead) {
			l.closeSide(c, 1-side)
			sysShutdownWrite(c.fds[side])
			most := leaveBytes
			if side == origin {
				most = farewellBytes
			}
			l.leave(c, leaveTime, most)
			return
		}
	}
	if c.reason == NoReason { // both sockets failed, neither had ended
		l.endReset(c, ClientReset)
		return
	}
	l.end(c, c.reason)
}

// reject sends a client away as the session wants it.
func (l *loop) reject(c *Conn, v Verdict) {
	c.reason, c.phase = v.Reason, v.Phase
	l.release(&c.flows[client])
	stay := leaveTime
	switch v.Bye {
	case ByeReset:
		l.endReset(c, v.Reason)
		return
	case ByeAlert:
		// RFC 8446 section 6: a record of type alert, level fatal. Before a
		// version is agreed, 3.1 is the one that every client takes.
		sysSend(c.fds[client], []byte{21, 3, 1, 0, 2, 2, v.Alert}, unix.MSG_MORE)
		sysShutdownWrite(c.fds[client])
	case ByeClose:
		sysShutdownWrite(c.fds[client])
	case ByeSilence:
		if t := l.engine.timeouts.Load().Hello; t > 0 {
			stay = t
		}
	}
	if l.watchClient(c); c.state != stateClosed {
		l.leave(c, stay, leaveBytes)
	}
}

// leave reads and throws away until the peer closes, for d, or until most
// bytes have come.
func (l *loop) leave(c *Conn, d time.Duration, most int) {
	c.state = stateLeaving
	c.left = most
	l.deadline(c, d)
	l.discard(c)
}

func (l *loop) discard(c *Conn) {
	side := client
	if c.fds[client] < 0 {
		side = origin
	}
	for range turnBytes / readSize {
		n, e := sysRecv(c.fds[side], l.buf)
		if e == unix.EAGAIN {
			return
		}
		if e != 0 || n == 0 {
			l.end(c, c.reason)
			return
		}
		if c.left -= n; c.left <= 0 {
			l.leftOver(c)
			return
		}
	}
	l.enqueue(c)
}

// leftOver ends a connection whose last peer did not end it in time. An
// origin that was still answering learns that nobody hears it.
func (l *loop) leftOver(c *Conn) {
	if c.fds[client] < 0 {
		l.endReset(c, ClientReset)
		return
	}
	l.end(c, c.reason)
}

// expire is called when a connection's place on the wheel comes up. Traffic
// does not move that place, so it may not be due at all.
func (l *loop) expire(c *Conn) {
	at, r := l.due(c)
	switch {
	case at == 0:
	case at > l.now:
		l.wheel.put(c, at)
	case c.state == stateDialing:
		l.redial(c, ErrDialTimeout, nil)
	case c.state == stateLeaving:
		l.leftOver(c)
	default:
		l.end(c, r)
	}
}

// due returns when the connection's present step must end, 0 for never, and
// the reason to give then.
func (l *loop) due(c *Conn) (int64, Reason) {
	switch c.state {
	case stateHello:
		return c.deadline, HelloTimeout
	case stateRelaying:
		if c.flows[client].flags&(ended|dead) != 0 || c.flows[origin].flags&(ended|dead) != 0 {
			if t := l.engine.timeouts.Load().HalfClose; t > 0 && (c.idle == 0 || t < c.idle) {
				return after(c.active, t), HalfCloseTimeout
			}
		}
		return after(c.active, c.idle), IdleTimeout
	default:
		return c.deadline, c.reason
	}
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
				case stateLeaving:
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
	for side, fd := range c.fds {
		if fd >= 0 {
			closeFD(fd)
			c.fds[side] = -1
			c.gen[side]++
		}
		l.release(&c.flows[side])
	}
	l.wheel.remove(c)
	c.reason = r
	c.state = stateClosed
	c.session.Closed(c.summary(l.now, l.engine.epoch))
	l.forget(c)
}

// closeSide closes one socket of a connection that goes on with the other.
func (l *loop) closeSide(c *Conn, side int) {
	sysClose(c.fds[side])
	c.fds[side] = -1
	c.gen[side]++
}

// forget makes the slot ready for its next owner. Its generations stay.
func (l *loop) forget(c *Conn) {
	*c = Conn{loop: l, slot: c.slot, session: c.session, gen: c.gen, fds: c.fds, queued: c.queued}
	l.free = append(l.free, c)
	if l.active.Add(-1) == 0 {
		l.pipes.closeAll() // an idle edge holds none
	}
	if l.engine.active.Add(-1) == 0 && l.engine.stopping.Load() {
		select {
		case l.engine.idle <- struct{}{}:
		default:
		}
	}
}

// release gives back what a flow borrowed.
func (l *loop) release(f *flow) {
	if f.held != nil {
		l.blocks.put(f.held)
		f.held = nil
	}
	if f.pipe != nil {
		l.pipes.put(f.pipe)
		f.pipe = nil
	}
}
