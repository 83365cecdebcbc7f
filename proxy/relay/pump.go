package relay

import (
	"time"

	"golang.org/x/sys/unix"
)

// An outcome is how one move of bytes went.
type outcome uint8

const (
	moved      outcome = iota
	sourceGone         // the source was reset, or vanished, before it ended
	destGone           // the destination takes no more, ever
	cutOff             // the session has ended the connection
)

// relay moves what can be moved, both ways, within the bytes that the step has
// left. The sides begin in turn, so that neither can use up every step.
func (l *loop) relay(c *Conn) {
	first, second := int(c.first), 1-int(c.first)
	c.first = uint8(second)
	if !l.pump(c, first) || !l.pump(c, second) {
		return
	}
	// Writing to the first side failed just now, after its own turn: what it
	// sent before it went is still to be read.
	if c.flows[second].has(dead) && !c.flows[first].over() && !l.pump(c, first) {
		return
	}
	if c.flows[client].over() && c.flows[origin].over() {
		l.finish(c)
	}
}

// pump moves bytes from side to the other until the source is empty, the
// destination is full, the step has no bytes left, or the source turns out to
// be bulk within an event. It reports false when that has ended the connection.
func (l *loop) pump(c *Conn, side int) bool {
	f := &c.flows[side]
	for f.has(writable) && !f.over() {
		n, o := 0, moved
		switch {
		case f.waiting():
			o = l.flush(c, side)
		case f.has(ended) && side == client && c.peek != nil:
			l.letPass(c)
		case f.has(ended):
			l.passEnd(c, side)
		case !f.has(readable):
			l.returnPipe(f)
			return true
		case l.left <= 0 || f.has(bulk) && l.left < lightBytes: // too little to be worth the calls
			l.enqueue(c)
			l.returnPipe(f)
			return true
		default:
			n, o = l.move(c, side)
		}
		l.left -= n
		switch o {
		case cutOff:
			return false
		case sourceGone:
			l.sourceReset(c, side)
			return false
		case destGone:
			l.destDied(c, side)
		}
	}
	l.returnPipe(f)
	return true
}

// move reads from the source and writes to the destination once: through a
// pipe while reads come back full, else through the loop's buffer. It returns
// the bytes that left the source.
func (l *loop) move(c *Conn, side int) (int, outcome) {
	f := &c.flows[side]
	if f.has(bulk) && !f.has(urgent|inspected|noSplice) && l.borrowPipe(f) {
		return l.splice(c, side)
	}
	into := l.buf[:lightBytes]
	if f.has(heavy) {
		into = l.buf
	}
	n, e := sysRecv(c.fds[side], into)
	if n <= 0 || e != 0 {
		return 0, c.readEnd(side, e, 0)
	}
	l.came(c, side)
	f.weigh(n, len(into))
	switch {
	case n == len(into): // there may be more
	case !f.has(ending | urgent):
		f.flags &^= readable // drained; more will be announced
	case f.has(finQueued) && !f.has(urgent):
		f.flags |= ended
	default:
		m, e := sysRecv(c.fds[side], l.buf[n:])
		if m > 0 {
			n += m
			break
		}
		if o := c.readEnd(side, e, n); o != moved {
			if l.pass(c, side, n) == cutOff { // what came before the reset
				o = cutOff
			}
			return n, o
		}
	}
	return n, l.pass(c, side, n)
}

// came notes that bytes were read from side.
func (l *loop) came(c *Conn, side int) {
	c.active = l.now
	if side == origin && !c.flows[origin].has(answered) {
		c.flows[origin].flags |= answered
		c.session.Answered()
	}
}

// weigh notes how much a read with room for size bytes has brought.
func (f *flow) weigh(n, size int) {
	switch {
	case n == size:
		f.flags |= heavy
		f.calm = 0
		if n == readSize {
			f.flags |= bulk
		}
	case n >= lightBytes/2:
		f.calm = 0
	case f.has(heavy):
		if f.calm++; f.calm == calmReads {
			f.flags &^= heavy
			f.calm = 0
		}
	}
}

// pass sends the first n bytes of the loop's buffer on, those that the session
// lets pass if it is to be asked.
func (l *loop) pass(c *Conn, side, n int) outcome {
	if c.flows[side].has(inspected) {
		return l.showSession(c, side, l.buf[:n])
	}
	return l.send(c, side, l.buf[:n])
}

// send writes b to the destination of flow side, and keeps what it does not
// take.
func (l *loop) send(c *Conn, side int, b []byte) outcome {
	f := &c.flows[side]
	if len(b) == 0 {
		return moved
	}
	flags := 0
	if f.has(ended) {
		flags = unix.MSG_MORE // the last bytes and the FIN leave in one packet
	}
	m, e := sysSend(c.fds[1-side], b, flags)
	if e == unix.EAGAIN {
		m, e = 0, 0
	}
	if e != 0 {
		return c.writeEnd(side, e)
	}
	f.moved += uint64(m)
	if m < len(b) {
		l.awaitRoom(c, side)
		f.held = l.blocks.hold(b[m:])
	}
	return moved
}

// splice moves bytes through the flow's pipe, which is empty when it begins.
func (l *loop) splice(c *Conn, side int) (int, outcome) {
	f := &c.flows[side]
	n, e := l.kernel.splice(c.fds[side], f.pipe.w, min(f.pipe.size, l.left))
	if refusesSplice(e) {
		l.giveUpSplice(f, e)
		return 0, moved
	}
	if n <= 0 || e != 0 {
		return 0, c.readEnd(side, e, 0)
	}
	l.came(c, side)
	if n < readSize/4 {
		f.flags &^= bulk // copying so little is cheaper
	}
	f.pipe.queued = n
	return n, l.flush(c, side)
}

// refusesSplice reports whether an error is about the call, not about a peer.
func refusesSplice(e unix.Errno) bool {
	switch e {
	case unix.EINVAL, unix.ENOSYS, unix.EPERM, unix.EACCES, unix.EOPNOTSUPP, unix.ENOMEM, unix.ENOBUFS, unix.EBADF:
		return true
	}
	return false
}

// giveUpSplice has the flow copy: for the moment when memory is short, for good
// when these sockets cannot be spliced, and every flow of the loop when the
// machine forbids the call.
func (l *loop) giveUpSplice(f *flow, e unix.Errno) {
	l.engine.complain(TroubleSplice, e)
	switch e {
	case unix.ENOMEM, unix.ENOBUFS:
		f.flags &^= bulk
	case unix.ENOSYS, unix.EPERM, unix.EACCES:
		l.pipes.never = true
		f.flags |= noSplice
	default:
		f.flags |= noSplice
	}
	l.returnPipe(f)
}

// lossOf names the end of a peer that failed with an errno: it reset the
// connection, or it has vanished.
func lossOf(side int, e unix.Errno) Reason {
	if isLoss(e) {
		return [...]Reason{client: ClientLost, origin: OriginLost}[side]
	}
	return [...]Reason{client: ClientReset, origin: OriginReset}[side]
}

// isLoss reports whether an errno says that a peer did not answer. The kernel
// gives the last ICMP error in the place of ETIMEDOUT where it had one.
func isLoss(e unix.Errno) bool {
	switch e {
	case unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN, unix.ENONET:
		return true
	}
	return false
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
	case isLoss(e):
		f.flags |= lost
		return sourceGone
	case e != 0 || f.has(reset|lost):
		return sourceGone
	case f.has(doubtful) && !sysSawFIN(c.fds[side], c.received(side, unsent)):
		return sourceGone
	}
	f.flags |= ended
	return moved
}

// writeEnd notes that the destination of flow side failed. The kernel reports
// a failure once, and a write has just consumed the report; the reads that
// follow would end as if in order. EPIPE comes where an orderly end came
// before the reset, but also after a splice that had sent some bytes and
// swallowed the report.
func (c *Conn) writeEnd(side int, e unix.Errno) outcome {
	dest := &c.flows[1-side]
	switch {
	case e == unix.EPIPE:
		dest.flags |= doubtful
	case isLoss(e):
		dest.flags |= lost
	default:
		dest.flags |= reset
	}
	return destGone
}

// flush writes what the flow holds, until that is gone or the destination
// takes no more for now.
func (l *loop) flush(c *Conn, side int) outcome {
	f := &c.flows[side]
	for f.waiting() && f.has(writable) {
		e := l.flushOnce(c, side)
		if e == unix.EAGAIN {
			l.awaitRoom(c, side)
			return moved
		}
		if e != 0 {
			return c.writeEnd(side, e)
		}
		c.active = l.now
	}
	return moved
}

// awaitRoom notes that the destination takes no more for now, and has epoll
// say when it does.
func (l *loop) awaitRoom(c *Conn, side int) {
	f := &c.flows[side]
	f.flags &^= writable
	if c.keepalive > 0 {
		l.wheel.put(c, l.now+int64(c.keepalive)*int64(time.Second)) // see tendReader
	}
	if f.has(roomAsked) {
		return
	}
	f.flags |= roomAsked
	if e := l.kernel.epollCtl(l.epfd, unix.EPOLL_CTL_MOD, c.fds[1-side], connEvents|unix.EPOLLOUT, c.token(1-side)); e != 0 {
		l.engine.complain(TroubleEpoll, e)
		f.flags &^= roomAsked
		l.tryAgain(c)
	}
}

func (l *loop) flushOnce(c *Conn, side int) unix.Errno {
	f, to := &c.flows[side], c.fds[1-side]
	if f.held != nil {
		n, e := sysSend(to, f.held.bytes(), 0)
		if e == 0 {
			l.consume(c, side, n)
		}
		return e
	}
	n, e := l.kernel.splice(f.pipe.r, to, f.pipe.queued)
	if refusesSplice(e) {
		return l.emptyPipe(f, e)
	}
	if e == 0 {
		f.pipe.queued -= n
		f.moved += uint64(n)
	}
	return e
}

// consume notes that n of the held bytes were written.
func (l *loop) consume(c *Conn, side, n int) {
	f := &c.flows[side]
	if f.held == nil {
		return
	}
	if f.held.off += n; f.held.off == f.held.end {
		l.blocks.put(f.held)
		f.held = nil
	}
	if side == client && c.ahead > 0 {
		prefix := min(n, int(c.ahead))
		c.ahead -= uint32(prefix)
		n -= prefix
	}
	f.moved += uint64(n)
}

// emptyPipe reads what a pipe holds that cannot be spliced to its destination.
func (l *loop) emptyPipe(f *flow, cause unix.Errno) unix.Errno {
	n, e := sysRead(f.pipe.r, l.buf[:min(f.pipe.queued, len(l.buf))])
	if e != 0 {
		return e
	}
	f.held = l.blocks.hold(l.buf[:n])
	f.pipe.queued -= n
	l.giveUpSplice(f, cause)
	return 0
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
