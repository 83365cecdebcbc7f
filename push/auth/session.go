package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// A Session is an open session token with its record. One goroutine at a time
// may use it.
type Session struct {
	Claims keys.Claims
	Record store.Session
	Client keys.Public     // the client's current key
	Server *keys.ServerKey // the key that the token is sealed to

	// Renewed says that the token is of the epoch before the record's: the
	// reply to a renewal was lost. Until its holder has proved Client, and
	// Refresh was called, it is good for nothing else.
	Renewed bool
}

// Open opens a session token (K2), with one read of the store. It is refused
// with wire.SessionInvalid, wire.SessionExpired, wire.SessionRevoked,
// wire.AccountDisabled or wire.SessionStale. The caller has the client prove
// Session.Client next.
func (a *Auth) Open(ctx context.Context, session string) (*Session, error) {
	claims, server, err := a.unseal(ctx, session)
	if err != nil {
		return nil, err
	}
	return a.match(ctx, claims, server)
}

// match reads the record that a token is of.
func (a *Auth) match(ctx context.Context, claims keys.Claims, server *keys.ServerKey) (*Session, error) {
	rec, client, err := a.record(ctx, claims)
	if err != nil {
		return nil, err
	}
	s := &Session{Claims: claims, Record: rec, Client: client, Server: server}
	switch {
	case claims.Epoch+1 == rec.Epoch:
		s.Renewed = true
	case claims.Epoch != rec.Epoch:
		return nil, stale(claims, rec)
	case claims.Thumbprint != client.Thumbprint() || claims.STime != rec.STime:
		return nil, fmt.Errorf("%w: its key or time is not that of its record; log in again", wire.SessionInvalid)
	}
	return s, nil
}

// unseal opens the token itself, and checks nothing that has to be asked for,
// other than the ring when the token's key is unknown.
func (a *Auth) unseal(ctx context.Context, session string) (keys.Claims, *keys.ServerKey, error) {
	claims, server, err := a.ring.unseal(ctx, session)
	switch {
	case errors.Is(err, keys.ErrUnknownKey):
		return claims, nil, fmt.Errorf("%w: it is sealed to a key that this server does not have (any more); log in again", wire.SessionInvalid)
	case errors.Is(err, keys.ErrMalformed), errors.Is(err, keys.ErrForged):
		return claims, nil, fmt.Errorf("%w: %w", wire.SessionInvalid, err)
	case err != nil:
		return claims, nil, fmt.Errorf("key ring: %w", err)
	}
	if end := time.UnixMilli(claims.Expires); !a.now().Before(end) {
		return claims, nil, fmt.Errorf("%w: it ended at %s; log in again", wire.SessionExpired, end.UTC().Format(time.RFC3339))
	}
	return claims, server, nil
}

// record reads what the store has of the session.
func (a *Auth) record(ctx context.Context, c keys.Claims) (rec store.Session, client keys.Public, err error) {
	rec, err = a.store.Session(ctx, c.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return rec, client, fmt.Errorf("%w: there is no record of it any more; log in again", wire.SessionRevoked)
	case err != nil:
		return rec, client, fmt.Errorf("session of user %q: %w", c.User, err)
	case rec.User != c.User || rec.Device != c.Device || rec.App != c.App:
		return rec, client, fmt.Errorf("%w: its record is of another user, device or app; log in again", wire.SessionInvalid)
	case rec.Revoked:
		return rec, client, a.whyRevoked(ctx, rec)
	}
	if client, err = keys.ParsePublic(rec.Key); err != nil {
		return rec, client, fmt.Errorf("session of user %q: client key in its record: %w", c.User, err)
	}
	return rec, client, nil
}

// whyRevoked names the reason, with a read that only a refused session costs.
func (a *Auth) whyRevoked(ctx context.Context, rec store.Session) error {
	u, known, err := a.user(ctx, rec.User)
	if err != nil {
		return err
	}
	if known && u.Disabled {
		return disabled(rec.User)
	}
	return fmt.Errorf("%w: by logging out, or by the operator; log in again", wire.SessionRevoked)
}

func stale(c keys.Claims, rec store.Session) error {
	return fmt.Errorf("%w: it is of epoch %d, the session is at %d; use the token of the last renewal, or log in again",
		wire.SessionStale, c.Epoch, rec.Epoch)
}

// usable refuses a session whose holder has not proved the key of its record.
func (s *Session) usable() error {
	if s.Renewed {
		return stale(s.Claims, s.Record)
	}
	return nil
}

// Refresh seals the session anew to the current server key, and s is the new
// token's from then on. It is for a session that is Renewed, or whose server
// key is not current any more, once the client has proved s.Client.
func (a *Auth) Refresh(s *Session) (token string, err error) {
	ring := a.ring.get()
	claims := claimsOf(s.Record, s.Client)
	if token, err = ring.Seal(claims); err != nil {
		return "", fmt.Errorf("seal session: %w", err)
	}
	s.Claims, s.Server, s.Renewed = claims, ring.Current(), false
	return token, nil
}

// Logout revokes the session for good, and with it every connection of it.
func (a *Auth) Logout(ctx context.Context, s *Session) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := a.store.RevokeSession(ctx, s.Record.ID); err != nil {
		return fmt.Errorf("log out user %q: %w", s.Record.User, err)
	}
	return nil
}

func claimsOf(rec store.Session, client keys.Public) keys.Claims {
	return keys.Claims{
		User: rec.User, STime: rec.STime, Device: rec.Device, App: rec.App,
		ID: rec.ID, Epoch: rec.Epoch, Expires: rec.Expires, Thumbprint: client.Thumbprint(),
	}
}

// Knows reports whether a session is sealed to a key that this node has, which
// says nothing else of it. Open has to ask the store for any other, and may
// wait for that.
func (a *Auth) Knows(session string) bool {
	kid, err := keys.SessionKey(session)
	return err == nil && a.ring.get().Find(kid) != nil
}
