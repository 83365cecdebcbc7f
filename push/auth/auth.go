// Package auth holds the rules of accounts, sessions, keys and message tokens
// of the push server, without any transport.
//
//	a, err := auth.New(ctx, auth.Config{Store: st})
//	go a.Run(ctx)                        // renews the server key at its stored deadline
//	reply, err := a.Login(ctx, request)  // K1: name and password for a session token
//	s, err := a.Open(ctx, reply.Session) // K2: the session token instead, from then on
//
// An error that a client may see wraps a wire.Code; one without a code is the
// server's own trouble. What is refused leaves every record as it was.
//
// A session token alone proves nothing: after Open the caller has the client
// prove Session.Client, in the exchange of a connection or by DPoP. The
// package neither does that, nor counts a nonce's uses on a connection, nor
// closes the connections of a session that it revokes; the store announces
// those. Login attempts are counted on each node for itself.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"keyhole/push/store"
)

// A Config says how strict an Auth is. Of the durations and numbers, zero is
// the default.
type Config struct {
	Store *store.Store

	RotateEvery     time.Duration // running time between two server keys; 0: 24 h
	SessionLife     time.Duration // from a login or a renewal to the expiry of the session; 0: 30 d
	OffsetThreshold time.Duration // how far a renewal's offset may be from the server's own; 0: 30 s
	RenewAfter      time.Duration // growth of the offset after which a client renews its key; 0: 6 h
	TokenIdle       time.Duration // for which an unused message token stays; 0: 90 d

	// LoginPerMinute is how many attempts one account has, right or wrong; 0:
	// 10, negative: no limit. Anybody who knows an account's name can use them
	// up: its terminals go by their sessions meanwhile. Burst is how many it has at
	// once; 0: as LoginPerMinute.
	LoginPerMinute, Burst int

	Apps map[string]AppPolicy // by app name; "*" is for every other
	Log  *slog.Logger         // nil: slog.Default()
	Now  func() time.Time     // nil: time.Now
}

// An Auth applies the rules to the records of one store. Several of them, on
// one node or on many, may share it. Its methods may be called at once.
type Auth struct {
	config  Config // with defaults filled in
	store   *store.Store
	log     *slog.Logger
	now     func() time.Time
	ring    *keyring
	hasher  *hasher
	limiter *limiter
}

// New returns an Auth with the key ring of the store, which it makes when there
// is none. Run must be called for the server key to be renewed.
func New(ctx context.Context, c Config) (*Auth, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	a := &Auth{
		config:  c,
		store:   c.Store,
		log:     c.Log,
		now:     c.Now,
		ring:    newKeyring(c.Store, c),
		hasher:  newHasher(),
		limiter: newLimiter(c.LoginPerMinute, c.Burst),
	}
	if err := a.ring.open(ctx); err != nil {
		return nil, fmt.Errorf("auth: key ring: %w", err)
	}
	return a, nil
}

// RenewAfter is the growth of the offset after which a client is to renew its
// key (K6).
func (a *Auth) RenewAfter() time.Duration { return a.config.RenewAfter }

func (c Config) withDefaults() (Config, error) {
	if c.Store == nil {
		return c, errors.New("config has no Store")
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		zero  time.Duration
	}{
		{"RotateEvery", &c.RotateEvery, 24 * time.Hour},
		{"SessionLife", &c.SessionLife, 30 * 24 * time.Hour},
		{"OffsetThreshold", &c.OffsetThreshold, 30 * time.Second},
		{"RenewAfter", &c.RenewAfter, 6 * time.Hour},
		{"TokenIdle", &c.TokenIdle, 90 * 24 * time.Hour},
	} {
		if *d.value < 0 {
			return c, fmt.Errorf("%s is %s, want a positive duration, or 0 for %s", d.name, *d.value, d.zero)
		}
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	if c.LoginPerMinute == 0 {
		c.LoginPerMinute = 10
	}
	if c.Burst < 1 {
		c.Burst = max(c.LoginPerMinute, 1)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	var err error
	c.Apps, err = checkPolicies(c.Apps)
	return c, err
}
