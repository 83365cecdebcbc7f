package relay

import "golang.org/x/sys/unix"

// A protocol may have something said before the client's hello, and again
// before it goes to the origin: the session answers the client with a Reply,
// and asks the origin with a Prefix that has to be answered (Verdict.Ask).

// hear shows the session what the client has sent, all, again and again while
// the session takes bytes off its front. It returns what is left. A client
// that cannot be replied to ends the connection.
func (l *loop) hear(c *Conn, all []byte) (Verdict, []byte) {
	for {
		v := c.session.Hello(all)
		if v.Op != More || v.Skip == 0 {
			return v, all
		}
		all = all[v.Skip:]
		c.skipped += uint32(v.Skip)
		if held := c.flows[client].held; held != nil {
			held.off += v.Skip
		}
		if len(v.Reply) > 0 {
			if n, e := sysSend(c.fds[client], v.Reply, 0); e != 0 || n < len(v.Reply) {
				l.end(c, ClientGone)
				return v, nil
			}
		}
		if len(all) == 0 {
			if len(v.Reply) == 0 {
				l.acknowledge(c)
			}
			return v, all
		}
	}
}

// acknowledge has the kernel acknowledge at once what the client has sent. The
// listener's sockets leave that to the answer to a hello, and a client with
// Nagle's algorithm waits for it before it sends the rest.
func (l *loop) acknowledge(c *Conn) { setInt(c.fds[client], unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }

// ask is dialProgress for an origin that is asked: it sends what is left of
// the question, and reads the answer. The connect's deadline holds until then.
func (l *loop) ask(c *Conn) {
	f := &c.flows[client]
	if c.ahead > 0 {
		n, e := sysSend(c.fds[origin], f.held.bytes()[:c.ahead], 0)
		if e == 0 && l.isSelf(c) {
			e = unix.ECONNREFUSED
		}
		switch {
		case e == unix.EAGAIN:
			f.flags &^= writable
			return
		case e != 0:
			l.redial(c, e)
			return
		}
		if l.consume(c, client, n); c.ahead > 0 {
			return // epoll says when there is room for more
		}
	}
	in := &c.flows[origin]
	n, e := sysRecv(c.fds[origin], l.buf[:lightBytes])
	switch {
	case e == unix.EAGAIN:
		in.flags &^= readable
		return
	case e != 0:
		l.redial(c, e)
		return
	}
	if err := c.session.Agree(l.buf[:n]); err != nil {
		l.redial(c, err)
		return
	}
	if n < lightBytes && !in.has(ending|urgent) {
		in.flags &^= readable
	}
	c.asking, c.dropped = false, uint16(n)
	l.connected(c, 0)
	l.relay(c)
}
