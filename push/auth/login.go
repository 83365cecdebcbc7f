package auth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// A LoginRequest asks for a session (K1). Names have 1 to 128 bytes of
// printable UTF-8.
type LoginRequest struct {
	User, Password string
	Device, App    string
	Key            string // of the client: keys.Public in text
}

// A LoginReply is the session, and what belongs to it.
type LoginReply struct {
	Session   string // the session token
	ServerKey string // keys.Public in text, of the key that the token is sealed to
	STime     int64  // of the server: milliseconds of Unix time
	Expires   int64  // of the session: milliseconds of Unix time
}

// errLogin is one value, so that nothing in it can tell an unknown user from a
// wrong password.
var errLogin = fmt.Errorf("%w: the user name or the password is wrong", wire.LoginFailed)

// Login checks a password and starts a session. It is refused with
// wire.BadRequest, wire.LoginFailed (for an unknown user and a wrong password
// alike, after the same work), wire.AccountDisabled (said only to somebody who
// knows the password), or a RetryError of wire.RateLimited.
func (a *Auth) Login(ctx context.Context, r LoginRequest) (LoginReply, error) {
	client, err := r.check()
	if err != nil {
		return LoginReply{}, err
	}
	if err := a.checkLogin(ctx, r.User, r.Password); err != nil {
		return LoginReply{}, err
	}
	return a.startSession(ctx, r, client)
}

func (r LoginRequest) check() (client keys.Public, err error) {
	for _, n := range []struct{ what, name string }{{"user", r.User}, {"device", r.Device}, {"app", r.App}} {
		if err := checkName(n.what, n.name); err != nil {
			return client, err
		}
	}
	if err := checkPassword(r.Password); err != nil {
		return client, fmt.Errorf("%w: %w", wire.BadRequest, err)
	}
	client, err = keys.ParsePublic(r.Key)
	if err != nil {
		return client, fmt.Errorf("%w: client key: %w", wire.BadRequest, err)
	}
	return client, nil
}

// checkLogin asks the limiter twice: first so that an account past its limit
// takes no place from others, then, with a place, to count.
func (a *Auth) checkLogin(ctx context.Context, name, password string) error {
	if d := a.limiter.wait(name, a.now()); d > 0 {
		return tooMany(d)
	}
	leave, err := a.hasher.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if d := a.limiter.take(name, a.now()); d > 0 {
		return tooMany(d)
	}
	u, known, err := a.user(ctx, name)
	if err != nil {
		return err
	}
	stored := a.hasher.nobody
	if known {
		if stored, err = parsePHC(u.Password); err != nil {
			return fmt.Errorf("user %q: %w", name, err)
		}
	}
	switch {
	case !stored.matches(a.hasher.run, password) || !known:
		return errLogin
	case u.Disabled:
		return disabled(name)
	}
	return nil
}

func tooMany(after time.Duration) error {
	return &RetryError{After: after, Err: fmt.Errorf("%w: too many logins of this account", wire.RateLimited)}
}

func disabled(name string) error {
	return fmt.Errorf("%w: account %q was disabled by the operator", wire.AccountDisabled, name)
}

func (a *Auth) user(ctx context.Context, name string) (u store.User, known bool, err error) {
	u, err = a.store.User(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return u, false, nil
	}
	if err != nil {
		return u, false, fmt.Errorf("user %q: %w", name, err)
	}
	return u, true, nil
}

func (a *Auth) startSession(ctx context.Context, r LoginRequest, client keys.Public) (LoginReply, error) {
	now := a.now()
	rec := store.Session{
		ID: newID(), User: r.User, Device: r.Device, App: r.App, Key: client.String(),
		STime: now.UnixMilli(), Expires: now.Add(a.config.SessionLife).UnixMilli(),
	}
	ring := a.ring.get()
	token, err := ring.Seal(claimsOf(rec, client))
	if err != nil {
		return LoginReply{}, fmt.Errorf("seal session: %w", err)
	}
	if rec, err = a.store.CreateSession(ctx, rec); err != nil {
		return LoginReply{}, fmt.Errorf("session of user %q: %w", r.User, err)
	}
	if err := a.stillEnabled(ctx, rec); err != nil {
		return LoginReply{}, err
	}
	return LoginReply{
		Session: token, ServerKey: ring.Current().Private.Public().String(),
		STime: rec.STime, Expires: rec.Expires,
	}, nil
}

// stillEnabled looks once more, now that DisableUser would find the session:
// an account that was disabled while its password was hashed gets none.
func (a *Auth) stillEnabled(ctx context.Context, rec store.Session) error {
	u, known, err := a.user(ctx, rec.User)
	if err == nil && known && !u.Disabled {
		return nil
	}
	if err == nil {
		err = disabled(rec.User)
	}
	if undo := a.store.RevokeSession(context.WithoutCancel(ctx), rec.ID); undo != nil {
		return fmt.Errorf("%w; its new session is not revoked: %w", err, undo)
	}
	return err
}

func newID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}
