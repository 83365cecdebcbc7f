package relay

import "golang.org/x/sys/unix"

// turnBytes is how much one direction may move before the connection goes to
// the back of the loop's queue.
const turnBytes = 1 << 20

// An outcome is how one move of bytes went.
type outcome uint8

const (
	moved      outcome = iota
	sourceGone         // the source was reset before it ended
	destGone           // the destination takes no more, ever
)

// relay moves what can be moved, both ways, within one turn each.
func (l *loop) relay(c *Conn) {
	for side := range c.flows {
		if !l.pump(c, side) {
			l.sourceReset(c, side)
			return
		}
	}
	if c.flows[origin].has(dead) && !c.flows[client].over() {
		// Writing to the client failed just now, after its own turn: what it
		// sent before it went is still to be read.
		if !l.pump(c, client) {
			l.sourceReset(c, client)
			return
		}
	}
	if c.flows[client].over() && c.flows[origin].over() {
		l.finish(c)
	}
}

// pump moves bytes from side to the other until the source is empty, the
// destination is full or the turn is over. It reports false when the source
// was reset.
func (l *loop) pump(c *Conn, side int) bool {
	f := &c.flows[side]
	for left := turnBytes; f.has(writable) && !f.over(); {
		n, o := 0, moved
		switch {
		case f.waiting():
			o = l.flush(c, side)
		case f.has(ended):
			l.passEnd(c, side)
		case !f.has(readable):
			l.returnPipe(f)
			return true
		case left <= 0:
			l.enqueue(c)
			return true
		default:
			n, o = l.move(c, side)
		}
		switch o {
		case sourceGone:
			return false
		case destGone:
			l.destDied(c, side)
		}
		left -= n
	}
	l.returnPipe(f)
	return true
}

// move reads from the source and writes to the destination once: through a
// pipe while reads come back full, else through the loop's buffer. It returns
// the bytes that left the source.
func (l *loop) move(c *Conn, side int) (int, outcome) {
	f := &c.flows[side]
	if f.has(bulk) && !f.has(urgent) && l.borrowPipe(f) {
		return l.splice(c, side)
	}
	n, e := sysRecv(c.fds[side], l.buf)
	if n <= 0 || e != 0 {
		return 0, c.readEnd(side, e, 0)
	}
	c.active = l.now
	if n == len(l.buf) {
		f.flags |= bulk
	} else if !f.has(ending | urgent) {
		f.flags &^= readable // drained; more will be announced
	} else if f.has(finQueued) && !f.has(urgent) {
		f.flags |= ended
	} else if m, e := sysRecv(c.fds[side], l.buf[n:]); m > 0 {
		n += m
	} else if o := c.readEnd(side, e, n); o != moved {
		l.send(c, side, n) // what came before the reset
		return n, o
	}
	return n, l.send(c, side, n)
}

// send writes the first n bytes of the loop's buffer to the destination of
// flow side, and keeps what it does not take.
func (l *loop) send(c *Conn, side, n int) outcome {
	f := &c.flows[side]
	flags := 0
	if f.has(ended) {
		flags = unix.MSG_MORE // the last bytes and the FIN leave in one packet
	}
	m, e := sysSend(c.fds[1-side], l.buf[:n], flags)
	if e == unix.EAGAIN {
		m, e = 0, 0
	}
	if e != 0 {
		return c.writeEnd(side, e)
	}
	f.moved += uint64(m)
	if m < n {
		l.awaitRoom(c, side)
		f.held = l.blocks.hold(l.buf[m:n])
	}
	return moved
}

// splice moves bytes through the flow's pipe, which is empty when it begins.
func (l *loop) splice(c *Conn, side int) (int, outcome) {
	f := &c.flows[side]
	n, e := sysSplice(c.fds[side], f.pipe.w, f.pipe.size)
	if n <= 0 || e != 0 {
		return 0, c.readEnd(side, e, 0)
	}
	c.active = l.now
	if n < readSize/4 {
		f.flags &^= bulk // copying so little is cheaper
	}
	f.pipe.queued = n
	return n, l.flush(c, side)
}

// readEnd notes a read that brought nothing: nothing for now, the source's
// end, or its failure. unsent bytes were read before it and are not counted
// as moved yet.
func (c *Conn) readEnd(side int, e unix.Errno, unsent int) outcome {
	f := &c.flows[side]
	switch {
	case e == unix.EAGAIN:
		f.flags &^= readable
		return moved
	case e != 0 || f.has(reset):
		return sourceGone
	case f.has(doubtful) && !sysSawFIN(c.fds[side], f.moved+uint64(unsent)):
		return sourceGone
	}
	f.flags |= ended
	return moved
}

// writeEnd notes that the destination of flow side failed. The kernel reports
// a reset once, and a write has just consumed the report; the reads that
// follow would end as if in order. EPIPE comes where an orderly end came
// before the reset, but also after a splice that had sent some bytes and
// swallowed the report.
func (c *Conn) writeEnd(side int, e unix.Errno) outcome {
	if e == unix.EPIPE {
		c.flows[1-side].flags |= doubtful
	} else {
		c.flows[1-side].flags |= reset
	}
	return destGone
}

// flush writes what the flow holds, until that is gone or the destination
// takes no more for now.
func (l *loop) flush(c *Conn, side int) outcome {
	f := &c.flows[side]
	for f.waiting() && f.has(writable) {
		n, e := l.flushOnce(f, c.fds[1-side])
		if e == unix.EAGAIN {
			l.awaitRoom(c, side)
			return moved
		}
		if e != 0 {
			return c.writeEnd(side, e)
		}
		c.active = l.now
		f.moved += uint64(n)
	}
	return moved
}

// awaitRoom notes that the destination takes no more for now, and has epoll
// say when it does.
func (l *loop) awaitRoom(c *Conn, side int) {
	f := &c.flows[side]
	f.flags &^= writable
	if !f.has(roomAsked) {
		f.flags |= roomAsked
		epollMod(l.epfd, c.fds[1-side], connEvents|unix.EPOLLOUT, c.token(1-side))
	}
}

func (l *loop) flushOnce(f *flow, to int32) (int, unix.Errno) {
	if f.held == nil {
		n, e := sysSplice(f.pipe.r, to, f.pipe.queued)
		if e == 0 {
			f.pipe.queued -= n
		}
		return n, e
	}
	n, e := sysSend(to, f.held.bytes(), 0)
	if e != 0 {
		return 0, e
	}
	if f.held.off += n; f.held.off == f.held.end {
		l.blocks.put(f.held)
		f.held = nil
	}
	return n, 0
}

func (l *loop) borrowPipe(f *flow) bool {
	if f.pipe == nil {
		f.pipe = l.pipes.get()
	}
	return f.pipe != nil
}

// returnPipe ends the loan unless bytes are inside.
func (l *loop) returnPipe(f *flow) {
	if f.pipe != nil && f.pipe.queued == 0 {
		l.pipes.put(f.pipe)
		f.pipe = nil
	}
}
