package relay

import (
	"time"

	"golang.org/x/sys/unix"
)

// readHello reads on until the session has decided. The first read goes to
// the loop's shared buffer, where a hello that came in one piece is decided
// upon and sent on without being copied; a partial one moves to a block.
func (l *loop) readHello(c *Conn) {
	f := &c.flows[client]
	for f.has(readable) {
		into := l.buf
		if f.held != nil {
			if l.growUnfinished(&f.held); c.state == stateClosed {
				return
			}
			into = f.held.buf[f.held.end:]
		}
		n, e := sysRecv(c.fds[client], into)
		switch {
		case e == unix.EAGAIN:
			f.flags &^= readable
			l.watchClient(c)
			return
		case e != 0 || n == 0:
			l.end(c, ClientGone)
			return
		}
		if n < len(into) && !f.has(ending|urgent) {
			f.flags &^= readable
		}
		if c.quiet {
			l.limitHello(c) // it is not silent any more
		}
		all := into[:n]
		if f.held != nil {
			f.held.end += n
			all = f.held.bytes()
		}
		v, all := l.hear(c, all)
		switch {
		case c.state == stateClosed:
			return
		case v.Op != More:
			l.decide(c, v, all)
			return
		case len(all) == 0: // all of it was skipped
			l.release(f)
			l.askIfSilent(c, v.Timeout)
			continue
		}
		if f.held == nil {
			l.acknowledge(c)
			if l.holdUnfinished(c, &f.held, all); c.state == stateClosed {
				return
			}
		}
	}
	l.watchClient(c)
}

// limitHello gives the client until Timeouts.Hello after its accept.
func (l *loop) limitHello(c *Conn) {
	c.quiet, c.deadline = false, after(c.start, l.engine.timeouts.Load().Hello)
	if c.deadline != 0 {
		l.wheel.put(c, c.deadline)
	}
}

// askIfSilent has the session be asked when the client sends nothing for d; 0
// is for ever.
func (l *loop) askIfSilent(c *Conn, d time.Duration) {
	if d > 0 && (c.deadline == 0 || l.now+int64(d) < c.deadline) {
		c.quiet = true
		l.deadline(c, d)
	}
}

// silent asks the session about a client that has sent nothing for as long as
// the session had said.
func (l *loop) silent(c *Conn) {
	l.limitHello(c)
	if v := c.session.Resume(ErrTimeout); v.Op != More {
		l.skipHello(c, v)
	}
}

// skipHello does as the session says of a client that has sent nothing, as if
// the other side were the first to speak.
func (l *loop) skipHello(c *Conn, v Verdict) {
	c.decided = l.now
	setInt(c.fds[client], unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) // no hello, whose ACK could leave with an answer
	l.follow(c, v, nil)
}

// decide does as the session says of the first bytes, which are all.
func (l *loop) decide(c *Conn, v Verdict, all []byte) {
	f := &c.flows[client]
	c.decided = l.now
	if f.held != nil {
		l.finished(f.held)
	}
	end := len(all) - v.Hold
	if v.Hold > 0 {
		if l.holdUnfinished(c, &c.peek, all[end:]); c.state == stateClosed {
			return
		}
	}
	if f.held != nil {
		f.held.off += v.Skip
		f.held.end -= v.Hold
	}
	if c.skipped += uint32(v.Skip); v.Skip > 0 && v.Skip == len(all) {
		l.acknowledge(c)
	}
	l.follow(c, v, all[v.Skip:end])
}

// watchClient registers the client's socket once; a connection whose hello
// is there at once is registered when it is dialed.
func (l *loop) watchClient(c *Conn) {
	if c.watched {
		return
	}
	c.watched = true
	if e := l.kernel.epollCtl(l.epfd, unix.EPOLL_CTL_ADD, c.fds[client], connEvents, c.token(client)); e != 0 {
		l.engine.complain(TroubleEpoll, e)
		l.endReset(c, NoResources)
	}
}

// follow does as the session says. unsent is what the client has sent so far
// for the origin.
func (l *loop) follow(c *Conn, v Verdict, unsent []byte) {
	switch v.Op {
	case Reject:
		l.reject(c, v.Farewell)
	case Wait:
		l.await(c, v.Timeout, unsent)
	default:
		l.dial(c, v, unsent)
	}
}

// await leaves the connection alone until it is woken or d has passed.
func (l *loop) await(c *Conn, d time.Duration, unsent []byte) {
	c.state, c.phase, c.deadline = stateWaiting, max(c.phase, PhaseDecide), 0
	c.waits++
	l.keep(c, unsent)
	// Before the first dial the client decides what is waited for, and so for
	// how long: its hello counts as unfinished still.
	if b := c.flows[client].held; b != nil && c.phase == PhaseDecide {
		if l.list(c, b); c.state == stateClosed {
			return
		}
	}
	if d > 0 {
		l.deadline(c, d)
	}
	l.watchClient(c)
	if c.state == stateWaiting && c.hasLeft() {
		l.end(c, ClientGone) // announced before, and not again
	}
}

// resume asks the session once more, after a wait.
func (l *loop) resume(c *Conn, err error) {
	c.deadline = 0
	if b := c.flows[client].held; b != nil {
		l.finished(b)
	}
	l.follow(c, c.session.Resume(err), c.unsent())
}

// unsent is what is held of the client's bytes, without a prefix.
func (c *Conn) unsent() []byte {
	if b := c.flows[client].held; b != nil {
		return b.bytes()[c.ahead:]
	}
	return nil
}

// keep makes unsent, the last of the bytes that were read, the client's held
// bytes.
func (l *loop) keep(c *Conn, unsent []byte) {
	f := &c.flows[client]
	switch {
	case f.held == nil && len(unsent) > 0:
		f.held = l.blocks.hold(unsent)
	case f.held != nil && len(unsent) > 0:
		f.held.off = f.held.end - len(unsent)
	case f.held != nil:
		l.blocks.put(f.held)
		f.held = nil
	}
	c.ahead = 0
}

// Unfinished hellos are listed by age. Each loop may hold its share of
// Options.HelloMemory in them: with more, it ends its oldest, which are the
// slowest clients. With one budget for all loops, those that filled it on one
// would leave nothing to the new clients of another.

// holdUnfinished copies the beginning of a hello into a block, at, and lists
// it. That may end connections, c too.
func (l *loop) holdUnfinished(c *Conn, at **block, b []byte) {
	*at = l.blocks.hold(b)
	l.list(c, *at)
}

// list adds a block to the list. That may end connections, c too.
func (l *loop) list(c *Conn, x *block) {
	x.owner, x.older = c, l.newest
	l.relink(x, x, x)
	l.hellos += len(x.buf)
	l.keepWithinMemory()
}

// growUnfinished makes room in a listed block. That may end connections too.
func (l *loop) growUnfinished(at **block) {
	x := *at
	if x.end < len(x.buf) {
		return
	}
	g := l.blocks.grow(x)
	*at = g
	g.owner, g.older, g.newer = x.owner, x.older, x.newer
	l.relink(g, g, g)
	l.hellos += len(g.buf) - len(x.buf)
	x.owner, x.older, x.newer = nil, nil, nil
	l.blocks.put(x)
	l.keepWithinMemory()
}

// finished takes a block off the list, if it is there.
func (l *loop) finished(x *block) {
	if x.owner == nil {
		return
	}
	l.relink(x, x.older, x.newer)
	x.owner, x.older, x.newer = nil, nil, nil
	l.hellos -= len(x.buf)
}

// relink has x's neighbours point to others in its place: the newer one to
// older, the older one to newer.
func (l *loop) relink(x, older, newer *block) {
	if x.newer != nil {
		x.newer.older = older
	} else {
		l.newest = older
	}
	if x.older != nil {
		x.older.newer = newer
	} else {
		l.oldest = newer
	}
}

// keepWithinMemory ends the connections of the loop's oldest unfinished hellos
// while all of them hold more than its share. The newest stays: it may be larger
// than the share of one of many loops.
func (l *loop) keepWithinMemory() {
	most := int(l.engine.helloMemory.Load()) / len(l.engine.taking())
	for most > 0 && l.hellos > most && l.oldest != l.newest {
		l.end(l.oldest.owner, HelloMemory)
	}
}
