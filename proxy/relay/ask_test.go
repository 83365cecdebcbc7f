package relay

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// greet takes a question mark as a greeting, and replies to it.
func greet(b []byte) Verdict {
	if b[0] == '?' {
		return Verdict{Skip: 1, Reply: []byte("yes")}
	}
	return Verdict{}
}

// A client's greetings are replied to before the hello, however they are cut
// into segments; only what follows them is the hello, and neither they nor the
// replies count as the peers' bytes.
func TestReplyBeforeTheHello(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, greet: greet})
	for _, c := range []struct {
		name  string
		sends []string // each is answered by the next of replies
		reply []string
	}{
		{"alone", []string{"?", "hello\n"}, []string{"yes", ""}},
		{"twice", []string{"?", "?", "hel"}, []string{"yes", "yes", ""}},
		{"in one segment", []string{"??hello\n"}, []string{"yesyes"}},
		{"with a part of the hello", []string{"?hel"}, []string{"yes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := e.dial()
			sent := ""
			for i, s := range c.sends {
				client.Send(s)
				client.Want(c.reply[i])
				sent = s
			}
			e.settle()
			if sent[len(sent)-1] != '\n' {
				client.Send("lo\n")
			}
			server := o.accept()
			server.Want("hello\n")
			server.Send("answer")
			client.Want("answer")
			client.FIN()
			server.WantEnd(nil)
			server.Close()
			client.WantEnd(nil)
			wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), len("hello\n"), len("answer"))
		})
	}
}

// A client that has been replied to and is silent holds no buffer.
func TestReplyHoldsNoBuffer(t *testing.T) {
	testkit.NoLeaks(t)
	e := serve(t, options{greet: func(b []byte) Verdict {
		if string(b) == "12" {
			return Verdict{Skip: 2, Reply: []byte("yes")}
		}
		return Verdict{}
	}})
	client := e.dial()
	client.Send("1")
	testkit.Eventually(t, "the first byte is held", func() bool { return e.helloBytes() > 0 })
	client.Send("2")
	client.Want("yes")
	e.settle()
	if n, held := e.helloBytes(), e.engine.Stats()[0].BytesHeld; n != 0 || held != 0 {
		t.Errorf("%d bytes count as unfinished hellos and %d are in blocks, want none", n, held)
	}
	client.FIN()
	e.wantRecord(ClientGone, PhaseHello)
}

// ask has every dial ask, and Agree take "S" alone.
func ask(o options) options {
	o.verdict = func(_ *script, v Verdict) Verdict {
		v.Prefix, v.Ask = []byte("ask"), true
		return v
	}
	o.agree = func(b []byte) error {
		if string(b) != "S" {
			return errors.New("got " + string(b))
		}
		return nil
	}
	return o
}

// The client's bytes go to the origin only after it has agreed, and its answer
// does not go to the client.
func TestAsk(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, ask(options{targets: []Target{o.target()}}))
	for _, cut := range []int{0, 3} {
		client := e.dial()
		client.Send("hello\n"[:cut])
		e.settle()
		client.Send("hello\n"[cut:])
		server := o.accept()
		server.Want("ask")
		client.Send("early")
		e.settle()
		if c := e.connection(); c.state != stateDialing || c.flows[fromClient].moved != 0 {
			t.Errorf("before the answer the connection is in state %d and has moved %d bytes, want the dial's, and none",
				c.state, c.flows[fromClient].moved)
		}
		server.Send("S")
		server.Want("hello\nearly")
		server.Send("answer")
		client.Want("answer")
		client.FIN()
		server.WantEnd(nil)
		server.Close()
		client.WantEnd(nil)
		wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), len("hello\nearly"), len("answer"))
	}
}

// An origin that does not agree is like one that refuses the dial: the next
// gets the question and all the client's bytes. The session hears what it was.
func TestAskGoesToTheNextServer(t *testing.T) {
	testkit.NoLeaks(t)
	for _, c := range []struct {
		name   string
		answer func(*peer)
		want   error
	}{
		{"another answer", func(p *peer) { p.Send("N") }, errors.New("got N")},
		{"more than the answer", func(p *peer) { p.Send("SX") }, errors.New("got SX")},
		{"an end", func(p *peer) { p.FIN() }, errors.New("got ")},
		{"a reset", func(p *peer) { p.Reset() }, unix.ECONNRESET},
		{"nothing", func(*peer) {}, ErrTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, second := newOrigins(t), newOrigins(t)
			o := ask(options{targets: []Target{first.target(), second.target()}})
			asks := o.verdict
			o.verdict = func(s *script, v Verdict) Verdict {
				if v = asks(s, v); s.next == 1 && c.want == ErrTimeout {
					v.Timeout = 100 * time.Millisecond
				}
				return v
			}
			e := serve(t, o)
			client := e.dial()
			client.Send("hello\n")
			refuses := first.accept()
			refuses.Want("ask")
			c.answer(refuses)
			server := second.accept()
			server.Want("ask")
			server.Send("S")
			server.Want("hello\n")
			if rest, _ := io.ReadAll(refuses); len(rest) > 0 {
				t.Errorf("the origin that did not agree got %q, want nothing of the client's", rest)
			}
			client.Close()
			server.WantEnd(nil)
			server.Close()
			wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), len("hello\n"), 0)
			e.wantFailed(&AskError{c.want})
		})
	}
}

// A dial that does not connect is no AskError, and the question waits for a
// server that accepts late.
func TestAskOfTheDialItself(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, ask(options{targets: []Target{refusing(t), o.target()}}))
	client := e.dial()
	client.Send("hello\n")
	server := o.accept()
	server.Want("ask")
	server.Send("S")
	server.Want("hello\n")
	e.wantFailed(unix.ECONNREFUSED)
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)

	full, makeRoom := fullBacklog(t)
	e = serve(t, ask(options{targets: []Target{full.target()}}))
	client = e.dial()
	client.Send("hello\n")
	testkit.Eventually(t, "the dial waits", func() bool { c := e.connection(); return c.state == stateDialing && c.ahead == 3 })
	makeRoom()
	server = full.accept()
	server.Want("ask")
	server.Send("S")
	server.Want("hello\n")
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
}

// A question that the origin does not take at once goes on when it does, and
// only then the client's bytes wait for the answer.
func TestQuestionLargerThanTheSocket(t *testing.T) {
	testkit.NoLeaks(t)
	question := bytes.Repeat([]byte("q"), 8<<20)
	o := newOrigins(t)
	asks := ask(options{targets: []Target{o.target()}})
	asks.verdict = func(_ *script, v Verdict) Verdict {
		v.Prefix, v.Ask = question, true
		return v
	}
	e := serve(t, asks)
	client := e.dial()
	client.Send("hello\n")
	server := o.accept()
	if n, err := io.CopyN(io.Discard, server, int64(len(question))); err != nil {
		t.Fatalf("read %d bytes of the question, then %v", n, err)
	}
	e.settle()
	server.Send("S")
	server.Want("hello\n")
	client.FIN()
	server.WantEnd(nil)
	server.Close()
	client.WantEnd(nil)
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), len("hello\n"), 0)
}

// With no server left the client is rejected, in the phase of the dial.
func TestNobodyAgrees(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, ask(options{targets: []Target{o.target()}}))
	client := e.dial()
	client.Send("hello\n")
	server := o.accept()
	server.Want("ask")
	server.Send("N")
	client.Want(string(alert.Bytes))
	client.WantEnd(nil)
	client.Close()
	server.WantEnd(nil)
	wantBytes(t, e.wantRecord(Rejected, PhaseDial), 0, 0)
}

// What follows the answer is relayed and ends as always, also where it comes
// with the answer's own end, and a reset is told from an end by the count of
// what was received.
func TestEndsBehindTheAnswer(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, ask(options{targets: []Target{o.target()}}))
	begin := func() (*peer, *peer) {
		client := e.dial()
		client.Send("hello\n")
		server := o.accept()
		server.Want("ask")
		return client, server
	}
	client, server := begin()
	resume := e.pause()
	server.Send("S")
	server.FIN()
	resume()
	server.Want("hello\n")
	client.WantEnd(nil)
	client.Close()
	server.WantEnd(nil)
	e.wantRecord(OriginClosed, PhaseRelay)

	client, server = begin()
	server.Send("S")
	server.Want("hello\n")
	server.Send("last")
	client.Want("last")
	resume = e.pause()
	client.Send("x")
	server.acked()
	server.Reset()
	resume()
	client.WantEnd(errReset)
	e.wantRecord(OriginReset, PhaseRelay)

	client, server = begin()
	client.Reset()
	if s := e.record(); s.Reason != ClientReset || s.Phase != PhaseDial {
		t.Errorf("record says %q in %s, want %q while the origin is asked", s.Reason, s.Phase, ClientReset)
	}
	server.WantEnd(nil)
}

// The session watches both sides behind the answer as behind any dial.
func TestInspectBehindTheAnswer(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	var shown []string
	asks := ask(options{targets: []Target{o.target()}})
	asks.verdict = func(_ *script, v Verdict) Verdict {
		v.Prefix, v.Ask, v.Inspect, v.Hold = []byte("ask"), true, ClientSide|OriginSide, len("<a")
		return v
	}
	asks.inspect = func(from Side, b []byte) Inspection {
		shown = append(shown, string(b))
		return Inspection{Pass: len(b), Watch: ClientSide | OriginSide}
	}
	e := serve(t, asks)
	client := e.dial()
	client.Send("hello\n<a")
	server := o.accept()
	server.Want("ask")
	server.Send("S")
	server.Want("hello\n")
	client.Send("bc>")
	server.Want("<abc>")
	server.Send("first")
	client.Want("first")
	client.FIN()
	server.WantEnd(nil)
	server.Close()
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), len("hello\n<abc>"), len("first"))
	onLoop(e, func(*loop) {
		if len(shown) != 2 || shown[0] != "<abc>" || shown[1] != "first" {
			t.Errorf("session was shown %q, want the client's bytes and the origin's, and not the answer", shown)
		}
	})
}
