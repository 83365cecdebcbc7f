package server

import (
	"errors"
	"fmt"

	"keyhole/push/channel"
	"keyhole/push/wire"
)

var _ channel.Sink = (*terminal)(nil)

// Send writes a message, sealed to the client's key where the app asks for
// that (K7).
func (t *terminal) Send(m *wire.Message) error {
	if !t.encrypt {
		return t.out.send(m)
	}
	return t.out.sendMade(func() (wire.Frame, error) { return t.sealed(m) })
}

// sealed is a copy, since m belongs to other channels too. The lock of out is
// held.
func (t *terminal) sealed(m *wire.Message) (wire.Frame, error) {
	data, err := t.session.Client.Seal(infoMessage, m.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: message %d: %w", wire.Internal, m.Seq, err)
	}
	c := *m
	c.Data, c.Encryption = data, "hpke"
	return &c, nil
}

// Close ends the connection for a reason of the registry's.
func (t *terminal) Close(code wire.Code, text string) {
	if code == "" {
		t.fail(gone{errors.New(text)})
		return
	}
	t.fail(fmt.Errorf("%w: %s", code, withoutCode(code, text)))
}
