package client

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"slices"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// tokenSize is the length of both tokens of an exchange.
const tokenSize = 32

// versions are those spoken here, best first.
var versions = []string{wire.Subprotocol}

// verify is the mutual verification (V1 to V4). Until it has returned without
// an error, nothing else is sent, and what the server sends is not looked at.
func (r *run) verify(ctx context.Context, c *conn, who *identity) (*channel, error) {
	x, key, err := r.newExchange(c, who)
	if err != nil {
		return nil, err
	}
	hello := &wire.Hello{
		Versions: x.Offered, ClientToken: x.ClientToken, Session: x.Session, AppVersion: x.AppVersion, Binding: x.Binding,
	}
	if err := c.write(hello); err != nil {
		return nil, err
	}
	challenge, err := expect[*wire.Challenge](ctx, c)
	if err != nil {
		return nil, err
	}
	if err := checkChallenge(x, challenge); err != nil {
		return nil, err
	}
	confirm, err := answer(x, key)
	if err != nil {
		return nil, err
	}
	if err := c.write(confirm); err != nil {
		return nil, err
	}
	confirmed, err := expect[*wire.Confirmed](ctx, c)
	if err != nil {
		return nil, err
	}
	if err := checkConfirmed(x, confirmed, confirm.Proof); err != nil {
		return nil, err
	}
	return r.newChannel(ctx, c, who, key, confirmed)
}

// newExchange fills in what the client brings (V1). The client's key is the
// session's, or, after a renewal whose reply was lost, the one that the server
// may have by now.
func (r *run) newExchange(c *conn, who *identity) (*wire.Exchange, *keys.Private, error) {
	server, err := who.server()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", wire.SessionInvalid, err)
	}
	key := who.key
	if who.pending != nil && r.pendingFirst {
		key = who.pending
	}
	x := &wire.Exchange{
		Offered: versions, ClientToken: make([]byte, tokenSize),
		User: r.cfg.User, Device: r.cfg.Device, App: r.cfg.App, AppVersion: r.cfg.AppVersion,
		Session: who.session, Client: key.Public(), Server: server, Binding: r.cfg.Binding,
	}
	_, _ = rand.Read(x.ClientToken) // never fails
	if x.Binding == wire.BindingExporter {
		if x.Exporter, err = c.exporter(); err != nil {
			return nil, nil, err
		}
	}
	return x, key, nil
}

// expect returns the next frame, which has to be an F.
func expect[F wire.Frame](ctx context.Context, c *conn) (F, error) {
	var none F
	f, err := c.next(ctx)
	if err != nil {
		return none, err
	}
	if f, ok := f.(F); ok {
		return f, nil
	}
	code := wire.NotVerified
	switch f.(type) {
	case *wire.Challenge, *wire.Confirmed:
		code = wire.OutOfOrder
	}
	return none, fmt.Errorf("%w: the server sent a %s frame, want a %s", code, f.Kind(), none.Kind())
}

// checkChallenge is the client's check of V2: its own token came back, and the
// version is the best that both speak, or somebody has changed the lists.
func checkChallenge(x *wire.Exchange, c *wire.Challenge) error {
	if subtle.ConstantTimeCompare(c.ClientToken, x.ClientToken) != 1 {
		return fmt.Errorf("%w: the server answered another exchange", wire.ClientTokenMismatch)
	}
	if len(c.ServerToken) != tokenSize || slices.Equal(c.ServerToken, c.ClientToken) {
		return fmt.Errorf("%w: the server token has %d bytes, want %d of its own", wire.BadFrame, len(c.ServerToken), tokenSize)
	}
	best := slices.IndexFunc(x.Offered, func(v string) bool { return slices.Contains(c.Versions, v) })
	if best < 0 || c.Version != x.Offered[best] {
		return fmt.Errorf("%w: version %.40q of %.40q, offered %q", wire.Downgrade, c.Version, c.Versions, x.Offered)
	}
	x.Supported, x.Version, x.ServerToken = c.Versions, c.Version, c.ServerToken
	return nil
}

// answer is the first confirmation (V3).
func answer(x *wire.Exchange, key *keys.Private) (*wire.Confirm, error) {
	proof, err := x.ClientProof(key)
	if err != nil {
		return nil, err
	}
	confirm := &wire.Confirm{ServerToken: x.ServerToken, Versions: x.Offered, Proof: proof}
	if x.Binding == wire.BindingExporter {
		confirm.ChannelBinding = x.BindingTag()
	}
	return confirm, nil
}

// checkConfirmed is the client's check of V4: the server has the key that the
// session is sealed to, and has seen the same exchange on the same connection.
func checkConfirmed(x *wire.Exchange, c *wire.Confirmed, clientProof []byte) error {
	if !x.VerifyServer(c.Proof, clientProof) {
		return fmt.Errorf("%w: not by key %s over this exchange", wire.ServerProofInvalid, x.Server.KID())
	}
	want := wire.BindingExporter
	if x.Binding == wire.BindingNone {
		want = wire.BindingWaived
	}
	if c.Binding != want {
		return fmt.Errorf("%w: binding %.40q confirmed, want %q", wire.ServerProofInvalid, c.Binding, want)
	}
	return nil
}

// adopt takes what Confirmed says of the keys: a new server key, a new session
// token, and which client key the server has.
func (r *run) adopt(who *identity, key *keys.Private, c *wire.Confirmed) (*identity, error) {
	next, err := who.following(c.ServerKey, c.Session)
	if err != nil {
		return nil, err
	}
	r.pendingFirst = key == who.pending // what was proved just now is what the server has
	if r.pendingFirst && c.Session != "" {
		r.previous, r.pendingFirst = who.key, false
		next = next.renewed()
	}
	return r.adopted(who, next)
}

// adopted saves next in place of who, if it is another. What cannot be saved
// holds for this run; the profile still has what the server takes, since it
// takes the session before a renewal together with the pending key.
func (r *run) adopted(who, next *identity) (*identity, error) {
	if next == who {
		return who, nil
	}
	if _, err := r.replaced(who, next); err != nil {
		return nil, err
	}
	if err := r.save(); err != nil {
		r.cfg.Log.Error("new keys are not saved", "err", err)
	}
	return next, nil
}
