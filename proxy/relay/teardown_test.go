package relay

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wantBytes compares a record's counts; the hello of pair is six bytes.
func wantBytes(t *testing.T, s Summary, up, down int) {
	t.Helper()
	if s.Up != uint64(up) || s.Down != uint64(down) {
		t.Errorf("record says %d bytes up and %d down, want %d and %d", s.Up, s.Down, up, down)
	}
}

func TestClientFinFirst(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	client.send("question")
	client.fin()
	server.want("question")
	server.wantEnd(nil)
	server.send("answer")
	server.fin()
	client.want("answer")
	client.wantEnd(nil)
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 14, 6)
}

func TestOriginFinFirst(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	server.send("greeting")
	server.fin()
	client.want("greeting")
	client.wantEnd(nil)
	client.send("late news")
	client.fin()
	server.want("late news")
	server.wantEnd(nil)
	wantBytes(t, e.wantRecord(OriginClosed, PhaseRelay), 15, 8)
}

// Both ends come in one batch, so that neither direction finds the other
// open.
func TestFinsAtOnce(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	resume := e.pause()
	client.send("last")
	server.send("words")
	client.fin()
	server.fin()
	resume()
	client.want("words")
	client.wantEnd(nil)
	server.want("last")
	server.wantEnd(nil)
	s := e.record()
	if s.Reason != ClientClosed && s.Reason != OriginClosed {
		t.Errorf("record says %q, want that one of the two closed", s.Reason)
	}
	wantBytes(t, s, 10, 5)
}

func TestClientReset(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	client.send("before the reset")
	client.acked()
	client.reset()
	server.want("before the reset")
	server.wantEnd(errReset)
	wantBytes(t, e.wantRecord(ClientReset, PhaseRelay), 22, 0)
}

func TestOriginReset(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	server.send("before the reset")
	server.acked()
	server.reset()
	client.want("before the reset")
	client.wantEnd(errReset)
	wantBytes(t, e.wantRecord(OriginReset, PhaseRelay), 6, 16)
}

// The bytes and the reset come in one batch: the event carries an error, and
// what was sent before it must be delivered all the same.
func TestResetInOneBatchWithBytes(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	for _, fromClient := range []bool{true, false} {
		client, server := e.pair(o)
		from, to, want := client, server, ClientReset
		if !fromClient {
			from, to, want = server, client, OriginReset
		}
		resume := e.pause()
		from.send("the last words")
		from.acked()
		from.reset()
		resume()
		to.want("the last words")
		to.wantEnd(errReset)
		e.wantRecord(want, PhaseRelay)
	}
}

// Each writes to the other while the other has reset: the write eats the
// kernel's report, and the reset must be passed on and named all the same.
func TestResetSeenByAWriteFirst(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	for _, fromClient := range []bool{true, false} {
		client, server := e.pair(o)
		from, to, want := client, server, ClientReset
		if !fromClient {
			from, to, want = server, client, OriginReset
		}
		resume := e.pause()
		to.send("towards the dead")
		from.reset()
		resume()
		to.wantEnd(errReset)
		e.wantRecord(want, PhaseRelay)
	}
}

func TestResetsAtOnce(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	resume := e.pause()
	client.reset()
	server.reset()
	resume()
	if s := e.record(); s.Reason != ClientReset && s.Reason != OriginReset {
		t.Errorf("record says %q, want that one of the two was reset", s.Reason)
	}
}

// Who closed first gave the reason; a reset behind it does not lose the other
// side's answer to it, nor hold the connection.
func TestClientFinThenReset(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	client.send("x")
	client.fin()
	server.want("x")
	server.wantEnd(nil)
	client.reset()
	e.settle()
	server.Close()
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 7, 0)
}

// A client that goes away in the middle of the answer, after its own FIN, is
// no orderly end: the origin gets the reset.
func TestClientFinThenResetDuringTheAnswer(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	client.fin()
	server.wantEnd(nil)
	client.reset()
	e.settle()
	chunk := make([]byte, farewellBytes)
	for err := error(nil); err == nil; {
		_, err = server.Write(chunk)
	}
	e.wantRecord(ClientReset, PhaseRelay)
	server.Close()
}

// The same from an origin that says nothing more: it learns of it when the
// time for its farewell is over.
func TestClientFinThenResetBeforeTheAnswer(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	client.fin()
	server.wantEnd(nil)
	client.reset()
	e.wantRecord(ClientReset, PhaseRelay)
	if _, err := server.Write([]byte("late")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("write after the reset: %v, want %v", err, unix.EPIPE)
	}
	server.Close()
}

func TestOriginFinThenReset(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	server.send("all of the answer")
	server.fin()
	server.acked()
	server.reset()
	client.want("all of the answer")
	client.wantEnd(nil)
	client.Close()
	wantBytes(t, e.wantRecord(OriginClosed, PhaseRelay), 6, 17)
}

// A reset from the side that still had to speak, after the other's FIN.
func TestFinFromOneResetFromTheOther(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})

	client, server := e.pair(o)
	client.fin()
	server.wantEnd(nil)
	server.send("half an ans")
	server.acked()
	server.reset()
	client.want("half an ans")
	client.wantEnd(errReset)
	e.wantRecord(OriginReset, PhaseRelay)

	client, server = e.pair(o)
	server.fin()
	client.wantEnd(nil)
	client.send("half a ques")
	client.acked()
	client.reset()
	server.want("half a ques")
	server.wantEnd(errReset)
	e.wantRecord(ClientReset, PhaseRelay)
}

func TestHalfCloseWithLongAnswer(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{HalfClose: patience}})
	client, server := e.pair(o)
	client.fin()
	server.wantEnd(nil)
	answer := strings.Repeat("0123456789abcdef", 1<<19)
	exchange(server, client, answer)
	server.Close()
	client.wantEnd(nil)
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 6, len(answer))
}

func TestHalfCloseTimeout(t *testing.T) {
	noLeaks(t)
	const limit = 150 * time.Millisecond
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{HalfClose: limit}})
	client, server := e.pair(o)
	client.fin()
	server.wantEnd(nil)
	client.wantEnd(nil)
	s := e.wantRecord(HalfCloseTimeout, PhaseRelay)
	if s.Total < limit {
		t.Errorf("half-open connection was closed after %s, want %s or later", s.Total, limit)
	}
}

func TestIdleTimeout(t *testing.T) {
	noLeaks(t)
	const limit = 150 * time.Millisecond
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, idle: limit})
	client, server := e.pair(o)
	client.wantEnd(nil)
	server.wantEnd(nil)
	s := e.wantRecord(IdleTimeout, PhaseRelay)
	if s.Total < limit {
		t.Errorf("idle connection was closed after %s, want %s or later", s.Total, limit)
	}
}

// The end of one side's stream must not switch the idle limit off.
func TestIdleTimeoutWhenHalfClosed(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, idle: 150 * time.Millisecond})
	client, server := e.pair(o)
	client.fin()
	server.wantEnd(nil)
	client.wantEnd(nil)
	e.wantRecord(IdleTimeout, PhaseRelay)
}

// The origin answers, closes, and the client is still sending: the kernel
// resets the origin's connection, and the answer must come through. What the
// client has sent and nobody has read must not turn its end into a reset.
func TestOriginAnswersAndClosesWhileClientSends(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	answer := strings.Repeat("answer", 5000)
	for range 20 {
		client, server := e.pair(o)
		resume := e.pause()
		server.send(answer)
		server.Close()
		client.send(strings.Repeat("question", 4<<10))
		resume()
		e.settle()
		client.send(strings.Repeat("question", 32<<10))
		client.want(answer)
		client.wantEnd(nil)
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
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	rounds := 200
	if testing.Short() || raceEnabled {
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
		to.reset()
		from.wantEnd(errReset)
		e.wantRecord(want, PhaseRelay)
	}
}

// A reset behind bytes that nobody reads: it cannot be passed on before them,
// but the connection's time is that of a half-closed one from here on.
func TestResetBehindAStalledReader(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{HalfClose: 150 * time.Millisecond}, idle: patience})
	client, server := e.pair(o)
	fill(t, e, client)
	client.reset()
	e.wantRecord(HalfCloseTimeout, PhaseRelay)
	server.Close()
}

// The same with a reader that goes on: it gets to the reset.
func TestResetBehindASlowReader(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{HalfClose: patience}, idle: patience})
	client, server := e.pair(o)
	fill(t, e, client)
	client.reset()
	if n, err := io.Copy(io.Discard, server); n == 0 || !errors.Is(err, errReset) {
		t.Errorf("read %d bytes, then %v, want some, then %v", n, err, errReset)
	}
	e.wantRecord(ClientReset, PhaseRelay)
}

// The last bytes and the end were read at once and the destination was full:
// the end has to wait for the bytes.
func TestFinWaitsForTheBytesBeforeIt(t *testing.T) {
	noLeaks(t)
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
	server.want("the last bytes")
	server.wantEnd(nil)
	server.Close()
	client.wantEnd(nil)
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 6+14, 0)
}

// The place on the wheel that was made for the hello comes up while bytes are
// relayed: that is no end.
func TestHelloTimeoutIsOverAfterTheHello(t *testing.T) {
	noLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{Hello: 100 * time.Millisecond}, idle: patience})
	client, server := e.pair(o)
	late := e.dial()
	late.send("hel")
	if s := e.wantRecord(HelloTimeout, PhaseHello); s.Total < 100*time.Millisecond {
		t.Errorf("half a hello was given %s, want 100ms or more", s.Total)
	}
	client.send("still here")
	server.want("still here")
	client.Close()
	server.wantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
}
