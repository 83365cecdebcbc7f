package channel

import (
	"cmp"
	"fmt"
	"slices"

	"keyhole/push/wire"
)

// A flight is a message on its way.
type flight struct {
	seq   uint64
	group *group // nil: of the token
}

// Ack takes messages as delivered for good: those to the token are deleted,
// those to the app are remembered with the terminal. Messages acknowledged a
// second time, within the last Window, are fine. An error wraps
// wire.AckUnknown, or the code that the channel has ended with, and nothing
// has changed.
func (c *Channel) Ack(seqs []uint64) error {
	deleted, n, err := c.land(seqs)
	if err != nil {
		return err
	}
	if len(deleted) > 0 {
		c.r.c.Store.Delete(deleted...)
	}
	if n > 0 {
		c.r.c.Metrics.Acknowledged(n)
	}
	return nil
}

// land returns the messages to delete and how many were acknowledged.
func (c *Channel) land(seqs []uint64) (deleted []uint64, n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil, 0, c.ended
	}
	for _, seq := range seqs {
		if _, found := c.findFlight(seq); !found && !slices.Contains(c.recent, seq) {
			return nil, 0, fmt.Errorf("%w: %d was not sent on this connection, or acknowledged long ago", wire.AckUnknown, seq)
		}
	}
	for _, seq := range seqs {
		at, found := c.findFlight(seq)
		if !found {
			continue
		}
		n++
		c.remember(seq)
		g := c.inflight[at].group
		c.inflight = slices.Delete(c.inflight, at, at+1)
		if g == nil {
			deleted = append(deleted, seq)
		} else {
			c.acknowledge(g, seq)
		}
	}
	if n > len(deleted) {
		c.touch()
	}
	c.kick()
	return deleted, n, nil
}

// remember keeps seq among the last Window acknowledged.
func (c *Channel) remember(seq uint64) {
	if len(c.recent) == c.r.c.Window {
		c.recent = slices.Delete(c.recent, 0, 1)
	}
	c.recent = append(c.recent, seq)
}

// recently returns the last Window acknowledged.
func (c *Channel) recently() []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.recent)
}

func (c *Channel) findFlight(seq uint64) (at int, found bool) {
	return slices.BinarySearchFunc(c.inflight, seq, func(f flight, seq uint64) int { return cmp.Compare(f.seq, seq) })
}

// fly notes that seq is on its way: before it is, or its acknowledgement could
// come first.
func (c *Channel) fly(seq uint64, feed int) {
	at, _ := c.findFlight(seq)
	c.inflight = slices.Insert(c.inflight, at, flight{seq, c.feeds[feed].group})
	c.sent = max(c.sent, seq)
}

// room is how many messages may be sent before one is acknowledged.
func (c *Channel) room() int { return c.r.c.Window - len(c.inflight) }
