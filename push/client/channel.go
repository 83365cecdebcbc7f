package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// How many messages may wait here: what the server says it sends ahead of the
// acknowledgements, within a bound, and a number for one that says nothing.
const (
	defaultWindow = 1024
	maxWindow     = 16 << 10
)

// A channel is a connection after the exchange. Its owner is Run's goroutine,
// and everything about it happens in serve.
type channel struct {
	*run
	conn   *conn
	who    *identity
	limits wire.Limits
	sealed bool // states are sealed to the server's key

	setup     context.Context // ends when it is too late for Listening; nil once it has come
	listenRef string

	beat  heartbeat
	sent  map[string]string // the state as the server has it
	refs  uint64
	queue []*wire.Message // behind the one in hand; the server's window bounds it

	drainAt  time.Time // zero: no
	draining bool      // nothing is handed over any more
}

// newChannel takes over what the server confirmed, and asks for messages.
func (r *run) newChannel(ctx context.Context, c *conn, who *identity, key *keys.Private, confirmed *wire.Confirmed) (*channel, error) {
	r.learnTime(confirmed.Time, r.cfg.Now())
	next, err := r.adopt(who, key, confirmed)
	if err != nil {
		return nil, err
	}
	ch := &channel{
		run: r, conn: c, who: next, limits: confirmed.Limits, setup: ctx,
		sealed: confirmed.Encryption, beat: newHeartbeat(confirmed, r.cfg.RenewEvery),
	}
	if ch.limits.Window = min(ch.limits.Window, maxWindow); ch.limits.Window <= 0 {
		ch.limits.Window = defaultWindow
	}
	payload := min(max(ch.limits.PayloadBytes, 0), maxPayload)
	c.ws.SetReadLimit(int64(max(startLimit, 2*payload+messageOverhead))) // base64 and, around it, the rest
	r.cfg.OnStatus(Status{Phase: Verified, Binding: confirmed.Binding})
	return ch, ch.listen()
}

// serve is the connection until it ends, and says why it did.
func (ch *channel) serve(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	setup := ch.setup.Done()
	for {
		if err := ch.handOver(); err != nil {
			return err
		}
		if ch.draining && !ch.inHand {
			return errDrained
		}
		timer.Reset(time.Until(ch.nextTime()))
		var err error
		select {
		case f, ok := <-ch.conn.frames:
			if !ok {
				return ch.conn.err
			}
			err = ch.handle(f)
		case res := <-ch.results:
			err = ch.taken(res)
		case <-ch.wake:
			err = ch.reportState()
		case <-timer.C:
			err = ch.tick(time.Now())
		case <-setup:
			setup = nil
			if ch.setup != nil && ctx.Err() == nil {
				return ch.timedOut(ch.setup.Err())
			}
		case <-ctx.Done():
			return ch.stop(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// stop waits for the message in hand, whose context has ended, and
// acknowledges it.
func (ch *channel) stop(ctx context.Context) error {
	if ch.inHand {
		if err := ch.taken(<-ch.results); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// nextTime is when tick has something to do.
func (ch *channel) nextTime() time.Time {
	next := ch.beat.next()
	for _, t := range []time.Time{ch.drainAt, ch.saveAt} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return next
}

func (ch *channel) tick(now time.Time) error {
	if !ch.saveAt.IsZero() && !now.Before(ch.saveAt) {
		ch.saveSeen()
	}
	if !ch.drainAt.IsZero() && !now.Before(ch.drainAt) {
		ch.drainAt, ch.draining = time.Time{}, true
	}
	if !now.Before(ch.beat.next()) {
		return ch.sendHeartbeat(now)
	}
	return nil
}

// handle does what one frame of the server says.
func (ch *channel) handle(f wire.Frame) error {
	switch f := f.(type) {
	case *wire.Message:
		return ch.queued(f)
	case *wire.HeartbeatReply:
		return ch.heartbeatReplied(f)
	case *wire.Listening:
		ch.listening()
	case *wire.OK:
		// A state is taken to hold once it is sent.
	case *wire.Drain:
		ch.drain(f)
	case *wire.Error:
		return ch.refusedFrame(f)
	default:
		return fmt.Errorf("%w: a %s frame after the exchange", wire.OutOfOrder, f.Kind())
	}
	return nil
}

// maxDrain bounds the delay of a drain, during which all goes on as usual.
const maxDrain = 10 * time.Minute

// errDrained ends a connection that the server asked to leave.
var errDrained = errors.New("the server stops")

// drain notes when to leave: at the delay's end, which the server has drawn
// for this terminal so that not all come to the next one at once.
func (ch *channel) drain(d *wire.Drain) {
	delay := time.Duration(min(max(d.DelayMS, 0), maxDrain.Milliseconds())) * time.Millisecond
	ch.drainAt = time.Now().Add(delay)
	ch.cfg.OnStatus(Status{Phase: Drained})
}

// refusedFrame sorts out what an error frame is about.
func (ch *channel) refusedFrame(e *wire.Error) error {
	why := asRefusal(e)
	switch {
	case e.Fatal, ch.setup != nil && e.Ref == ch.listenRef:
		return why
	case ch.beat.awaiting() && e.Ref == "" && isRenewalCode(e.Code):
		return ch.renewalRefused(why)
	}
	ch.cfg.Log.Warn("the server refused a frame", "ref", printable(e.Ref), "err", why)
	return nil
}
