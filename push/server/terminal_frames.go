package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"keyhole/push/wire"
)

// HPKE's info says what was sealed, so that a payload is never taken for a state.
const (
	infoMessage = "keyhole-push.v1 message"
	infoState   = "keyhole-push.v1 state"
)

// subscribe answers listen. The channel may send before the answer is written,
// so the answer goes first.
func (t *terminal) subscribe(ctx context.Context, f *wire.Listen) error {
	state := f.State
	if err := t.unseal(f.Sealed, f.State != nil, &state); err != nil {
		return err
	}
	token, err := t.s.config.Auth.CheckToken(ctx, t.session, f.Token)
	if err != nil {
		return err
	}
	t.noted = t.s.now()
	return t.out.sendMade(func() (wire.Frame, error) {
		return &wire.Listening{Ref: f.Ref}, t.channel.Listen(ctx, token.Hash, state)
	})
}

// report answers state.
func (t *terminal) report(f *wire.State) error {
	change := struct {
		Set   map[string]string `json:"set"`
		Unset []string          `json:"unset"`
	}{f.Set, f.Unset}
	if err := t.unseal(f.Sealed, f.Set != nil || f.Unset != nil, &change); err != nil {
		return err
	}
	if err := t.channel.SetState(change.Set, change.Unset); err != nil {
		return err
	}
	return t.out.send(&wire.OK{Ref: f.Ref})
}

// unseal reads what a terminal sealed instead of writing it plainly. It opens
// with the server key of the exchange, or with the one that a renewed session
// is sealed to: the client may go by either.
func (t *terminal) unseal(sealed []byte, plain bool, into any) error {
	switch {
	case len(sealed) == 0 && plain && t.encrypt:
		return fmt.Errorf("%w: seal the state to the server's key", wire.EncryptionRequired)
	case len(sealed) == 0:
		return nil
	case plain:
		return fmt.Errorf("%w: both a plain state and a sealed one", wire.BadFrame)
	}
	text, err := t.prover.Private.Open(infoState, sealed)
	if err != nil && t.session.Server != t.prover {
		text, err = t.session.Server.Private.Open(infoState, sealed)
	}
	if err != nil {
		return fmt.Errorf("%w: it is not sealed to the server key of this connection", wire.StateInvalid)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: what is sealed: %w", wire.StateInvalid, plainJSON(err))
	}
	return nil
}
