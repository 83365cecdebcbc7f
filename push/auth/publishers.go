package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// CreatePublisher makes a publisher and returns its key, "pk_" and 43
// characters, of which only the hash is kept. An empty list of apps is all.
// The error wraps wire.BadRequest or store.ErrExists.
func (a *Auth) CreatePublisher(ctx context.Context, name string, apps []string) (key string, err error) {
	if err := checkName("publisher", name); err != nil {
		return "", err
	}
	for _, app := range apps {
		if err := checkName("app", app); err != nil {
			return "", err
		}
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	key = "pk_" + base64.RawURLEncoding.EncodeToString(secret)
	p := store.Publisher{Name: name, Hash: store.TokenHash(key), Apps: apps, Created: a.now()}
	if err := a.store.CreatePublisher(ctx, p); err != nil {
		return "", fmt.Errorf("publisher %q: %w", name, err)
	}
	return key, nil
}

// Publisher returns whose key it is, found by its hash, so that the time it
// takes says nothing of other keys. It is refused with wire.Unauthorized; for
// which apps it may publish is the caller's to check.
func (a *Auth) Publisher(ctx context.Context, key string) (store.Publisher, error) {
	p, err := a.store.Publisher(ctx, store.TokenHash(key))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.Publisher{}, fmt.Errorf("%w: there is no such publisher key", wire.Unauthorized)
	case err != nil:
		return store.Publisher{}, fmt.Errorf("publisher: %w", err)
	case p.Revoked:
		return store.Publisher{}, fmt.Errorf("%w: the key of publisher %q was revoked", wire.Unauthorized, p.Name)
	}
	return p, nil
}
