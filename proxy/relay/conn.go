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
	stateClosed   state = iota
	stateHello          // reading the first bytes
	stateDialing        // the origin has not accepted yet
	stateRelaying       // both sockets are connected
	stateLeaving        // rejected or half dead: what the peer still sends is thrown away
)

// A flow is one direction of a connection.
type flow struct {
	moved uint64 // bytes handed to the destination's socket
	held  *block // read and not written yet
	pipe  *pipe  // lent while bytes are spliced
	flags flowFlags
}

type flowFlags uint16

const (
	readable  flowFlags = 1 << iota // the source may have bytes
	writable                        // the destination may have room
	roomAsked                       // epoll announces when it has
	ending                          // the source announced its end: read until it is seen
	finQueued                       // its FIN is in the socket, behind the bytes: a read that comes back short got them all
	ended                           // the source's end was read
	finSent                         // and was passed on, after every byte before it
	dead                            // the destination failed: nothing can be passed on
	reset                           // the source's failure was seen, and its report consumed, by a write
	doubtful                        // as reset, or the source ended in order
	bulk                            // reads come back full: splice
	urgent                          // there is an urgent mark, which reads stop at and splices do not pass
)

func (f *flow) has(x flowFlags) bool { return f.flags&x != 0 }

// waiting reports whether bytes were read that are not written yet.
func (f *flow) waiting() bool { return f.held != nil || f.pipe != nil && f.pipe.queued > 0 }

// over reports whether the flow will move nothing more.
func (f *flow) over() bool { return f.has(finSent | dead) }

// A Conn is one client's connection, from accept to close: all that the
// engine knows of it.
type Conn struct {
	fds     [2]int32
	gen     [2]uint32 // counts the descriptors that this slot has owned, by side
	flows   [2]flow
	session Session
	loop    *loop
	from    netip.AddrPort
	idle    time.Duration

	// Nanoseconds since the engine started; 0 is never.
	start, decided, dialed int64
	active                 int64 // the last time that bytes moved
	deadline               int64 // of every state but relaying

	wnext, wprev *Conn // the wheel's list
	wtick        int64

	slot     uint32
	open     int32 // see OpenAtAccept
	left     int   // bytes still to be thrown away
	listener uint16
	watched  bool // the client's socket is registered with epoll
	state    state
	phase    Phase
	reason   Reason
	queued   bool // in the loop's queue for another turn
}

// Client returns the address that the connection came from.
func (c *Conn) Client() netip.AddrPort { return c.from }

// OpenAtAccept returns how many connections the engine had when this one was
// accepted, itself included. Of two that come at once, only one is the last
// that there was room for.
func (c *Conn) OpenAtAccept() int { return int(c.open) }

// Loop returns the index of the loop that serves this slot.
func (c *Conn) Loop() int { return c.loop.index }

// token is what epoll hands back for one of the connection's descriptors.
// The generation tells a stale event, still in the batch when its descriptor
// was closed, from one for the slot's next owner.
func (c *Conn) token(side int) uint64 {
	return uint64(c.gen[side])<<32 | uint64(c.slot)<<1 | uint64(side)
}

func (c *Conn) summary(now int64, epoch time.Time) Summary {
	s := Summary{
		Reason:   c.reason,
		Phase:    c.phase,
		Client:   c.from,
		Listener: int(c.listener),
		Start:    epoch.Add(time.Duration(c.start)),
		Total:    time.Duration(now - c.start),
		Up:       c.flows[client].moved,
		Down:     c.flows[origin].moved,
		Hello:    -1,
		Dial:     -1,
	}
	if c.decided != 0 {
		s.Hello = time.Duration(c.decided - c.start)
	}
	if c.dialed != 0 {
		s.Dial = time.Duration(c.dialed - c.start)
	}
	return s
}
