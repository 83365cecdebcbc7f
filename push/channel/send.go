package channel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// send gives m to the sink and reports whether that went well; if not, the
// channel has ended. waited says that m was held.
func (c *Channel) send(m *store.Message, waited bool) bool {
	if err := c.sink.Send(Wire(m, m.Seq <= c.doubtful)); err != nil {
		c.r.end(c, codeOf(err), err.Error(), true)
		return false
	}
	if waited || m.Seq <= c.first {
		c.r.c.Metrics.Replayed()
	} else {
		c.r.c.Metrics.Delivered(c.r.c.Now().Sub(m.Published))
	}
	return true
}

// Wire returns m as it is sent.
func Wire(m *store.Message, redelivered bool) *wire.Message {
	to := "app"
	if m.Token != "" {
		to = "token"
	}
	return &wire.Message{
		ID: m.ID, Seq: m.Seq, To: to,
		Time: millis(m.Published), Expires: millis(m.Expires),
		Data: m.Data, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding,
		Topic: m.Topic, Urgency: m.Urgency,
		Redelivered: redelivered,
	}
}

// release returns a held message that is due, for sending, or nil if it is not
// any more: it may have expired or been replaced, and the state may change
// again while it is read.
func (c *Channel) release(ctx context.Context, seq uint64) (*store.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	m, err := c.r.c.Store.Message(ctx, seq)
	gone := errors.Is(err, store.ErrNotFound)
	if err != nil && !gone {
		return nil, fmt.Errorf("message %d: %w", seq, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at, found := c.findHeld(seq)
	if c.ended != nil || !found || !c.held[at].due {
		return nil, nil
	}
	feed := int(c.held[at].feed)
	c.dropHeld(func(h *held) bool { return h.seq == seq })
	if gone || expired(&m, c.r.c.Now()) {
		return nil, nil
	}
	c.fly(seq, feed)
	return &m, nil
}

func expired(m *store.Message, now time.Time) bool {
	return !m.Expires.IsZero() && !now.Before(m.Expires)
}

// settled reports whether seq was acknowledged, is in flight or is held: so
// where a feed went back, and above the floor of a cursor.
func (c *Channel) settled(seq uint64, feed int) bool {
	_, flying := c.findFlight(seq)
	_, waits := c.findHeld(seq)
	_, done := slices.BinarySearch(c.feeds[feed].cursor.Above, seq)
	// To the token: acknowledged, and still to be deleted.
	return flying || waits || done || slices.Contains(c.recent, seq)
}
