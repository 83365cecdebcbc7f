package auth

import (
	"context"
	"time"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

const (
	lookEvery  = time.Minute // at least this often at the clock: a timer stands still while the machine sleeps
	sweepEvery = time.Hour
	retryAfter = 5 * time.Second
)

// Run renews the server key whenever its deadline passes (K5), and removes
// message tokens that have expired. The deadline is in the store: a restart
// does not reset it, and of several nodes one renews the key for all. What
// fails is logged and tried again. Run returns the error of ctx when that ends.
func (a *Auth) Run(ctx context.Context) error {
	var swept time.Time
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake.C:
		}
		wait := a.renewServerKey(ctx)
		if now := a.now(); now.Sub(swept) >= sweepEvery {
			a.sweep(ctx)
			swept = now
		}
		wake.Reset(wait)
	}
}

// renewServerKey returns how long to wait before it is called again.
func (a *Auth) renewServerKey(ctx context.Context) (wait time.Duration) {
	if left := a.ring.get().Rotate.Sub(a.now()); left > 0 {
		return min(left, lookEvery)
	}
	renewed, err := a.ring.rotate(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.log.Error("server key not renewed", "error", err, "retry", retryAfter)
		}
		return retryAfter
	}
	ring := a.ring.get()
	if renewed {
		a.log.Info("server key renewed", "kid", ring.Current().ID(), "next", ring.Rotate)
	}
	if left := ring.Rotate.Sub(a.now()); left > 0 {
		return min(left, lookEvery)
	}
	return retryAfter // another node was first, and the store does not say yet by what
}

func (a *Auth) sweep(ctx context.Context) {
	n, err := a.store.SweepTokens(ctx, a.config.TokenIdle+day) // day: as in expired
	if err != nil {
		if ctx.Err() == nil {
			a.log.Error("expired message tokens not removed", "error", err, "retry", sweepEvery)
		}
		return
	}
	if n > 0 {
		a.log.Info("expired message tokens removed", "count", n)
	}
}

// ServerKey returns the current server key for a client that has the one with
// the id after, or nil if that is current (K5). It is signed by the client's
// own key, which the ring holds as long as there are sessions sealed to it: a
// client that missed several renewals could not follow the signature of the
// last key before.
func (a *Auth) ServerKey(after keys.KID) *wire.Key {
	ring := a.ring.get()
	current := ring.Current()
	if current.ID() == after {
		return nil
	}
	k := &wire.Key{
		Public:    current.Private.Public().String(),
		Previous:  current.Previous.String(),
		Signature: current.Signature,
	}
	signer := ring.Find(after)
	if signer == nil || after == current.Previous {
		return k
	}
	signature, err := signer.Private.SignServerKey(current.Private.Public())
	if err != nil {
		a.log.Error("server key not signed for a client", "kid", after, "error", err)
		return nil
	}
	k.Previous, k.Signature = after.String(), signature
	return k
}
