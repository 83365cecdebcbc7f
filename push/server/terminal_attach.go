package server

import (
	"context"

	"keyhole/push/auth"
	"keyhole/push/channel"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// hello answers V1 with V2.
func (t *terminal) hello(ctx context.Context, h *wire.Hello) error {
	challenge, err := t.exchange.hello(ctx, h)
	if err != nil {
		return err
	}
	return t.out.send(challenge)
}

// confirm answers V3 with V4, once the terminal has its channel.
func (t *terminal) confirm(c *wire.Confirm) error {
	proof, err := t.exchange.confirm(c)
	if err != nil {
		return err
	}
	x := t.exchange
	t.exchange = t.s.verifier.proven // what was said is not needed any more
	t.session, t.prover, t.claim = x.session, x.session.Server, x.session.Claims.ID
	confirmed, err := t.confirmed(x, proof)
	if err != nil {
		return err
	}
	if err := t.attach(x); err != nil {
		return err
	}
	t.s.metrics.connections.Inc()
	if confirmed.Binding == wire.BindingWaived {
		t.s.metrics.waived.Inc()
	}
	return t.out.send(confirmed)
}

// confirmed is the second confirmation. A session that is sealed to an old
// server key, or was renewed without the client hearing of it, is replaced.
func (t *terminal) confirmed(x *exchange, proof []byte) (*wire.Confirmed, error) {
	a, l := t.s.config.Auth, &t.s.config.Limits
	c := &wire.Confirmed{
		Proof: proof, Binding: wire.BindingExporter,
		Time:        t.s.now().UnixMilli(),
		HeartbeatMS: t.s.config.Heartbeat.Milliseconds(),
		RenewMS:     a.RenewAfter().Milliseconds(),
		Encryption:  a.Policy(x.said.App).Encrypt,
		Limits:      wire.Limits{FrameBytes: l.FrameBytes, PayloadBytes: l.PayloadBytes, StateKeys: l.StateKeys, Window: l.Window},
	}
	if x.said.Binding == wire.BindingNone {
		c.Binding = wire.BindingWaived
	}
	t.known = t.session.Server.ID()
	c.ServerKey = t.nextServerKey()
	if c.ServerKey != nil || t.session.Renewed {
		session, err := a.Refresh(t.session)
		if err != nil {
			return nil, err
		}
		c.Session = session
	}
	c.STime, c.Epoch, c.Nonce = t.session.Record.STime, t.session.Record.Epoch, t.newNonce()
	t.encrypt = c.Encryption
	return c, nil
}

// attach gives the connection its attributes and registers its channel (P2).
// From here on the sweeper watches it.
func (t *terminal) attach(x *exchange) error {
	c, err := t.s.channels.Register(t.s.live.ctx, channel.Attributes{
		Conn: t.id, User: x.said.User, Session: t.session.Claims.ID, Device: x.said.Device, App: x.said.App,
		Version: x.said.AppVersion, Since: t.since,
	}, t)
	if err != nil {
		return err
	}
	t.channel = c
	t.touch()
	t.adopt(t.session)
	return t.retired()
}

// adopt makes session the terminal's, without the parts of its record that are
// read again when they are needed. The lock of out is held, or nobody else has
// the terminal yet.
func (t *terminal) adopt(session *auth.Session) {
	session.Record = store.Session{Epoch: session.Record.Epoch, STime: session.Record.STime}
	t.session = session
	t.epoch.Store(session.Record.Epoch)
	t.expires.Store(session.Claims.Expires)
}
