package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// day is how finely store.Token.Used is kept.
const day = 24 * time.Hour

// Token returns the message token of a triple (T1), which must be that of the
// session (T2): the same text each time, until it was revoked or has expired.
// It is refused with wire.TokenNotYours, or wire.SessionStale.
func (a *Auth) Token(ctx context.Context, s *Session, device, app, account string) (text string, t store.Token, err error) {
	if err := s.usable(); err != nil {
		return "", t, err
	}
	if device != s.Claims.Device || app != s.Claims.App || account != s.Claims.User {
		return "", t, fmt.Errorf("%w: the session is of another account, device or app", wire.TokenNotYours)
	}
	text, t, err = a.store.TokenOf(ctx, account, device, app)
	if err == nil && a.expired(t) {
		text, t, err = a.replaceToken(ctx, t)
	}
	if err == nil {
		err = a.store.TouchToken(ctx, t, a.now())
	}
	if err != nil {
		return "", t, fmt.Errorf("message token of user %q: %w", account, err)
	}
	return text, t, nil
}

// replaceToken ends a token that has expired and was not swept yet: an old
// address does not come back to life.
func (a *Auth) replaceToken(ctx context.Context, old store.Token) (text string, t store.Token, err error) {
	if err := a.store.RevokeToken(ctx, old.Hash); err != nil {
		return "", old, err
	}
	return a.store.TokenOf(ctx, old.User, old.Device, old.App)
}

// CheckToken returns the message token that a terminal presents, and notes that
// it is in use. It is refused with wire.TokenUnknown, wire.TokenNotYours,
// wire.TokenRevoked, wire.TokenExpired or wire.SessionStale.
func (a *Auth) CheckToken(ctx context.Context, s *Session, text string) (store.Token, error) {
	if err := s.usable(); err != nil {
		return store.Token{}, err
	}
	t, err := a.token(ctx, text)
	if err != nil {
		return store.Token{}, err
	}
	if t.User != s.Claims.User || t.Device != s.Claims.Device || t.App != s.Claims.App {
		return store.Token{}, fmt.Errorf("%w: it is of another account, device or app", wire.TokenNotYours)
	}
	if err := a.live(t); err != nil {
		return store.Token{}, err
	}
	if err := a.store.TouchToken(ctx, t, a.now()); err != nil {
		return store.Token{}, fmt.Errorf("message token of user %q: %w", t.User, err)
	}
	return t, nil
}

// PushToken returns the message token that a publisher names. It is refused
// with wire.TokenUnknown, wire.TokenRevoked or wire.TokenExpired. Publishing
// does not keep a token in use, or one that its app has forgotten would never
// expire.
func (a *Auth) PushToken(ctx context.Context, text string) (store.Token, error) {
	t, err := a.token(ctx, text)
	if err != nil {
		return store.Token{}, err
	}
	if err := a.live(t); err != nil {
		return store.Token{}, err
	}
	return t, nil
}

func (a *Auth) token(ctx context.Context, text string) (store.Token, error) {
	t, err := a.store.Token(ctx, store.TokenHash(text))
	if errors.Is(err, store.ErrNotFound) {
		return t, fmt.Errorf("%w: there is no such token; ask for one with POST /v1/tokens", wire.TokenUnknown)
	}
	if err != nil {
		return t, fmt.Errorf("message token: %w", err)
	}
	return t, nil
}

func (a *Auth) live(t store.Token) error {
	if t.Revoked {
		return fmt.Errorf("%w: ask for a new one with POST /v1/tokens", wire.TokenRevoked)
	}
	if a.expired(t) {
		return fmt.Errorf("%w: it was not used for %s; ask for a new one with POST /v1/tokens", wire.TokenExpired, a.config.TokenIdle)
	}
	return nil
}

// expired counts from the end of the day of the last use: Used may be as much
// as a day too early.
func (a *Auth) expired(t store.Token) bool {
	return a.now().After(t.Used.Add(day + a.config.TokenIdle))
}
