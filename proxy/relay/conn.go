package relay

import (
	"net/netip"
	"time"
)

// The sides of a connection, and the directions named after where the bytes
// come from: flow c.flows[client] reads from the client.
const (
	client = 0
	origin = 1
)

type state uint8

const (
	stateClosed    state = iota
	stateHello           // reading the first bytes
	stateWaiting         // the session does not know the answer yet
	stateDialing         // the origin has not accepted yet
	stateRelaying        // both sockets are connected
	stateLingering       // rejected or half dead: what the peer still sends is thrown away
)

// A flow is one direction of a connection.
type flow struct {
	moved uint64 // the source's bytes handed to the destination's socket
	held  *block // read and not written yet
	pipe  *pipe  // lent while bytes are spliced
	flags flowFlags
	calm  uint8  // small reads in a row while heavy
	looks uint16 // at a destination that reads nothing and answers: see tendReader
}

type flowFlags uint32

const (
	readable  flowFlags = 1 << iota // the source may have bytes
	writable                        // the destination may have room
	roomAsked                       // epoll announces when it has
	ending                          // the source announced its end: read until it is seen
	finQueued                       // a FIN is queued: a short read has drained the socket
	ended                           // the source's end was read
	finSent                         // and was passed on, after every byte before it
	dead                            // the destination failed: nothing can be passed on
	reset                           // a write consumed the report that the source was reset
	lost                            // a write consumed the report that the source does not answer
	doubtful                        // a write found the source gone, in order or not
	heavy                           // an event brought more than lightBytes: move in turns
	bulk                            // reads come back full: splice
	urgent                          // there is an urgent mark, which reads stop at and splices do not pass
	inspected                       // the session is shown the bytes before they go on
	noSplice                        // splice does not work here: copy
	answered                        // the session knows of the first byte
)

func (f *flow) has(x flowFlags) bool { return f.flags&x != 0 }

// waiting reports whether bytes were read that are not written yet.
func (f *flow) waiting() bool { return f.held != nil || f.pipe != nil && f.pipe.queued > 0 }

// over reports whether the flow will move nothing more.
func (f *flow) over() bool { return f.has(finSent | dead) }

// A Conn is one client's connection, from accept to close: all that the
// engine knows of it. TestEveryFieldSaysHowItIsHandedOver lists its fields.
type Conn struct {
	fds      [2]int32
	gen      [2]uint32 // counts the descriptors that this slot has owned, by side
	flows    [2]flow
	peek     *block // of the client's bytes, those that the session holds back
	session  Session
	loop     *loop
	listener *Listener
	from     [16]byte // the client's address; IPv4 as it is in IPv6
	idle     time.Duration

	// Nanoseconds since the engine started; 0 is never.
	start, decided, dialed int64
	active                 int64 // the last time that bytes moved
	deadline               int64 // of every state but relaying; there, of peek

	wnext, wprev *Conn // the wheel's list
	wtick        int64

	slot    uint32
	open    int32  // see OpenAtAccept
	left    int32  // bytes still to be thrown away
	skipped uint32 // bytes of the client that are not for the origin
	ahead   uint32 // bytes at the front of the client's held block that are not the client's
	waits   uint32 // counts the waits of this slot
	key     uint32 // of the verdict; see IsOwn

	fromPort  uint16
	dropped   uint16 // bytes of the origin that were its answer to Agree
	port      uint16 // the origin's, if it could be this machine's own choice; see isSelf
	keepalive uint16 // seconds, or 0
	tended    bool   // both sockets know keepalive
	local     bool   // the origin is a unix socket
	watched   bool   // the client's socket is registered with epoll
	asking    bool   // the origin has not agreed yet; see Verdict.Ask
	again     bool   // what the kernel refused is to be tried again at the next tick
	quiet     bool   // in stateHello: the session is asked when deadline passes without a byte
	state     state
	phase     Phase
	reason    Reason
	queued    bool  // in the loop's queue for another turn
	turns     uint8 // that a heavy connection has had here: see setApart
	first     uint8 // the side that the next turn begins with
}

// Peer returns the address that the connection came from.
func (c *Conn) Peer() netip.AddrPort {
	if c.fromPort == 0 {
		return netip.AddrPort{} // the zero Conn
	}
	return netip.AddrPortFrom(netip.AddrFrom16(c.from).Unmap(), c.fromPort)
}

// Local returns the address that the client connected to.
func (c *Conn) Local() netip.AddrPort {
	if c.fromPort == 0 {
		return netip.AddrPort{} // the zero Conn
	}
	return localAddr(c.fds[client])
}

// Listener returns the listener that accepted the connection.
func (c *Conn) Listener() *Listener { return c.listener }

// OpenAtAccept returns how many connections the engine had when this one was
// accepted, itself included. Of two that come at once, only one is the last
// that there was room for.
func (c *Conn) OpenAtAccept() int { return int(c.open) }

// Loop returns the index of the loop that serves this slot.
func (c *Conn) Loop() int {
	if c.loop == nil {
		return 0 // the zero Conn, which tests give to a session
	}
	return c.loop.index
}

// A Waker ends a connection's Wait. It may be used from any goroutine, and
// does nothing once the connection waits no more.
type Waker struct {
	loop *loop
	slot uint32
	wait uint32
}

// Waker returns what ends the Wait that the session is about to ask for.
func (c *Conn) Waker() Waker { return Waker{c.loop, c.slot, c.waits + 1} }

// Wake has the loop call the session's Resume, soon.
func (w Waker) Wake() {
	if w.loop == nil {
		return // the zero Conn's
	}
	w.loop.post(func(l *loop) {
		if c := l.conns[w.slot]; c.state == stateWaiting && c.waits == w.wait {
			l.resume(c, nil)
		}
	})
}

// token is what epoll hands back for one of the connection's descriptors.
// The generation tells a stale event, still in the batch when its descriptor
// was closed, from one for the slot's next owner.
func (c *Conn) token(side int) uint64 {
	return uint64(c.gen[side])<<32 | uint64(c.slot)<<1 | uint64(side)
}

// received returns how many bytes the edge has read from a side, unsent of
// which nobody has counted yet.
func (c *Conn) received(side, unsent int) uint64 {
	n := c.flows[side].moved + uint64(unsent)
	if side == origin {
		return n + uint64(c.dropped)
	}
	n += uint64(c.skipped)
	if c.peek != nil {
		n += uint64(len(c.peek.bytes()))
	}
	return n
}

func (c *Conn) summary(now int64, epoch time.Time) Summary {
	s := Summary{
		Reason: c.reason,
		Phase:  c.phase,
		Start:  epoch.Add(time.Duration(c.start)),
		Total:  time.Duration(now - c.start),
		Up:     c.flows[client].moved,
		Down:   c.flows[origin].moved,
		Hello:  -1,
		Dial:   -1,
	}
	if c.decided != 0 {
		s.Hello = time.Duration(c.decided - c.start)
	}
	if c.dialed != 0 {
		s.Dial = time.Duration(c.dialed - c.start)
	}
	return s
}
