package client

import (
	"fmt"
	"math/rand/v2"
	"time"

	"keyhole/push/wire"
)

// Bounds of what a server can ask for, and the interval where it says nothing.
const (
	defaultHeartbeat = 4 * time.Minute
	minHeartbeat     = 10 * time.Millisecond
	maxHeartbeat     = time.Hour
)

// A reply is waited for during two intervals, within these bounds: a server
// may ask for heartbeats far closer than a slow network answers, and with the
// usual 4 minutes a connection that is gone must show sooner.
const (
	minReplyWait = 5 * time.Second
	maxReplyWait = 30 * time.Second
)

// A heartbeat is where a channel stands with its heartbeats. One is on its way
// at a time, or a renewal could carry the nonce of a reply that another reply
// has outdated.
type heartbeat struct {
	every      time.Duration
	renewEvery time.Duration // of offset

	at      time.Time // when the next is due
	replyBy time.Time // zero: none is on its way
	sent    time.Time // on Config.Now's clock

	sTime int64 // of the last reply, as are the others
	epoch uint64
	nonce wire.Bytes // nil: used, or refused

	renewing bool // the one on its way asks for a renewal
}

func newHeartbeat(c *wire.Confirmed, renewEvery time.Duration) heartbeat {
	if renewEvery == 0 {
		renewEvery = or(milliseconds(c.RenewMS), defaultRenewEvery)
	}
	h := heartbeat{
		every:      min(max(or(milliseconds(c.HeartbeatMS), defaultHeartbeat), minHeartbeat), maxHeartbeat),
		renewEvery: renewEvery, sTime: c.STime, epoch: c.Epoch, nonce: c.Nonce,
	}
	h.schedule(time.Now())
	return h
}

// milliseconds is ms as a duration, 0 when it is not a sensible one.
func milliseconds(ms int64) time.Duration {
	if ms < 0 || ms > (1<<63-1)/int64(time.Millisecond) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// schedule plans the next heartbeat, up to a tenth of the interval early:
// never late, since the server counts, and not all terminals at once.
func (h *heartbeat) schedule(now time.Time) {
	h.at = now.Add(h.every - rand.N(h.every/10+1))
	h.replyBy = time.Time{}
}

func (h *heartbeat) awaiting() bool { return !h.replyBy.IsZero() }

// next is when something is due: the heartbeat, or its reply.
func (h *heartbeat) next() time.Time {
	if h.awaiting() {
		return h.replyBy
	}
	return h.at
}

// sendHeartbeat is called when the next one is due, or the last one's reply.
func (ch *channel) sendHeartbeat(now time.Time) error {
	h := &ch.beat
	if h.awaiting() {
		return fmt.Errorf("no reply to a heartbeat within %s", h.replyWait())
	}
	h.sent = ch.cfg.Now()
	f := &wire.Heartbeat{Sent: h.sent.UnixMilli()}
	if err := ch.renew(f); err != nil {
		return err
	}
	h.replyBy = now.Add(h.replyWait())
	return ch.conn.write(f)
}

func (h *heartbeat) replyWait() time.Duration {
	return min(max(2*h.every, minReplyWait), maxReplyWait)
}

// heartbeatReplied takes the server's time, its keys and the next nonce.
func (ch *channel) heartbeatReplied(reply *wire.HeartbeatReply) error {
	h := &ch.beat
	if !h.awaiting() {
		return fmt.Errorf("%w: a heartbeat_reply to nothing", wire.OutOfOrder)
	}
	now := ch.cfg.Now()
	ch.learnTime(reply.Time, h.sent.Add(now.Sub(h.sent)/2)) // half of the way there and back
	if err := ch.adoptReply(reply); err != nil {
		return err
	}
	h.sTime, h.epoch, h.nonce = reply.STime, reply.Epoch, reply.Nonce
	h.renewing = false
	h.schedule(time.Now())
	return nil
}
