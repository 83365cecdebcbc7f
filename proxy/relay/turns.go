package relay

// A loop serves small connections first. An event on one is answered within the
// dispatch of the event, with at most lightBytes: more than that is bulk, and
// waits in the queue. After each batch of events the queue gets one round of
// roundBytes, and then the loop looks at its events again. So a small
// connection waits for one round of others' bulk at most, however many streams
// flow, and the queue gets its round however many small ones there are.
const (
	// lightBytes is how much a connection may move within the dispatch of an
	// event. A read that fills it makes the direction heavy.
	lightBytes = 16 << 10
	// calmReads is how many reads in a row of less than half of lightBytes
	// make a direction light again: the last read of a burst is often small.
	calmReads = 8
	// roundBytes is how much all queued connections together may move in one
	// round, about 200 µs of work at the CPU per GB of
	// docs/benchmarks.md. A smaller round has more system calls for a byte.
	roundBytes = 1 << 20
)

// A queue holds the connections that wait for a turn, in the order in which
// they asked.
type queue struct {
	conns []*Conn
	head  int // of conns; those before it have had their turn
}

func (q *queue) len() int { return len(q.conns) - q.head }

// add puts c at the end, unless it waits already.
func (q *queue) add(c *Conn) {
	if c.queued {
		return
	}
	c.queued = true
	if q.head > 0 && len(q.conns) == cap(q.conns) {
		n := copy(q.conns, q.conns[q.head:])
		clear(q.conns[n:])
		q.conns, q.head = q.conns[:n], 0
	}
	q.conns = append(q.conns, c)
}

// next takes the first off the queue.
func (q *queue) next() *Conn {
	c := q.conns[q.head]
	q.conns[q.head] = nil
	if q.head++; q.len() == 0 {
		q.conns, q.head = q.conns[:0], 0
	}
	c.queued = false
	return c
}

// takeTurns gives the queue one round. A last turn is not worth its calls when
// it could not fill the loop's buffer.
func (l *loop) takeTurns() {
	round := roundBytes
	// A connection that asks again within the round has its next turn in
	// another: a queue of one would otherwise go round and round.
	for n := l.queue.len(); n > 0 && round >= readSize; n-- {
		c := l.queue.next()
		if c.state == stateClosed || l.setApart(c) {
			continue
		}
		l.left = round
		l.step(c, client, 0)
		round = l.left
	}
	l.busiest = max(l.busiest, roundBytes-round)
}

// enqueue asks for a turn.
func (l *loop) enqueue(c *Conn) { l.queue.add(c) }

// isHeavy reports whether what happened to c can wait for a turn.
func (c *Conn) isHeavy() bool {
	switch c.state {
	case stateRelaying:
		return (c.flows[client].flags|c.flows[origin].flags)&heavy != 0
	case stateLingering:
		return true
	}
	return false
}
