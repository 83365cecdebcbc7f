package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// A RenewRequest is a heartbeat whose reserved fields are filled (K3).
type RenewRequest struct {
	NewKey string // keys.Public in text
	Offset int64  // milliseconds: send time minus the session's s_time, by the client's clock
	wire.Renewal

	Nonce    []byte    // of the last reply on this connection; empty when it was used, which no client's is
	Received time.Time // when the heartbeat came in; zero: now
}

// Renew replaces the client's key (K4). It checks, in this order, that the
// request is complete (wire.RenewalIncomplete, wire.BadFrame), that its token
// opens (wire.SessionInvalid, wire.SessionExpired), that it is of the user,
// device, app and session of s (wire.RenewalUserMismatch) and is the current
// one (wire.SessionRevoked, wire.AccountDisabled, wire.SessionStale), the
// offset (wire.OffsetOutOfRange), the nonce (wire.NonceInvalid), the epoch
// (wire.EpochInvalid), and the signatures by both keys
// (wire.RenewalSignatureInvalid). Of several renewals at once one wins, and
// the others get wire.RenewalConflict, or wire.SessionStale.
//
// The reply is the session with its new key, which holds from the next message
// on, and its token. Whatever the outcome, the caller takes the nonce for
// used.
func (a *Auth) Renew(ctx context.Context, s *Session, r RenewRequest) (*Session, string, error) {
	newKey, err := r.complete()
	if err != nil {
		return nil, "", err
	}
	current, err := a.renewable(ctx, s, r.Session)
	if err != nil {
		return nil, "", err
	}
	if r.Received.IsZero() {
		r.Received = a.now()
	}
	if err := r.check(current, newKey, a.config.OffsetThreshold); err != nil {
		return nil, "", err
	}
	return a.replaceKey(ctx, current.Record, newKey, r.Received)
}

func (r *RenewRequest) complete() (newKey keys.Public, err error) {
	for _, f := range []struct {
		name  string
		empty bool
	}{
		{"new_key", r.NewKey == ""},
		{"session", r.Session == ""},
		{"nonce", len(r.Renewal.Nonce) == 0},
		{"old_signature", len(r.OldSignature) == 0},
		{"new_signature", len(r.NewSignature) == 0},
	} {
		if f.empty {
			return newKey, fmt.Errorf("%w: %s is empty", wire.RenewalIncomplete, f.name)
		}
	}
	if newKey, err = keys.ParsePublic(r.NewKey); err != nil {
		return newKey, fmt.Errorf("%w: new_key: %w", wire.BadFrame, err)
	}
	return newKey, nil
}

// renewable opens the session token in a renewal. Whose it is comes before its
// record is read: the state of another's session is nobody's business.
func (a *Auth) renewable(ctx context.Context, s *Session, token string) (*Session, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	claims, server, err := a.unseal(ctx, token)
	if err != nil {
		return nil, err
	}
	if claims.User != s.Claims.User || claims.Device != s.Claims.Device ||
		claims.App != s.Claims.App || claims.ID != s.Claims.ID {
		return nil, fmt.Errorf("%w: the session in it is not the one of this connection", wire.RenewalUserMismatch)
	}
	current, err := a.match(ctx, claims, server)
	if err != nil {
		return nil, err
	}
	return current, current.usable()
}

func (r *RenewRequest) check(current *Session, newKey keys.Public, threshold time.Duration) error {
	rec, old := current.Record, current.Client
	own := r.Received.UnixMilli() - rec.STime
	switch most := threshold.Milliseconds(); {
	case r.Offset < own-most || r.Offset > own+most: // not by their difference, which can overflow
		return fmt.Errorf("%w: it is %d ms, the server's own is %d ms, want at most %d ms between them; wait for a heartbeat reply and measure anew",
			wire.OffsetOutOfRange, r.Offset, own, most)
	case subtle.ConstantTimeCompare(r.Nonce, r.Renewal.Nonce) == 0:
		return fmt.Errorf("%w: want the nonce of the last heartbeat reply, once", wire.NonceInvalid)
	case r.Epoch != rec.Epoch+1:
		return fmt.Errorf("%w: it is %d, want %d", wire.EpochInvalid, r.Epoch, rec.Epoch+1)
	case !keys.VerifyRenewal(old, newKey, r.Session, r.Offset, r.Epoch, r.Renewal.Nonce, r.OldSignature, r.NewSignature):
		return fmt.Errorf("%w: want one by the key in use and one by the new key", wire.RenewalSignatureInvalid)
	case newKey == old:
		return fmt.Errorf("%w: new_key is the key in use", wire.BadFrame)
	}
	return nil
}

// replaceKey seals the new token before it writes, so that nothing can fail
// after the old key has ceased to hold.
func (a *Auth) replaceKey(ctx context.Context, rec store.Session, newKey keys.Public, received time.Time) (*Session, string, error) {
	rec.Key, rec.Epoch = newKey.String(), rec.Epoch+1
	rec.STime, rec.Expires = received.UnixMilli(), received.Add(a.config.SessionLife).UnixMilli()
	s := &Session{Record: rec, Client: newKey}
	token, err := a.Refresh(s)
	if err != nil {
		return nil, "", err
	}
	s.Record, err = a.store.UpdateSession(ctx, rec)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return nil, "", fmt.Errorf("%w: the session was changed meanwhile; connect again", wire.RenewalConflict)
	}
	if err != nil {
		return nil, "", fmt.Errorf("renew key of user %q: %w", rec.User, err)
	}
	return s, token, nil
}
