package client

import (
	"context"
	"fmt"
	"net/http"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

type loginRequest struct {
	User      string `json:"user"`
	Password  string `json:"password"`
	Device    string `json:"device"`
	App       string `json:"app"`
	ClientKey string `json:"client_key"`
}

type loginReply struct {
	Session   string `json:"session"`
	ServerKey string `json:"server_key"`
	STime     int64  `json:"s_time"`
}

type tokenRequest struct {
	Device   string `json:"device"`
	App      string `json:"app"`
	Account  string `json:"account"`
	VAPIDKey string `json:"vapid_key"` // "" is sent too: it takes back what was asked for before
}

type tokenReply struct {
	Token    string `json:"token"`
	Endpoint string `json:"endpoint"`
}

// signedIn returns an identity with a session and a message token; it logs in
// and asks for the token where there is none. Run and Pull may both need it,
// and only one of them asks.
func (t *Terminal) signedIn(ctx context.Context) (*identity, error) {
	select {
	case t.signingIn <- struct{}{}:
		defer func() { <-t.signingIn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	who := t.identity()
	asked := false
	if who.session == "" {
		next, err := t.login(ctx, who)
		if err != nil {
			return nil, fmt.Errorf("log in: %w", err)
		}
		who, asked = next, true
	}
	if who.token == "" || who.vapid != t.cfg.VAPIDKey {
		next, err := t.askToken(ctx, who)
		if err != nil {
			return nil, fmt.Errorf("ask for the message token: %w", err)
		}
		who, asked = next, true
	}
	if asked {
		if err := t.save(); err != nil {
			t.cfg.Log.Error("session is not saved; the next run has to log in again", "err", err)
		}
	}
	return who, nil
}

// login gives the password for a session (K1), with a client key made for it.
func (t *Terminal) login(ctx context.Context, old *identity) (*identity, error) {
	key, err := keys.Generate()
	if err != nil {
		return nil, err
	}
	ask := loginRequest{t.cfg.User, t.cfg.Password, t.cfg.Device, t.cfg.App, key.Public().String()}
	var reply loginReply
	if err := t.call(ctx, nil, http.MethodPost, "/v1/login", ask, &reply); err != nil {
		return nil, err
	}
	server, err := keys.ParsePublic(reply.ServerKey)
	if err != nil {
		return nil, fmt.Errorf("%w: server_key: %w", wire.ServerProofInvalid, err)
	}
	next := &identity{key: key, servers: []keys.Public{server}, token: old.token, endpoint: old.endpoint, vapid: old.vapid}
	if next, err = next.withSession(reply.Session); err != nil {
		return nil, fmt.Errorf("%w: the session is not sealed to the key that came with it", wire.ServerProofInvalid)
	}
	t.learnTime(reply.STime, t.cfg.Now())
	return t.replaced(old, next)
}

// askToken asks for the message token of this terminal (T1).
func (t *Terminal) askToken(ctx context.Context, old *identity) (*identity, error) {
	var reply tokenReply
	ask := tokenRequest{t.cfg.Device, t.cfg.App, t.cfg.User, t.cfg.VAPIDKey}
	if err := t.call(ctx, old, http.MethodPost, "/v1/tokens", ask, &reply); err != nil {
		return nil, err
	}
	if reply.Token == "" {
		return nil, fmt.Errorf("%w: the reply has no token", wire.BadFrame)
	}
	next := *old
	next.token, next.endpoint, next.vapid = reply.Token, reply.Endpoint, t.cfg.VAPIDKey
	return t.replaced(old, &next)
}

func (t *Terminal) replaced(old, next *identity) (*identity, error) {
	if !t.replace(old, next) {
		return nil, errReplaced
	}
	return next, nil
}
