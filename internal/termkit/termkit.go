// Package termkit speaks the terminal's side of the push protocol for tests: frame by frame, as it ought to be, so
// that a test can change what it likes in between. The tests of push/server and of e2e share it; each has a terminal of
// its own around it, which knows how to log in and to connect.
//
//	hello := termkit.Hello(t, &exchange, conn)
//	termkit.Send(t, ws, hello)
//	termkit.Challenged(t, &exchange, termkit.Want[*wire.Challenge](t, ws))
//	confirm, proof := termkit.Confirm(t, &exchange, key)
//	termkit.Send(t, ws, confirm)
//	termkit.Confirmed(t, &exchange, termkit.Want[*wire.Confirmed](t, ws), proof)
//
// Only tests may import it.
package termkit

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"testing"

	"github.com/coder/websocket"

	"keyhole/internal/testkit"
	"keyhole/push/keys"
	"keyhole/push/wire"
)

// NewKey makes a client key.
func NewKey(t testing.TB) *keys.Private {
	t.Helper()
	k, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Send writes a frame.
func Send(t testing.TB, c *websocket.Conn, f wire.Frame) {
	t.Helper()
	b, err := wire.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	SendMessage(t, c, websocket.MessageText, b)
}

// SendMessage writes anything.
func SendMessage(t testing.TB, c *websocket.Conn, kind websocket.MessageType, b []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := c.Write(ctx, kind, b); err != nil {
		t.Fatalf("send %.60q: %v", b, err)
	}
}

// Receive returns the server's next frame, or why there is none.
func Receive(c *websocket.Conn) (wire.Frame, error) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	_, b, err := c.Read(ctx)
	if err != nil {
		return nil, err
	}
	return wire.DecodeServer(b)
}

// Want returns the next frame, which has to be an F.
func Want[F wire.Frame](t testing.TB, c *websocket.Conn) F {
	t.Helper()
	f, err := Receive(c)
	if err != nil {
		t.Fatalf("no frame: %v", err)
	}
	got, ok := f.(F)
	if !ok {
		t.Fatalf("received %s %+v, want a %s", f.Kind(), f, got.Kind())
	}
	return got
}

// WantMessage wants a message with this text, and acknowledges it.
func WantMessage(t testing.TB, c *websocket.Conn, text string) *wire.Message {
	t.Helper()
	m := Want[*wire.Message](t, c)
	if string(m.Data) != text {
		t.Fatalf("message %q, want %q", m.Data, text)
	}
	Send(t, c, &wire.Ack{Seq: []uint64{m.Seq}})
	return m
}

// Exporter returns the channel binding of a TLS connection.
func Exporter(t testing.TB, c *tls.Conn) []byte {
	t.Helper()
	state := c.ConnectionState()
	b, err := wire.Exporter(&state)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Hello begins an exchange over c and returns V1. The caller has set who speaks to whom, and the binding.
func Hello(t testing.TB, said *wire.Exchange, c *tls.Conn) *wire.Hello {
	t.Helper()
	said.Offered, said.ClientToken = []string{wire.Subprotocol}, make([]byte, 32)
	rand.Read(said.ClientToken)
	if said.Binding == wire.BindingExporter {
		said.Exporter = Exporter(t, c)
	}
	return &wire.Hello{
		Versions: said.Offered, ClientToken: said.ClientToken, Session: said.Session, AppVersion: said.AppVersion, Binding: said.Binding,
	}
}

// Challenged takes V2.
func Challenged(t testing.TB, said *wire.Exchange, c *wire.Challenge) {
	t.Helper()
	if !bytes.Equal(c.ClientToken, said.ClientToken) {
		t.Fatalf("challenge has client token %x, want %x", c.ClientToken, said.ClientToken)
	}
	said.Version, said.Supported, said.ServerToken = c.Version, c.Versions, c.ServerToken
}

// Confirm returns V3, and the proof in it.
func Confirm(t testing.TB, said *wire.Exchange, key *keys.Private) (c *wire.Confirm, proof []byte) {
	t.Helper()
	proof, err := said.ClientProof(key)
	if err != nil {
		t.Fatal(err)
	}
	c = &wire.Confirm{ServerToken: said.ServerToken, Versions: said.Offered, Proof: proof}
	if said.Binding == wire.BindingExporter {
		c.ChannelBinding = said.BindingTag()
	}
	return c, proof
}

// Confirmed takes V4, which answers the client's proof.
func Confirmed(t testing.TB, said *wire.Exchange, c *wire.Confirmed, proof []byte) {
	t.Helper()
	if !said.VerifyServer(c.Proof, proof) {
		t.Fatal("the server's proof is not over this exchange")
	}
}

// A Renewal is what a heartbeat that asks for a new key says (K3, K4).
type Renewal struct {
	Session      string
	Sent, Offset int64 // of the terminal's clock
	Epoch        uint64
	Nonce        []byte
}

// Heartbeat signs the renewal with the old key and the next.
func (r Renewal) Heartbeat(t testing.TB, old, next *keys.Private) *wire.Heartbeat {
	t.Helper()
	oldSig, newSig, err := keys.SignRenewal(old, next, r.Session, r.Offset, r.Epoch+1, r.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	return &wire.Heartbeat{Sent: r.Sent, NewKey: next.Public().String(), Offset: &r.Offset, Renewal: &wire.Renewal{
		Session: r.Session, Epoch: r.Epoch + 1, Nonce: r.Nonce, OldSignature: oldSig, NewSignature: newSig,
	}}
}
