package auth

import (
	"context"
	"errors"
	"fmt"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// CreateUser makes an account. The error wraps wire.BadRequest or
// store.ErrExists.
func (a *Auth) CreateUser(ctx context.Context, name, password string) error {
	if err := checkName("user", name); err != nil {
		return err
	}
	hash, err := HashPassword(password)
	if err != nil {
		return fmt.Errorf("%w: %w", wire.BadRequest, err)
	}
	if err := a.store.CreateUser(ctx, store.User{Name: name, Password: hash, Created: a.now()}); err != nil {
		return fmt.Errorf("user %q: %w", name, err)
	}
	return nil
}

// DisableUser ends an account: its logins are refused, and its sessions are
// revoked, which is how Open learns of it with one read. After an error it can
// be called again. The error wraps wire.NotFound where there is no such user.
func (a *Auth) DisableUser(ctx context.Context, name string) error {
	u, err := a.store.User(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: there is no user %q", wire.NotFound, name)
	}
	if err != nil {
		return fmt.Errorf("user %q: %w", name, err)
	}
	u.Disabled = true // before the sessions, or a login could slip in between
	if err := a.store.UpdateUser(ctx, u); err != nil {
		return fmt.Errorf("disable user %q: %w", name, err)
	}
	if err := a.store.RevokeSessions(ctx, name); err != nil {
		return fmt.Errorf("user %q is disabled, but sessions of it may be left, disable it again: %w", name, err)
	}
	return nil
}
