package channel

import (
	"cmp"
	"slices"
	"time"

	"keyhole/push/condition"
	"keyhole/push/store"
)

// A held message is one whose condition is false. Its content is in the store.
type held struct {
	seq       uint64
	expires   int64 // milliseconds of Unix time; 0: never
	condition condition.Condition
	feed      uint8
	due       bool // its condition is true by now
}

// A parsed condition, and what it was parsed from.
type parsed struct {
	text string
	condition.Condition
}

// parse is condition.Parse, but for the same text as the last time: a message
// to an app comes here once for every terminal, and those that hold it share
// what was parsed.
func (r *Registry) parse(text string) (condition.Condition, error) {
	if text == "" {
		return condition.Condition{}, nil
	}
	if p := r.parsed.Load(); p != nil && p.text == text {
		return p.Condition, nil
	}
	c, err := condition.Parse(text)
	if err == nil {
		r.parsed.Store(&parsed{text, c})
	}
	return c, err
}

// hold keeps m back until its condition is true. When there are too many, it is
// read from the store again after the next state report.
func (c *Channel) hold(m *store.Message, feed int, cond condition.Condition) {
	if len(c.held) >= c.r.c.HoldMax {
		c.dropExpired()
	}
	if len(c.held) >= c.r.c.HoldMax {
		c.feeds[feed].skip(m.Seq)
		return
	}
	at, _ := c.findHeld(m.Seq)
	c.held = slices.Insert(c.held, at, held{seq: m.Seq, expires: millis(m.Expires), condition: cond, feed: uint8(feed)})
	c.r.c.Metrics.Held(1)
}

// skip passes over a message that is neither sent nor held.
func (f *feed) skip(seq uint64) {
	if f.skipped == 0 || seq < f.skipped {
		f.skipped = seq
	}
}

// reconsider measures what is held against a new state.
func (c *Channel) reconsider() {
	c.dropExpired()
	c.due = 0
	for i := range c.held {
		h := &c.held[i]
		if h.due = h.condition.Match(c.state); h.due {
			c.due++
		}
	}
	for i := range c.feeds {
		if f := &c.feeds[i]; f.skipped != 0 {
			f.pos, f.skipped = f.skipped-1, 0
			c.fallBehind()
		}
	}
}

// nextDue returns the first of held that is due. There is one.
func (c *Channel) nextDue() uint64 {
	at := slices.IndexFunc(c.held, func(h held) bool { return h.due })
	return c.held[at].seq
}

func (c *Channel) dropExpired() {
	now := millis(c.r.c.Now())
	c.dropHeld(func(h *held) bool { return h.expires != 0 && h.expires <= now })
}

// dropHeld forgets those of held that drop is true for.
func (c *Channel) dropHeld(drop func(*held) bool) {
	before := len(c.held)
	c.held = slices.DeleteFunc(c.held, func(h held) bool {
		gone := drop(&h)
		if gone && h.due {
			c.due--
		}
		return gone
	})
	if n := before - len(c.held); n > 0 {
		c.r.c.Metrics.Held(-n)
	}
	if len(c.held) == 0 {
		c.held = nil
	}
}

func (c *Channel) findHeld(seq uint64) (at int, found bool) {
	return slices.BinarySearchFunc(c.held, seq, func(h held, seq uint64) int { return cmp.Compare(h.seq, seq) })
}

// millis returns the milliseconds of Unix time, and 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
