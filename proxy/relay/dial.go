package relay

import "golang.org/x/sys/unix"

// dial starts to connect. unsent goes to the origin first; it is copied to a
// block only if it cannot be sent at once.
func (l *loop) dial(c *Conn, t Target, unsent []byte) {
	for {
		e := l.connect(c, t)
		if e == 0 {
			l.sendHello(c, unsent)
			return
		}
		v := c.session.DialFailed(e)
		if v.Op == Reject {
			l.reject(c, v)
			return
		}
		c.idle, t = v.Idle, v.Target
	}
}

// connect opens a socket and begins to connect it to t. It fails only where
// the kernel knows at once; a refusal comes with the first send.
func (l *loop) connect(c *Conn, t Target) unix.Errno {
	c.state, c.phase, c.deadline = stateDialing, PhaseDial, 0
	if !l.addr.set(t) {
		return unix.EADDRNOTAVAIL
	}
	fd, e := sysSocket(l.addr.family)
	if e != 0 {
		return e
	}
	if l.addr.family != unix.AF_UNIX {
		setInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		// The hello follows the handshake at once, so its packet can carry
		// the handshake's last ACK.
		setInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)
	}
	// A full backlog of a unix socket answers EAGAIN, which is a refusal.
	if e := sysConnect(fd, &l.addr); e != 0 && e != unix.EINPROGRESS {
		sysClose(fd)
		return e
	}
	c.fds[origin] = fd
	return 0
}

// sendHello tries to send at once: on a fast path to the origin the
// connection is made by now, and if not, the kernel says so. Either way the
// two sockets are watched from here on.
func (l *loop) sendHello(c *Conn, unsent []byte) {
	f := &c.flows[client]
	n, e := sysSend(c.fds[origin], unsent, 0)
	if e == 0 && l.isSelf(c.fds[origin]) {
		e = unix.ECONNREFUSED
	}
	switch e {
	case 0:
		l.connected(c, n)
		unsent = unsent[n:]
	case unix.EAGAIN:
		if t := l.engine.timeouts.Load().Connect; t > 0 {
			l.deadline(c, t)
		}
	default:
		l.redial(c, e, unsent)
		return
	}
	l.keep(f, unsent)
	if l.watchClient(c); c.state == stateClosed {
		return
	}
	events := uint32(connEvents)
	if c.state == stateDialing {
		events |= unix.EPOLLOUT
		f.flags |= roomAsked
	}
	if e := epollAdd(l.epfd, c.fds[origin], events, c.token(origin)); e != 0 {
		l.endReset(c, TooManyConnections)
		return
	}
	if c.state == stateRelaying && (f.has(readable) || f.waiting()) {
		l.enqueue(c) // no edge will announce what is known already
	}
}

// isSelf reports whether a socket that was connected to l.addr is connected
// to itself: dialing a port of this machine that nobody listens on can meet
// its own SYN, if the kernel picks that very port to dial from.
func (l *loop) isSelf(fd int32) bool {
	target := addrPort(&l.addr.raw)
	return target.Port() >= 1024 && localAddr(fd) == target
}

// keep makes unsent the flow's held bytes.
func (l *loop) keep(f *flow, unsent []byte) {
	switch {
	case f.held == nil && len(unsent) > 0:
		f.held = l.blocks.hold(unsent)
	case f.held != nil && len(unsent) > 0:
		f.held.off = f.held.end - len(unsent)
	case f.held != nil:
		l.blocks.put(f.held)
		f.held = nil
	}
}

// dialProgress looks whether the origin has accepted, by sending what waits.
func (l *loop) dialProgress(c *Conn) {
	f := &c.flows[client]
	n, e := sysSend(c.fds[origin], f.held.bytes(), 0)
	if e == 0 {
		if sysPeer(c.fds[origin], &l.addr); l.isSelf(c.fds[origin]) {
			e = unix.ECONNREFUSED
		}
	}
	switch e {
	case 0:
		l.connected(c, n)
		f.held.off += n
		l.relay(c)
	case unix.EAGAIN:
		f.flags &^= writable
	default:
		l.redial(c, e, nil)
	}
}

// redial gives up the present origin and asks the session for another.
// unsent is nil when the client's bytes are held already.
func (l *loop) redial(c *Conn, cause error, unsent []byte) {
	l.closeOrigin(c)
	f := &c.flows[client]
	if f.held == nil {
		f.held = l.blocks.hold(unsent)
	}
	v := c.session.DialFailed(cause)
	l.follow(c, v, f.held.bytes())
}

func (l *loop) closeOrigin(c *Conn) {
	if c.fds[origin] >= 0 {
		sysClose(c.fds[origin])
		c.fds[origin] = -1
		c.gen[origin]++
	}
	// What the lost socket had reported says nothing of the next.
	c.flows[client].flags &^= writable | roomAsked
	c.flows[origin].flags &= writable
}

// connected begins the relay; n bytes have gone to the origin.
func (l *loop) connected(c *Conn, n int) {
	c.state, c.phase = stateRelaying, PhaseRelay
	c.dialed, c.active = l.now, l.now
	c.flows[client].moved += uint64(n)
	c.flows[client].flags |= writable
	if c.idle > 0 {
		l.wheel.put(c, l.now+int64(c.idle))
	}
}
