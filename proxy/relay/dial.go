package relay

import (
	"time"

	"golang.org/x/sys/unix"
)

// dial starts to connect. unsent is what the client has sent for the origin;
// it is copied to a block only if it cannot be sent at once.
func (l *loop) dial(c *Conn, v Verdict, unsent []byte) {
	for v.Op == Dial {
		err := l.connect(c, v, unsent)
		if err == nil {
			return
		}
		v = c.session.DialFailed(err, 0)
	}
	l.follow(c, v, unsent)
}

// connect opens a socket and begins to connect it. It fails only where the
// kernel knows at once; a refusal by a TCP origin comes later.
func (l *loop) connect(c *Conn, v Verdict, unsent []byte) error {
	c.state, c.phase, c.deadline = stateDialing, PhaseDial, 0
	c.active = l.now
	c.idle, c.keepalive = v.Idle, keepaliveSeconds(v.Keepalive)
	c.inspect(v.Inspect)
	c.asking = v.Ask
	if !l.addr.set(v.Target) {
		return &LocalError{NoLocalRoute, unix.EADDRNOTAVAIL} // its zone names no interface
	}
	fd, e := sysSocket(l.addr.family)
	if e != 0 {
		return l.dialError(e)
	}
	c.port, c.local = 0, l.addr.family == unix.AF_UNIX
	if !c.local {
		setInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		// The hello follows the handshake at once, so its packet can carry
		// the handshake's last ACK.
		setInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)
		if p := v.Target.Addr.Port(); l.engine.ephemeral.has(p) {
			c.port = p
		}
	}
	e = sysConnect(fd, &l.addr)
	switch {
	case e == 0, e == unix.EINPROGRESS && v.Target.Addr.Addr().IsLoopback():
		// Over loopback the handshake is done when connect returns, although
		// it says that it goes on.
		c.fds[origin] = fd
		c.key = v.Key
		l.engine.own.note(c.key, fd)
		l.sendHello(c, v, unsent)
	case e == unix.EINPROGRESS, e == unix.EAGAIN && l.addr.family == unix.AF_UNIX:
		c.fds[origin] = fd
		c.key = v.Key
		l.engine.own.note(c.key, fd)
		l.awaitOrigin(c, v, unsent, 0, e == unix.EAGAIN)
	default:
		sysClose(fd)
		return l.dialError(e)
	}
	return nil
}

// dialError tells apart what this machine lacks for a dial to l.addr from what
// the origin answered. Only errors that connect returned at once get here.
func (l *loop) dialError(e unix.Errno) error {
	switch e {
	case unix.EMFILE, unix.ENFILE:
		return &LocalError{NoLocalDescriptor, e}
	case unix.ENOMEM, unix.ENOBUFS:
		return &LocalError{NoLocalMemory, e}
	}
	if l.addr.family == unix.AF_UNIX {
		return e // the path is the origin's
	}
	switch e {
	case unix.EADDRNOTAVAIL, unix.EADDRINUSE:
		// Without a source address for the family the kernel says the same.
		if l.addr.hasRoute() {
			return &LocalError{NoLocalPort, e}
		}
		return &LocalError{NoLocalRoute, e}
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT,
		unix.EACCES, unix.EPERM, unix.EINVAL:
		return &LocalError{NoLocalRoute, e}
	}
	return e
}

// sendHello sends the first bytes on a connection that should be made.
func (l *loop) sendHello(c *Conn, v Verdict, unsent []byte) {
	first := unsent
	if v.Ask {
		first = nil
	}
	n, e := sysSend2(c.fds[origin], v.Prefix, first)
	if e == 0 && l.isSelf(c) {
		e = unix.ECONNREFUSED
	}
	switch {
	case e == 0 && v.Ask, e == unix.EAGAIN:
		l.awaitOrigin(c, v, unsent, max(0, n), false)
		return
	case e == 0:
		l.connected(c, max(0, n-len(v.Prefix)))
		l.keepBehind(c, v.Prefix, unsent, n)
	default:
		c.asking = false
		l.keep(c, unsent)
		l.redial(c, e)
		return
	}
	if l.watchClient(c); c.state == stateClosed {
		return
	}
	if !l.watchOrigin(c, connEvents) {
		return
	}
	if f := &c.flows[client]; f.has(readable) || f.waiting() {
		l.relay(c) // no edge will announce what is known already
	}
}

// awaitOrigin keeps the first bytes, of which n were sent, until the origin
// accepts, and agrees if it is asked. With again, the origin is a unix socket
// whose backlog is full: connect is tried again at each tick, as TCP does by
// itself.
func (l *loop) awaitOrigin(c *Conn, v Verdict, unsent []byte, n int, again bool) {
	l.keepBehind(c, v.Prefix, unsent, n)
	t := l.engine.timeouts.Load().Connect
	if v.Timeout > 0 && (t == 0 || v.Timeout < t) {
		t = v.Timeout
	}
	if t > 0 {
		l.deadline(c, t)
	}
	if l.watchClient(c); c.state == stateClosed {
		return
	}
	if again {
		l.knocking[c] = v.Target.Path
		l.tryAgain(c)
		return
	}
	c.flows[client].flags |= roomAsked
	l.watchOrigin(c, connEvents|unix.EPOLLOUT)
}

// watchOrigin registers the origin's socket, and reports whether it could.
func (l *loop) watchOrigin(c *Conn, events uint32) bool {
	e := l.kernel.epollCtl(l.epfd, unix.EPOLL_CTL_ADD, c.fds[origin], events, c.token(origin))
	if e != 0 {
		l.engine.complain(TroubleEpoll, e)
		l.endReset(c, NoResources)
	}
	return e == 0
}

// tryAgain has expire repeat at the next tick what the kernel has refused.
func (l *loop) tryAgain(c *Conn) {
	c.again = true
	l.wheel.put(c, l.now+1)
}

// knock tries once more to connect to a unix socket whose backlog was full.
func (l *loop) knock(c *Conn) {
	path := l.knocking[c]
	delete(l.knocking, c)
	l.addr.setPath(path)
	switch e := sysConnect(c.fds[origin], &l.addr); e {
	case 0:
		if l.watchOrigin(c, connEvents) {
			l.dialProgress(c)
		}
	case unix.EAGAIN:
		l.knocking[c] = path
		l.tryAgain(c)
	default:
		l.redial(c, e)
	}
}

func (l *loop) stopKnocking(c *Conn) {
	if c.again {
		c.again = false
		delete(l.knocking, c)
	}
}

// isSelf reports whether the origin's socket is connected to itself: dialing a
// port of this machine that nobody listens on can meet its own SYN, if the
// kernel picks that very port to dial from.
func (l *loop) isSelf(c *Conn) bool {
	if c.port == 0 {
		return false
	}
	local := localAddr(c.fds[origin])
	return local.Port() == c.port && local == peerAddr(c.fds[origin])
}

// keepBehind makes what is left of prefix and unsent, after n bytes of the two
// were sent, the client's held bytes.
func (l *loop) keepBehind(c *Conn, prefix, unsent []byte, n int) {
	if n >= len(prefix) {
		l.keep(c, unsent[n-len(prefix):])
		return
	}
	f := &c.flows[client]
	b := l.blocks.hold(prefix[n:], unsent)
	if f.held != nil {
		l.blocks.put(f.held) // which unsent may be a part of
	}
	f.held, c.ahead = b, uint32(len(prefix)-n)
}

// dialProgress looks whether the origin has accepted, by sending what waits.
func (l *loop) dialProgress(c *Conn) {
	if c.asking {
		l.ask(c)
		return
	}
	f := &c.flows[client]
	n, e := 0, unix.Errno(0)
	if f.held != nil {
		n, e = sysSend(c.fds[origin], f.held.bytes(), 0)
	} else if e = socketError(c.fds[origin]); e == 0 && !c.local && !peerAddr(c.fds[origin]).IsValid() {
		e = unix.EAGAIN
	}
	if e == 0 && l.isSelf(c) {
		e = unix.ECONNREFUSED
	}
	switch e {
	case 0:
		l.connected(c, 0)
		l.consume(c, client, n)
		l.relay(c)
	case unix.EAGAIN:
		f.flags &^= writable
	default:
		l.redial(c, e)
	}
}

// redial gives up the present origin and asks the session for another.
func (l *loop) redial(c *Conn, cause error) {
	if c.asking && c.ahead == 0 {
		cause = &AskError{cause}
	}
	l.closeOrigin(c)
	unsent := c.unsent()
	l.keep(c, unsent)
	l.follow(c, c.session.DialFailed(cause, time.Duration(l.now-c.active)), c.unsent())
}

func (l *loop) closeOrigin(c *Conn) {
	l.stopKnocking(c)
	if c.fds[origin] >= 0 {
		l.closeSide(c, origin)
	}
	// What the lost socket had reported says nothing of the next.
	c.flows[client].flags &^= writable | roomAsked
	c.flows[origin].flags &= writable
	c.dropped = 0
}

// connected begins the relay; n of the client's bytes have gone to the origin.
func (l *loop) connected(c *Conn, n int) {
	c.state, c.phase, c.deadline = stateRelaying, PhaseRelay, 0
	took := time.Duration(l.now - c.active)
	c.dialed, c.active = l.now, l.now
	c.flows[client].moved += uint64(n)
	c.flows[client].flags |= writable
	if !c.local {
		// The handshake's ACK has been saved. An origin with Nagle's algorithm
		// waits for those that follow.
		setInt(c.fds[origin], unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}
	c.session.Connected(took)
	l.limitPeek(c)
	if c.idle > 0 {
		l.wheel.put(c, l.now+int64(c.idle))
	}
	// The client's socket has the listener's keep-alive until then.
	if c.tended = c.keepalive == 0 && c.listener.keepalive.Load() == 0; !c.tended {
		l.wheel.put(c, l.now+int64(tendAfter))
	}
}
