package relay

import (
	"math/bits"
	"time"
)

const (
	tick     = 50 * time.Millisecond // a deadline is kept to within one tick, never early
	wheelLen = 4096                  // ticks ahead that the wheel reaches: 204.8 s
)

// A wheel keeps the deadlines of a loop's connections: one list for each
// tick, linked through the connections themselves. Traffic only moves a
// connection's own idea of its deadline; the wheel looks at that when the
// tick comes round and puts the connection back if it is not due. So an
// entry costs nothing while bytes flow, and no timer belongs to anyone.
type wheel struct {
	lists [wheelLen]*Conn
	used  [wheelLen / 64]uint64 // a bit for each list that is not empty
	now   int64                 // the last tick that was looked at
}

func ticks(nanos int64) int64 { return (nanos + int64(tick) - 1) / int64(tick) }

// put enters c for the time at (in the loop's nanoseconds). An entry that is
// already due earlier stays: it will be looked at then.
func (w *wheel) put(c *Conn, at int64) {
	t := max(ticks(at), w.now+1)
	if c.wtick != 0 {
		if c.wtick <= t {
			return
		}
		w.remove(c)
	}
	t = min(t, w.now+wheelLen-1)
	c.wtick = t
	i := t % wheelLen
	c.wprev, c.wnext = nil, w.lists[i]
	if c.wnext != nil {
		c.wnext.wprev = c
	}
	w.lists[i] = c
	w.used[i/64] |= 1 << (i % 64)
}

func (w *wheel) remove(c *Conn) {
	if c.wtick == 0 {
		return
	}
	i := c.wtick % wheelLen
	if c.wnext != nil {
		c.wnext.wprev = c.wprev
	}
	if c.wprev != nil {
		c.wprev.wnext = c.wnext
	} else if w.lists[i] = c.wnext; c.wnext == nil {
		w.used[i/64] &^= 1 << (i % 64)
	}
	c.wnext, c.wprev, c.wtick = nil, nil, 0
}

// advance takes every connection whose tick has passed off the wheel and
// hands it to due.
func (w *wheel) advance(now int64, due func(*Conn)) {
	target := now / int64(tick)
	for w.now < target {
		next := w.next()
		if next == 0 || next > target {
			w.now = target
			return
		}
		w.now = next
		for c := w.lists[next%wheelLen]; c != nil; c = w.lists[next%wheelLen] {
			w.remove(c)
			due(c)
		}
	}
}

// next returns the first tick after now with an entry, or 0.
func (w *wheel) next() int64 {
	first := w.now + 1
	for i := range int64(wheelLen/64 + 1) {
		at := first + i*64 - (first+i*64)%64 // the tick of the word's first bit
		word := w.used[at%wheelLen/64]
		if i == 0 {
			word &= ^uint64(0) << (first % 64)
		}
		if word == 0 {
			continue
		}
		if t := at + int64(bits.TrailingZeros64(word)); t < first+wheelLen-1 {
			return t
		}
	}
	return 0
}
