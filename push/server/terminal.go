package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"keyhole/push/auth"
	"keyhole/push/channel"
	"keyhole/push/keys"
	"keyhole/push/wire"
)

// A terminal is one connection of one. One goroutine reads its frames and acts
// on them, in their order; the fields without a note are that goroutine's.
//
// An idle terminal keeps only what cannot be rebuilt: it drops the exchange at
// its end, and has neither a timer nor a buffer.
type terminal struct {
	s     *Server
	id    string          // names the connection in logs and in the registry
	conn  *websocket.Conn // for reading, control frames and the closing handshake
	out   *pipe
	since time.Time // when it was accepted

	exchange *exchange
	session  *auth.Session // nil until it is proved; Client is read under the lock of out, too
	prover   *keys.ServerKey
	claim    string // id of the session; does not change once expires is set
	channel  *channel.Channel
	known    keys.KID      // of the server key that the client knows
	nonce    wire.Bytes    // for one renewal; nil: used
	waited   time.Duration // for other terminals, in the exchange
	noted    time.Time     // when the use of the message token was; zero: it does not listen
	encrypt  bool          // payloads and states are sealed; set before the channel is there

	last    atomic.Pointer[wire.Error] // why the connection ends; nil: it does not
	beat    atomic.Int64               // when the last heartbeat came, as nanoseconds since the server's start
	epoch   atomic.Uint64              // of the session
	expires atomic.Int64               // of the session, in milliseconds of Unix time; 0: not verified
}

func (s *Server) newTerminal(conn *websocket.Conn, out *pipe) *terminal {
	t := &terminal{s: s, id: hex.EncodeToString(random(16)), conn: conn, out: out, since: s.now()}
	t.exchange = s.verifier.exchange(func() ([]byte, error) {
		state := out.ConnectionState()
		return wire.Exporter(&state)
	})
	return t
}

// serve is the connection from the upgrade on.
func (t *terminal) serve() {
	err := t.s.live.add(t)
	if err == nil {
		err = t.verify()
	}
	if err != nil {
		t.end(err)
		return
	}
	t.listen()
}

// verify reads frames until the second confirmation is sent.
func (t *terminal) verify() error {
	if t.conn.Subprotocol() != wire.Subprotocol {
		return fmt.Errorf("%w: offer %s in Sec-WebSocket-Protocol", wire.SubprotocolRequired, wire.Subprotocol)
	}
	limit := t.s.config.Limits.HandshakeTimeout
	start := time.Now() // by the kernel's clock, not by Config.Now
	for t.channel == nil {
		_ = t.out.SetReadDeadline(start.Add(limit + t.waited))
		err := t.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("%w: not confirmed within %s", wire.HandshakeTimeout, limit)
		}
		if err != nil {
			return err
		}
	}
	_ = t.out.SetReadDeadline(time.Time{})
	return nil
}

// end lets go of everything. The channel goes first: what is published from
// here on waits for another connection.
func (t *terminal) end(err error) {
	if t.channel != nil {
		t.channel.Close("the terminal has gone")
	}
	t.fail(err)
	t.close()
	t.s.live.remove(t)
}

// next reads one frame and acts on it.
func (t *terminal) next() error {
	if err := t.ending(); err != nil {
		return err
	}
	f, err := t.readFrame()
	if err != nil {
		return err
	}
	if h, opens := f.(*wire.Hello); opens && t.s.config.Auth.Knows(h.Session) {
		leave, err := t.admit()
		if err != nil {
			return err
		}
		defer leave()
	}
	ctx, cancel := context.WithTimeout(t.s.live.ctx, answerTimeout)
	defer cancel()
	return t.handle(ctx, f)
}

// admit waits until few others open their sessions. That time does not count
// against the client. A session of a key that is not known here takes no place,
// since opening it may wait until the ring is read again.
func (t *terminal) admit() (leave func(), err error) {
	start := time.Now()
	leave, err = t.s.opening.enter(t.s.live.ctx)
	t.waited += time.Since(start)
	return leave, err
}

// handle acts on one frame. Before the second confirmation only those of the
// exchange are looked at.
func (t *terminal) handle(ctx context.Context, f wire.Frame) error {
	switch f := f.(type) {
	case *wire.Hello:
		return t.hello(ctx, f)
	case *wire.Confirm:
		return t.confirm(f)
	}
	if t.channel == nil {
		return fmt.Errorf("%w: %s before the second confirmation", wire.NotVerified, f.Kind())
	}
	switch f := f.(type) {
	case *wire.Heartbeat:
		return t.heartbeat(ctx, f)
	case *wire.Ack:
		return t.channel.Ack(f.Seq)
	case *wire.State:
		return answering(f.Ref, t.report(f))
	case *wire.Listen:
		return answering(f.Ref, t.subscribe(ctx, f))
	}
	return fmt.Errorf("%w: %s", wire.UnknownFrame, f.Kind())
}

// random returns n random bytes.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
