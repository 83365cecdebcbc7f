package relay

import "golang.org/x/sys/unix"

// readHello reads on until the session has decided. The first read goes to
// the loop's shared buffer, where a hello that came in one piece is decided
// upon and sent on without being copied; a partial one moves to a block.
func (l *loop) readHello(c *Conn) {
	f := &c.flows[client]
	for f.has(readable) {
		into := l.buf
		if f.held != nil {
			f.held = l.blocks.grow(f.held)
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
		all := into[:n]
		if f.held != nil {
			f.held.end += n
			all = f.held.bytes()
		}
		v := c.session.Hello(all)
		if v.Op != More {
			c.decided = l.now
			l.follow(c, v, all)
			return
		}
		if f.held == nil {
			f.held = l.blocks.hold(all)
		}
	}
	l.watchClient(c)
}

// watchClient registers the client's socket once; a connection whose hello
// is there at once is registered when it is dialed.
func (l *loop) watchClient(c *Conn) {
	if c.watched {
		return
	}
	c.watched = true
	if e := epollAdd(l.epfd, c.fds[client], connEvents, c.token(client)); e != 0 {
		l.endReset(c, TooManyConnections) // ENOSPC: fs.epoll.max_user_watches
	}
}

// follow does as the session says. unsent is what the client has sent so far.
func (l *loop) follow(c *Conn, v Verdict, unsent []byte) {
	if v.Op == Reject {
		l.reject(c, v)
		return
	}
	c.idle = v.Idle
	l.dial(c, v.Target, unsent)
}
