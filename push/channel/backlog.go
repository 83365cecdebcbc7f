package channel

import (
	"context"
	"fmt"
	"time"

	"keyhole/push/store"
)

// readMax is how many messages of a feed are read at once.
const readMax = 32

// readTimeout is how long the store may take before that is logged, and
// others are let in to read.
const readTimeout = 10 * time.Second

// A backlog is what a pump has read of the feeds of a channel and not yet
// considered: one round, up to where the subscription was at its beginning.
// The zero value is to be begun.
type backlog struct {
	begun bool
	reset uint32 // of the channel
	upTo  uint64
	max   int // messages of a feed in the next read
	feeds [feedCount]stretch
}

// A stretch is the part of one feed.
type stretch struct {
	subject  string
	app      bool   // AppLast knows whether it is worth reading
	after    uint64 // read up to here
	done     bool   // there are no more
	unread   bool   // AppLast said so
	messages []store.Message
}

func (s *stretch) empty() bool { return len(s.messages) == 0 && !s.done }

// catchUp returns the next step of reading the feeds from the store, and false
// when another look at what there is to do comes first.
func (c *Channel) catchUp(b *backlog) (step, bool) {
	if !b.begun || b.reset != c.reset {
		*b = c.begin()
	}
	b.max = min(c.room(), readMax)
	if b.incomplete() {
		return step{read: true}, true
	}
	m := b.pop()
	if m == nil {
		c.caughtUp(b)
		return step{}, false
	}
	return step{send: m}, c.consider(m)
}

// begin returns a round that has read nothing yet.
func (c *Channel) begin() backlog {
	b := backlog{begun: true, reset: c.reset, upTo: c.r.Last()}
	for i := range c.feeds {
		f := &c.feeds[i]
		subject := c.subject(i)
		b.feeds[i] = stretch{
			subject: subject, after: f.pos, done: subject == "",
			app: f.group != nil && f.missed <= f.pos,
		}
	}
	return b
}

// caughtUp ends a round: nothing is left up to b.upTo. What was offered since
// needs another one.
func (c *Channel) caughtUp(b *backlog) {
	c.behind = false
	for i := range c.feeds {
		f := &c.feeds[i]
		// AppLast may not know yet of the message that is being handed over,
		// which b.upTo is the sequence of: where nothing was read, the position
		// stays before it.
		if !b.feeds[i].unread {
			f.pos = max(f.pos, b.upTo)
		}
		if f.missed > f.pos {
			c.behind = true
		}
	}
	*b = backlog{}
}

// incomplete reports whether the next message in order is not known: it could
// be of a feed that nothing is at hand of.
func (b *backlog) incomplete() bool {
	for i := range b.feeds {
		if b.feeds[i].empty() {
			return true
		}
	}
	return false
}

// pop returns the message with the lowest sequence, nil at the end.
func (b *backlog) pop() *store.Message {
	var first *stretch
	for i := range b.feeds {
		s := &b.feeds[i]
		if len(s.messages) > 0 && (first == nil || s.messages[0].Seq < first.messages[0].Seq) {
			first = s
		}
	}
	if first == nil {
		return nil
	}
	m := &first.messages[0]
	first.messages = first.messages[1:]
	return m
}

// read reads more of the feeds that nothing is at hand of.
func (b *backlog) read(ctx context.Context, r *Registry) error {
	select {
	case r.reads <- struct{}{}:
		defer func() { <-r.reads }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for i := range b.feeds {
		if s := &b.feeds[i]; s.empty() {
			if err := s.read(ctx, r.c.Store, b.upTo, b.max); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *stretch) read(ctx context.Context, from Source, upTo uint64, max int) error {
	if s.app && from.AppLast(s.subject) <= s.after {
		s.done, s.unread = true, true
		return nil
	}
	messages, err := from.Backlog(ctx, s.subject, s.after, upTo, max)
	if err != nil {
		return fmt.Errorf("backlog of %s: %w", s.subject, err)
	}
	if s.messages = messages; len(messages) > 0 {
		s.after = messages[len(messages)-1].Seq
	}
	s.done = len(messages) < max
	return nil
}
