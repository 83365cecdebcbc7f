package relay

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// wantBytes compares a record's counts; the hello of pair is six bytes.
func wantBytes(t *testing.T, s Summary, up, down int) {
	t.Helper()
	if s.Up != uint64(up) || s.Down != uint64(down) {
		t.Errorf("record says %d bytes up and %d down, want %d and %d", s.Up, s.Down, up, down)
	}
}

func TestClientFinFirst(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	client.Send("question")
	client.FIN()
	server.Want("question")
	server.WantEnd(nil)
	server.Send("answer")
	server.FIN()
	client.Want("answer")
	client.WantEnd(nil)
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 14, 6)
}

func TestOriginFinFirst(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	server.Send("greeting")
	server.FIN()
	client.Want("greeting")
	client.WantEnd(nil)
	client.Send("late news")
	client.FIN()
	server.Want("late news")
	server.WantEnd(nil)
	wantBytes(t, e.wantRecord(OriginClosed, PhaseRelay), 15, 8)
}

// Both ends come in one batch, so that neither direction finds the other
// open.
func TestFinsAtOnce(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	resume := e.pause()
	client.Send("last")
	server.Send("words")
	client.FIN()
	server.FIN()
	resume()
	client.Want("words")
	client.WantEnd(nil)
	server.Want("last")
	server.WantEnd(nil)
	s := e.record()
	if s.Reason != ClientClosed && s.Reason != OriginClosed {
		t.Errorf("record says %q, want that one of the two closed", s.Reason)
	}
	wantBytes(t, s, 10, 5)
}

func TestClientReset(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	client.Send("before the reset")
	client.acked()
	client.Reset()
	server.Want("before the reset")
	server.WantEnd(errReset)
	wantBytes(t, e.wantRecord(ClientReset, PhaseRelay), 22, 0)
}

func TestOriginReset(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	server.Send("before the reset")
	server.acked()
	server.Reset()
	client.Want("before the reset")
	client.WantEnd(errReset)
	wantBytes(t, e.wantRecord(OriginReset, PhaseRelay), 6, 16)
}

// The bytes and the reset come in one batch: the event carries an error, and
// what was sent before it must be delivered all the same.
func TestResetInOneBatchWithBytes(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	for _, fromClient := range []bool{true, false} {
		client, server := e.pair(o)
		from, to, want := client, server, ClientReset
		if !fromClient {
			from, to, want = server, client, OriginReset
		}
		resume := e.pause()
		from.Send("the last words")
		from.acked()
		from.Reset()
		resume()
		to.Want("the last words")
		to.WantEnd(errReset)
		e.wantRecord(want, PhaseRelay)
	}
}

// Each writes to the other while the other has reset: the write eats the
// kernel's report, and the reset must be passed on and named all the same.
func TestResetSeenByAWriteFirst(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	for _, fromClient := range []bool{true, false} {
		client, server := e.pair(o)
		from, to, want := client, server, ClientReset
		if !fromClient {
			from, to, want = server, client, OriginReset
		}
		resume := e.pause()
		to.Send("towards the dead")
		from.Reset()
		resume()
		to.WantEnd(errReset)
		e.wantRecord(want, PhaseRelay)
	}
}

func TestResetsAtOnce(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	resume := e.pause()
	client.Reset()
	server.Reset()
	resume()
	if s := e.record(); s.Reason != ClientReset && s.Reason != OriginReset {
		t.Errorf("record says %q, want that one of the two was reset", s.Reason)
	}
}

// Who closed first gave the reason; a reset behind it does not lose the other
// side's answer to it, nor hold the connection.
func TestClientFinThenReset(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	client.Send("x")
	client.FIN()
	server.Want("x")
	server.WantEnd(nil)
	client.Reset()
	e.settle()
	server.Close()
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 7, 0)
}

// A client that goes away in the middle of the answer, after its own FIN, is
// no orderly end: the origin gets the reset.
func TestClientFinThenResetDuringTheAnswer(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	client.FIN()
	server.WantEnd(nil)
	client.Reset()
	e.settle()
	chunk := make([]byte, lastBytes)
	for err := error(nil); err == nil; {
		_, err = server.Write(chunk)
	}
	e.wantRecord(ClientReset, PhaseRelay)
	server.Close()
}

// The same from an origin that says nothing more: it learns of it when the
// time for its farewell is over.
func TestClientFinThenResetBeforeTheAnswer(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	client.FIN()
	server.WantEnd(nil)
	client.Reset()
	e.wantRecord(ClientReset, PhaseRelay)
	if _, err := server.Write([]byte("late")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("write after the reset: %v, want %v", err, unix.EPIPE)
	}
	server.Close()
}

func TestOriginFinThenReset(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	server.Send("all of the answer")
	server.FIN()
	server.acked()
	server.Reset()
	client.Want("all of the answer")
	client.WantEnd(nil)
	client.Close()
	wantBytes(t, e.wantRecord(OriginClosed, PhaseRelay), 6, 17)
}

// A reset from the side that still had to speak, after the other's FIN.
func TestFinFromOneResetFromTheOther(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})

	client, server := e.pair(o)
	client.FIN()
	server.WantEnd(nil)
	server.Send("half an ans")
	server.acked()
	server.Reset()
	client.Want("half an ans")
	client.WantEnd(errReset)
	e.wantRecord(OriginReset, PhaseRelay)

	client, server = e.pair(o)
	server.FIN()
	client.WantEnd(nil)
	client.Send("half a ques")
	client.acked()
	client.Reset()
	server.Want("half a ques")
	server.WantEnd(errReset)
	e.wantRecord(ClientReset, PhaseRelay)
}

func TestHalfCloseWithLongAnswer(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{HalfClose: testkit.Patience}})
	client, server := e.pair(o)
	client.FIN()
	server.WantEnd(nil)
	answer := strings.Repeat("0123456789abcdef", 1<<19)
	exchange(server, client, answer)
	server.Close()
	client.WantEnd(nil)
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 6, len(answer))
}

func TestHalfCloseTimeout(t *testing.T) {
	testkit.NoLeaks(t)
	const limit = 150 * time.Millisecond
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{HalfClose: limit}})
	client, server := e.pair(o)
	client.FIN()
	server.WantEnd(nil)
	client.WantEnd(nil)
	s := e.wantRecord(HalfCloseTimeout, PhaseRelay)
	if s.Total < limit {
		t.Errorf("half-open connection was closed after %s, want %s or later", s.Total, limit)
	}
}

func TestIdleTimeout(t *testing.T) {
	testkit.NoLeaks(t)
	const limit = 150 * time.Millisecond
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, idle: limit})
	client, server := e.pair(o)
	client.WantEnd(nil)
	server.WantEnd(nil)
	s := e.wantRecord(IdleTimeout, PhaseRelay)
	if s.Total < limit {
		t.Errorf("idle connection was closed after %s, want %s or later", s.Total, limit)
	}
}

// The end of one side's stream must not switch the idle limit off.
func TestIdleTimeoutWhenHalfClosed(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, idle: 150 * time.Millisecond})
	client, server := e.pair(o)
	client.FIN()
	server.WantEnd(nil)
	client.WantEnd(nil)
	e.wantRecord(IdleTimeout, PhaseRelay)
}

// The origin answers, closes, and the client is still sending: the kernel
// resets the origin's connection, and the answer must come through. What the
// client has sent and nobody has read must not turn its end into a reset.
func TestOriginAnswersAndClosesWhileClientSends(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	answer := strings.Repeat("answer", 5000)
	for range 20 {
		client, server := e.pair(o)
		resume := e.pause()
		server.Send(answer)
		server.Close()
		client.Send(strings.Repeat("question", 4<<10))
		resume()
		e.settle()
		client.Send(strings.Repeat("question", 32<<10))
		client.Want(answer)
		client.WantEnd(nil)
		if e.engine.Active() != 1 {
			t.Error("the client was closed on before it was done")
		}
		client.Close()
		wantBytes(t, sansUp(e.wantRecord(OriginClosed, PhaseRelay)), 0, len(answer))
	}
}

// sansUp forgets the bytes up, for tests where the kernel decides how many
// are taken.
func sansUp(s Summary) Summary {
	s.Up = 0
	return s
}

// The reader of a long stream resets in the middle of it, just when room for
// more was made: the writer's side must see the reset, at whatever point of
// the splicing it comes.
func TestResetWhileBytesAreOnTheirWay(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	rounds := 200
	if testing.Short() || testkit.RaceEnabled {
		rounds = 40
	}
	for i := range rounds {
		client, server := e.pair(o)
		from, to, want := client, server, OriginReset
		if i%2 == 1 {
			from, to, want = server, client, ClientReset
		}
		written := fill(t, e, from)
		io.CopyN(io.Discard, to, int64(written/rounds*i))
		to.Reset()
		from.WantEnd(errReset)
		e.wantRecord(want, PhaseRelay)
	}
}

// A reset behind bytes that nobody reads: it cannot be passed on before them,
// but the connection's time is that of a half-closed one from here on.
func TestResetBehindAStalledReader(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{HalfClose: 150 * time.Millisecond}, idle: testkit.Patience})
	client, server := e.pair(o)
	fill(t, e, client)
	client.Reset()
	e.wantRecord(HalfCloseTimeout, PhaseRelay)
	server.Close()
}

// The same with a reader that goes on: it gets to the reset.
func TestResetBehindASlowReader(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{HalfClose: testkit.Patience}, idle: testkit.Patience})
	client, server := e.pair(o)
	fill(t, e, client)
	client.Reset()
	if n, err := io.Copy(io.Discard, server); n == 0 || !errors.Is(err, errReset) {
		t.Errorf("read %d bytes, then %v, want some, then %v", n, err, errReset)
	}
	e.wantRecord(ClientReset, PhaseRelay)
}

// The last bytes and the end were read at once and the destination was full:
// the end has to wait for the bytes.
func TestFinWaitsForTheBytesBeforeIt(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	onLoop(e, func(l *loop) {
		c := l.conns[0]
		f := &c.flows[fromClient]
		f.held = l.blocks.hold([]byte("the last bytes"))
		f.flags |= ended
		l.relay(c)
	})
	server.Want("the last bytes")
	server.WantEnd(nil)
	server.Close()
	client.WantEnd(nil)
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 6+14, 0)
}

// The place on the wheel that was made for the hello comes up while bytes are
// relayed: that is no end.
func TestHelloTimeoutIsOverAfterTheHello(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{Hello: 100 * time.Millisecond}, idle: testkit.Patience})
	client, server := e.pair(o)
	late := e.dial()
	late.Send("hel")
	if s := e.wantRecord(HelloTimeout, PhaseHello); s.Total < 100*time.Millisecond {
		t.Errorf("half a hello was given %s, want 100ms or more", s.Total)
	}
	client.Send("still here")
	server.Want("still here")
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
}
