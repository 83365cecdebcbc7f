package channel

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"keyhole/push/store"
)

// queueMax is how many messages a channel keeps up to date in memory while its
// Sink is busy; the rest is read from the store.
const queueMax = 16

// offer gives c a message of one of its feeds, fresh from the subscription. It
// does not block: who is slow reads the store later.
func (c *Channel) offer(m *store.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended != nil:
		return
	case !c.behind && len(c.queue) < queueMax && c.room() > 0:
		c.queue = append(c.queue, m)
	default:
		f := &c.feeds[feedOf(m)]
		f.missed = max(f.missed, m.Seq)
		if !c.behind {
			c.fallBehind()
		}
	}
	c.kick()
}

// fallBehind has the feeds read from the store from their positions on.
func (c *Channel) fallBehind() {
	c.behind, c.queue = true, nil
	c.reset++
}

// kick starts the pump if there is something for it to do.
func (c *Channel) kick() {
	if c.running || !c.started || c.ended != nil || c.room() <= 0 {
		return
	}
	if c.due > 0 || len(c.queue) > 0 || c.behind {
		var ctx context.Context
		ctx, c.cancel = context.WithCancel(context.Background()) // stop cancels it
		c.running = true
		c.r.tasks.Go(func() { c.pump(ctx) })
	}
}

// A step is what the pump does next. The zero value ends it.
type step struct {
	send  *store.Message
	fetch uint64 // a held message that is due
	read  bool   // from the store
}

// pump sends until there is nothing to send, no room for it, or the channel
// has ended.
func (c *Channel) pump(ctx context.Context) {
	var b backlog
	failures := 0
	for {
		s := c.next(&b)
		if s == (step{}) {
			return
		}
		m, err := c.load(ctx, &b, s)
		if err != nil {
			if ctx.Err() == nil { // or the channel has ended, and nothing waits
				c.r.complain(err)
			}
			pause(ctx, failures)
			failures++
			continue
		}
		failures = 0
		if m != nil && !c.send(m, s.fetch != 0) {
			return
		}
	}
}

// load does what a step needs the store for, and returns the message to send,
// if it is known by now.
func (c *Channel) load(ctx context.Context, b *backlog, s step) (*store.Message, error) {
	switch {
	case s.fetch != 0:
		return c.release(ctx, s.fetch)
	case s.read:
		return nil, b.read(ctx, c.r)
	}
	return s.send, nil
}

// pause waits longer with every failure, up to 5 seconds, at random so that
// channels do not ask all at once.
func pause(ctx context.Context, failures int) {
	most := min(100*time.Millisecond<<min(failures, 10), 5*time.Second)
	t := time.NewTimer(most/2 + rand.N(most/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// next decides on the next step: what was held longest, then what was offered,
// then what is stored.
func (c *Channel) next(b *backlog) step {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.ended == nil && c.room() > 0 {
		switch {
		case c.due > 0:
			return step{fetch: c.nextDue()}
		case len(c.queue) > 0:
			m := c.queue[0]
			if c.queue = c.queue[1:]; len(c.queue) == 0 {
				c.queue = nil
			}
			if c.consider(m) {
				return step{send: m}
			}
		case c.behind:
			if s, ok := c.catchUp(b); ok {
				return s
			}
		default:
			return c.idle()
		}
	}
	return c.idle()
}

// idle ends the pump. In the critical section that found nothing to do, or
// what comes right after would find it running.
func (c *Channel) idle() step {
	c.running = false
	c.cancel()
	c.cancel = nil
	return step{}
}

// consider moves the feed of m past it, and reports whether m is to be sent;
// then it is in flight.
func (c *Channel) consider(m *store.Message) bool {
	i := feedOf(m)
	f := &c.feeds[i]
	if m.Seq <= f.pos {
		return false
	}
	f.pos = m.Seq
	if c.settled(m.Seq, i) || expired(m, c.r.c.Now()) {
		return false
	}
	cond, err := c.r.parse(m.Condition)
	if err != nil {
		// A newer server knows what it means: leave it to that one.
		c.r.complain(fmt.Errorf("message %q: %w", m.ID, err))
		f.skip(m.Seq)
		return false
	}
	if !cond.Match(c.state) {
		c.hold(m, i, cond)
		return false
	}
	c.fly(m.Seq, i)
	return true
}
