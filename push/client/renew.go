package client

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// renew puts a renewal of the client's key into a heartbeat when one is due:
// once the offset, the server's time since the session token was made, has
// grown to renewEvery (K6). Its fields stay empty otherwise (K3).
//
// The new key is saved before it is sent. If that fails, there is no renewal:
// with the reply and this process lost, the server would have a key that
// nobody has.
func (ch *channel) renew(f *wire.Heartbeat) error {
	h := &ch.beat
	offset := ch.serverNow().UnixMilli() - h.sTime
	if h.nonce == nil || offset < h.renewEvery.Milliseconds() {
		return nil
	}
	if err := ch.preparePending(); err != nil {
		ch.cfg.Log.Error("key is not renewed", "err", err)
		return nil
	}
	who := ch.who
	oldSig, newSig, err := keys.SignRenewal(who.key, who.pending, who.session, offset, h.epoch+1, h.nonce)
	if err != nil {
		return err
	}
	f.NewKey, f.Offset = who.pending.Public().String(), &offset
	f.Renewal = &wire.Renewal{
		Session: who.session, Epoch: h.epoch + 1, Nonce: h.nonce, OldSignature: oldSig, NewSignature: newSig,
	}
	h.renewing, h.nonce = true, nil // a nonce is for one
	ch.pendingFirst = true
	return nil
}

// preparePending sees to it that there is a saved pending key. One that was
// sent before is sent again: should the server take the first request after
// all, late, it is the same key that it has.
func (ch *channel) preparePending() error {
	next := *ch.who
	if next.pending == nil {
		key, err := keys.Generate()
		if err != nil {
			return err
		}
		next.pending = key
		if !ch.replace(ch.who, &next) {
			return errReplaced
		}
		ch.who = &next
	}
	return ch.save()
}

// adoptReply takes the new keys of a heartbeat's reply: the server's own, when
// it has renewed it, and a new session, when it has renewed the client's.
func (ch *channel) adoptReply(reply *wire.HeartbeatReply) error {
	next, err := ch.who.following(reply.ServerKey, reply.Session)
	if err != nil {
		return err
	}
	renewed := ch.beat.renewing && reply.Session != "" && reply.Epoch == ch.beat.epoch+1
	if renewed {
		ch.previous, ch.pendingFirst = ch.who.key, false
		next = next.renewed()
	}
	if ch.who, err = ch.adopted(ch.who, next); err != nil {
		return err
	}
	if renewed {
		ch.cfg.OnStatus(Status{Phase: Renewed})
	}
	return nil
}

// isRenewalCode reports whether a refusal is of a renewal.
func isRenewalCode(code wire.Code) bool {
	return slices.Contains([]wire.Code{
		wire.RenewalIncomplete, wire.RenewalUserMismatch, wire.OffsetOutOfRange, wire.NonceInvalid,
		wire.EpochInvalid, wire.RenewalSignatureInvalid, wire.RenewalConflict,
	}, code)
}

// renewalRefused goes on with the old key. The next heartbeat is a plain one,
// whose reply brings a nonce and the server's time, and the one after it tries
// again with the same key. Where the server speaks of another epoch, it may
// have taken an earlier request whose reply was lost: a new connection finds
// out which key it has.
func (ch *channel) renewalRefused(why *refusal) error {
	ch.cfg.Log.Warn("the server refused a new key", "err", why)
	if why.code == wire.EpochInvalid || why.code == wire.RenewalConflict {
		return fmt.Errorf("renew the key: %w", why)
	}
	ch.beat.renewing = false
	ch.beat.schedule(time.Now())
	return nil
}

// errReplaced is of an identity that Pull or Run has changed meanwhile, as by
// logging in again. The next connection has the new one.
var errReplaced = errors.New("the session was replaced meanwhile")
