package relay

// A session may ask to be shown bytes before they go on. They are copied, not
// spliced, while it does. Bytes of the client that it holds back wait in a
// block, c.peek, and are listed as an unfinished hello.

// inspect has the session be shown what these sides send.
func (c *Conn) inspect(sides Sides) {
	for side := range c.flows {
		if sides&(1<<side) != 0 {
			c.flows[side].flags |= inspected
		} else {
			c.flows[side].flags &^= inspected
		}
	}
}

// showSession shows the session b, which has just been read from side, behind
// what it has held back, and sends what may pass.
func (l *loop) showSession(c *Conn, side int, b []byte) outcome {
	if side == client && c.peek != nil {
		return l.showMore(c, b)
	}
	in := c.session.Inspect(Side(side), b)
	if in.Reject {
		return l.cutOff(c, in.Farewell)
	}
	if rest := b[in.Pass:]; len(rest) > 0 {
		if l.holdUnfinished(c, &c.peek, rest); c.state != stateRelaying {
			return cutOff
		}
		l.limitPeek(c)
	}
	o := l.send(c, side, b[:in.Pass])
	c.inspect(in.Watch)
	l.letPass(c)
	return o
}

// limitPeek gives the client the time of a hello for what is held back.
func (l *loop) limitPeek(c *Conn) {
	if t := l.engine.timeouts.Load().Hello; t > 0 && c.peek != nil {
		l.deadline(c, t)
	}
}

// showMore is showSession for bytes behind some that are held back.
func (l *loop) showMore(c *Conn, b []byte) outcome {
	for len(b) > 0 {
		if l.growUnfinished(&c.peek); c.state != stateRelaying {
			return cutOff
		}
		n := copy(c.peek.buf[c.peek.end:], b)
		c.peek.end += n
		b = b[n:]
	}
	in := c.session.Inspect(Client, c.peek.bytes())
	if in.Reject {
		return l.cutOff(c, in.Farewell)
	}
	c.inspect(in.Watch)
	if in.Pass == 0 && c.flows[client].has(inspected) {
		return moved
	}
	if !c.flows[client].has(inspected) {
		l.letPass(c)
		return moved
	}
	o := l.send(c, client, c.peek.bytes()[:in.Pass])
	if c.peek.off += in.Pass; c.peek.off == c.peek.end {
		l.dropPeek(c)
	}
	return o
}

// letPass makes what was held back the next to be written, once the session
// does not look at the client's bytes any more or no more of them come.
func (l *loop) letPass(c *Conn) {
	f := &c.flows[client]
	if c.peek == nil || f.has(inspected) && !f.has(ended) {
		return
	}
	l.finished(c.peek)
	c.deadline = 0
	l.enqueue(c) // the client's flow may have had its turn
	if f.held != nil {
		b := l.blocks.hold(f.held.bytes(), c.peek.bytes())
		l.blocks.put(f.held)
		l.blocks.put(c.peek)
		f.held, c.peek = b, nil
		return
	}
	f.held, c.peek = c.peek, nil
}

func (l *loop) dropPeek(c *Conn) {
	if c.peek != nil {
		l.finished(c.peek)
		l.blocks.put(c.peek)
		c.peek, c.deadline = nil, 0
	}
}

// cutOff ends a relay: the client is sent away, the origin is reset.
func (l *loop) cutOff(c *Conn, bye Farewell) outcome {
	c.reason = Rejected
	l.dropPeek(c)
	l.release(&c.flows[client])
	if c.flows[origin].waiting() {
		// A part of the origin's answer is missing: behind it the client would
		// read the farewell as the rest.
		bye.Bytes = nil
	}
	l.release(&c.flows[origin])
	fd := c.fds[origin]
	l.engine.own.forget(c.key, fd)
	c.fds[origin] = -1
	c.gen[origin]++
	sysReset(fd)
	l.farewell(c, bye)
	return cutOff
}
