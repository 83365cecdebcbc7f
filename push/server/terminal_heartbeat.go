package server

import (
	"context"
	"fmt"
	"time"

	"keyhole/push/auth"
	"keyhole/push/keys"
	"keyhole/push/wire"
)

// nonceSize is the length of the nonce of a renewal, in bytes.
const nonceSize = 16

// heartbeat answers a heartbeat, with a renewal of the client's key where one
// is asked for (K3, K4). One that is refused is answered by its error alone,
// and nothing has changed but the nonce, which is used.
func (t *terminal) heartbeat(ctx context.Context, f *wire.Heartbeat) error {
	received := t.s.now()
	t.touch()
	if f.NewKey == "" && f.Offset == nil && f.Renewal == nil {
		err := t.out.send(t.reply())
		t.keepToken(ctx, received)
		return err
	}
	nonce := t.nonce
	t.nonce = nil
	if f.Offset == nil || f.Renewal == nil {
		return fmt.Errorf("%w: new_key, offset and renewal come together or not at all", wire.RenewalIncomplete)
	}
	session, token, err := t.s.config.Auth.Renew(ctx, t.session, auth.RenewRequest{
		NewKey: f.NewKey, Offset: *f.Offset, Renewal: *f.Renewal, Nonce: nonce, Received: received,
	})
	if err != nil {
		return err
	}
	t.s.metrics.renewals.Inc()
	err = t.out.sendMade(func() (wire.Frame, error) {
		t.adopt(session) // a message before this reply is sealed to the old key, one after it to the new
		r := t.reply()
		r.Session = token
		return r, nil
	})
	t.announceRenewal(ctx)
	return err
}

func (t *terminal) reply() *wire.HeartbeatReply {
	return &wire.HeartbeatReply{
		Time: t.s.now().UnixMilli(), STime: t.session.Record.STime, Epoch: t.session.Record.Epoch,
		Nonce: t.newNonce(), ServerKey: t.nextServerKey(),
	}
}

// newNonce replaces the nonce: only the last one that was handed out is good.
func (t *terminal) newNonce() wire.Bytes {
	t.nonce = random(nonceSize)
	return t.nonce
}

// nextServerKey is the server's key once it has been renewed (K5), and nil when
// the client knows it already.
func (t *terminal) nextServerKey() *wire.Key {
	next := t.s.config.Auth.ServerKey(t.known)
	if next == nil {
		return nil
	}
	if key, err := keys.ParsePublic(next.Public); err == nil { // it is the server's own
		t.known = key.KID()
	}
	return next
}

// keepToken notes once a day that the message token is in use, or that of a
// terminal which never has to connect again would expire. If the store does not
// take it, the next heartbeat tries again.
func (t *terminal) keepToken(ctx context.Context, now time.Time) {
	if t.noted.IsZero() || now.Sub(t.noted) < 24*time.Hour {
		return
	}
	token, err := t.s.config.Store.Token(ctx, t.channel.Attributes().Token)
	if err == nil {
		err = t.s.config.Store.TouchToken(ctx, token, now)
	}
	if err != nil {
		t.s.log.Warn("use of a message token not noted", "conn", t.id, "err", err)
		return
	}
	t.noted = now
}

// touch notes that the terminal is alive.
func (t *terminal) touch() { t.beat.Store(int64(t.s.now().Sub(t.s.started))) }

// sweep ends terminals that have fallen silent, and those whose session has
// expired, until ctx ends. One sweeper looks at all of them, so that none has a
// timer.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(max(s.config.Heartbeat/4, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, t := range s.live.list() {
			if err := t.overdue(); err != nil {
				go t.fail(err)
			}
		}
	}
}

// overdue is why the terminal has to go, or nil. It may miss two heartbeats,
// and half of the interval for what delays the third.
func (t *terminal) overdue() error {
	expires := t.expires.Load()
	now, most := t.s.now(), 5*t.s.config.Heartbeat/2
	switch silent := now.Sub(t.s.started) - time.Duration(t.beat.Load()); {
	case expires == 0: // not verified: the exchange has a deadline of its own
		return nil
	case now.UnixMilli() >= expires:
		return fmt.Errorf("%w: it ended at %s; log in again", wire.SessionExpired, time.UnixMilli(expires).UTC().Format(time.RFC3339))
	case silent > most:
		return fmt.Errorf("%w: no heartbeat for %s, want one every %s", wire.IdleTimeout, silent.Round(time.Millisecond), t.s.config.Heartbeat)
	}
	return nil
}
