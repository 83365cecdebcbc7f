package relay

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// A session that does not know the answer waits, is woken from another
// goroutine, and goes on with the client's bytes as they came.
func TestWaitAndWake(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	wakers := make(chan Waker, 2)
	waited := map[*script]bool{}
	e := serve(t, options{targets: []Target{o.target(), o.target()}, verdict: func(s *script, v Verdict) Verdict {
		if waited[s] {
			return v
		}
		waited[s] = true
		wakers <- s.conn.Waker()
		return Verdict{Op: Wait}
	}})
	client := e.dial()
	client.Send("hello\nearly")
	w := <-wakers
	client.Send(" bird")
	e.settle()
	w.Wake()
	w.Wake() // too late, and harmless
	server := o.accept()
	server.Want("hello\nearly bird")
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
	w.Wake()
	e.settle()
}

// A wait ends with its time, and the session hears of it.
func TestWaitTimesOut(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	waited := false
	e := serve(t, options{targets: []Target{o.target(), o.target()}, verdict: func(s *script, v Verdict) Verdict {
		if waited {
			return v
		}
		waited = true
		return Verdict{Op: Wait, Timeout: 60 * time.Millisecond}
	}})
	client, server := e.pair(o)
	e.wantFailed(ErrTimeout)
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
}

// A client that goes while its session waits is not waited for: by a FIN or a
// reset, before the wait or in it.
func TestWaitEndsWithItsClient(t *testing.T) {
	testkit.NoLeaks(t)
	e := serve(t, options{targets: []Target{{}}, verdict: func(*script, Verdict) Verdict { return Verdict{Op: Wait} }})
	for _, leave := range []func(*peer){(*peer).FIN, (*peer).Reset} {
		for _, early := range []bool{false, true} {
			client := e.dial()
			resume := func() {}
			if early {
				resume = e.pause()
			}
			client.Send("hello\n")
			if !early {
				e.waiting()
			}
			leave(client)
			resume()
			if s := e.record(); s.Reason != ClientGone {
				t.Errorf("record says %q in %s, want %q", s.Reason, s.Phase, ClientGone)
			}
			client.Close()
		}
	}
}

// A client may have said its all and wait for the answer, while an origin is to
// be dialed again.
func TestWaitToDialAgainOutlastsAFIN(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	var wake Waker
	e := serve(t, options{
		targets: []Target{refusing(t), {}, o.target()},
		verdict: func(s *script, v Verdict) Verdict {
			if s.next == 2 {
				wake = s.conn.Waker()
				return Verdict{Op: Wait}
			}
			return v
		},
	})
	for _, early := range []bool{false, true} {
		client := e.dial()
		resume := func() {}
		if early {
			resume = e.pause()
		}
		client.Send("hello\n")
		if !early {
			e.waiting()
		}
		client.FIN()
		resume()
		e.waiting()
		e.settle()
		wake.Wake()
		server := o.accept()
		server.Want("hello\n")
		server.WantEnd(nil)
		server.Send("answer")
		server.Close()
		client.Want("answer")
		client.WantEnd(nil)
		e.wantRecord(ClientClosed, PhaseRelay)
	}
	client := e.dial()
	client.Send("hello\n")
	e.waiting()
	client.Reset()
	e.wantRecord(ClientGone, PhaseDial)
}

// waiting returns when a session waits.
func (e *edge) waiting() {
	e.t.Helper()
	testkit.Eventually(e.t, "the session waits", func() bool { c := e.connection(); return c.state == stateWaiting })
}

// Bytes of the client that are not for the origin stay behind, and bytes that
// are not the client's go before, at each dial anew. Neither is counted as the
// client's.
func TestSkipAndPrefix(t *testing.T) {
	testkit.NoLeaks(t)
	prefix := strings.Repeat("prefix ", 1000)
	for _, cut := range []int{0, 3, 12} {
		o := newOrigins(t)
		full, makeRoom := fullBacklog(t)
		dials := 0
		e := serve(t, options{targets: []Target{refusing(t), full.target(), o.target()}, timeouts: Timeouts{Connect: 100 * time.Millisecond},
			verdict: func(s *script, v Verdict) Verdict {
				dials++
				v.Prefix = []byte(prefix[:7*dials])
				if dials == 1 {
					v.Skip = len("PROXY ")
				}
				return v
			}})
		client := e.dial()
		client.Send("PROXY hello\n"[:cut])
		if cut > 0 && cut < 12 {
			testkit.Eventually(t, "begun", func() bool { return e.engine.Active() == 1 })
			e.settle()
		}
		client.Send("PROXY hello\n"[cut:] + "more")
		server := o.accept()
		server.Want("prefix prefix prefix hello\nmore")
		server.Send("answer")
		client.Want("answer")
		client.FIN()
		server.WantEnd(nil)
		server.Close()
		client.WantEnd(nil)
		wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), len("hello\nmore"), len("answer"))
		makeRoom()
	}
}

// A prefix that the origin does not take at once is kept, in front of the
// client's bytes, and a reset is still told from an end (which goes by the
// count of what was received).
func TestPrefixLargerThanTheSocket(t *testing.T) {
	testkit.NoLeaks(t)
	prefix := bytes.Repeat([]byte("p"), 8<<20)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, verdict: func(_ *script, v Verdict) Verdict {
		v.Prefix, v.Skip = prefix, 2
		return v
	}})
	client := e.dial()
	client.Send("x hello\n")
	server := o.accept()
	if n, err := io.CopyN(io.Discard, server, int64(len(prefix))); err != nil {
		t.Fatalf("read %d bytes of the prefix, then %v", n, err)
	}
	server.Want("hello\n")
	client.Reset()
	server.WantEnd(errReset)
	wantBytes(t, e.wantRecord(ClientReset, PhaseRelay), len("hello\n"), 0)
}

// The session sees what both sides send before it goes on, may hold the
// client's bytes back until more have come, and stops looking.
func TestInspect(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	var shown []string
	e := serve(t, options{targets: []Target{o.target()},
		verdict: func(_ *script, v Verdict) Verdict {
			v.Inspect, v.Hold = ClientSide|OriginSide, len("<a")
			return v
		},
		inspect: func(from Side, b []byte) Inspection {
			shown = append(shown, string(b))
			in := Inspection{Pass: len(b), Watch: ClientSide | OriginSide}
			switch {
			case from == Origin && string(b) == "stop":
				in.Watch = NoSide
			case from == Client && b[0] == '<' && !bytes.Contains(b, []byte(">")):
				in.Pass = 0
			}
			return in
		}})
	client := e.dial()
	client.Send("hello\n<a")
	server := o.accept()
	server.Want("hello\n")
	server.Send("first")
	client.Want("first")
	client.Send("bc>")
	server.Want("<abc>")
	client.Send("<half")
	e.settle()
	server.Send("stop")
	client.Want("stop")
	server.Want("<half") // nobody looks any more
	client.Send("<and on")
	server.Want("<and on")
	client.FIN()
	server.WantEnd(nil)
	server.Close()
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), len("hello\n<abc><half<and on"), len("firststop"))
	onLoop(e, func(*loop) {
		if got := strings.Join(shown, "|"); got != "first|<abc>|<half|stop" {
			t.Errorf("session was shown %q", got)
		}
	})
}

// Bytes that are held back go on with the client's end.
func TestHeldBackBytesGoOnWithTheEnd(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()},
		verdict: func(_ *script, v Verdict) Verdict { v.Inspect = ClientSide; return v },
		inspect: func(Side, []byte) Inspection { return Inspection{Watch: ClientSide} }})
	client, server := e.pair(o)
	client.Send("never shown whole")
	client.FIN()
	server.Want("never shown whole")
	server.WantEnd(nil)
	server.Close()
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), len("hello\nnever shown whole"), 0)
	if n := e.helloBytes(); n != 0 {
		t.Errorf("%d bytes are counted as unfinished hellos, want none", n)
	}
}

// A session that rejects within the relay sends the client away, and resets
// the origin.
func TestRejectWithinTheRelay(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()},
		verdict: func(_ *script, v Verdict) Verdict { v.Inspect = ClientSide; return v },
		inspect: func(_ Side, b []byte) Inspection {
			if bytes.Contains(b, []byte("evil")) {
				return Inspection{Reject: true, Farewell: alert}
			}
			return Inspection{Watch: ClientSide}
		}})
	client, server := e.pair(o)
	client.Send("ev")
	e.settle()
	client.Send("il")
	client.Want(string(alert.Bytes))
	client.WantEnd(nil)
	server.WantEnd(errReset)
	client.Close()
	wantBytes(t, e.wantRecord(Rejected, PhaseRelay), len("hello\n"), 0)
}

// Bytes that are held back count as an unfinished hello: in time and in memory.
func TestHeldBackBytesAreBounded(t *testing.T) {
	testkit.NoLeaks(t)
	hold := options{
		verdict: func(_ *script, v Verdict) Verdict { v.Inspect = ClientSide; return v },
		inspect: func(Side, []byte) Inspection { return Inspection{Watch: ClientSide} },
	}
	o := newOrigins(t)
	hold.targets, hold.timeouts = []Target{o.target()}, Timeouts{Hello: 200 * time.Millisecond}
	e := serve(t, hold)
	client, _ := e.pair(o)
	client.Send("held")
	e.wantRecord(HelloTimeout, PhaseRelay)

	hold.timeouts, hold.memory = Timeouts{}, 8<<10
	e = serve(t, hold)
	var clients []*peer
	for range 3 {
		client, _ := e.pair(o)
		client.Send("held")
		e.settle()
		clients = append(clients, client)
	}
	e.wantRecord(HelloMemory, PhaseRelay)
	if _, err := clients[0].Read(make([]byte, 1)); err == nil {
		t.Error("the oldest of three reads a byte, want it closed")
	}
}

// Connected and Answered come once each, in order; a served connection's dial
// took a time.
func TestSessionHearsOfSuccess(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	var s *script
	e := serve(t, options{targets: []Target{refusing(t), o.target()}, verdict: func(x *script, v Verdict) Verdict { s = x; return v }})
	client, server := e.pair(o)
	check := func(connected, answered int) {
		t.Helper()
		e.settle()
		onLoop(e, func(*loop) {
			if s.connected != connected || s.answered != answered {
				t.Errorf("Connected was called %d times, Answered %d, want %d and %d", s.connected, s.answered, connected, answered)
			}
		})
	}
	check(1, 0)
	for range 2 {
		server.Send("answer")
		client.Want("answer")
		check(1, 1)
	}
}

// A listener that is closed serves those that had connected and leaves open
// connections alone; its place is another's later.
func TestListenersComeAndGo(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{loops: 2, targets: []Target{o.target()}})
	first := e.addr
	for range 3 {
		ln, err := e.engine.Listen(netip.MustParseAddrPort("127.0.0.1:0"), ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		e.addr = ln.Addr()
		client, server := e.pair(o)
		queued := e.dial() // says nothing yet
		closed := make(chan struct{})
		go func() {
			ln.Close()
			close(closed)
		}()
		testkit.Eventually(t, "a new client is refused", func() bool {
			e.engine.mu.Lock()
			defer e.engine.mu.Unlock()
			return e.engine.listeners[ln.index] != ln
		})
		<-closed
		queued.Send("hello\n")
		late := o.accept()
		late.Want("hello\n")
		client.Send("still here")
		server.Want("still here")
		if ln.index != 1 {
			t.Errorf("listener has place %d, want the one that was given up", ln.index)
		}
		ln.Close() // once more is harmless
		client.Close()
		queued.Close()
		for _, s := range []*peer{server, late} {
			s.WantEnd(nil)
			s.Close()
			e.wantRecord(ClientClosed, PhaseRelay)
		}
	}
	e.addr = first
	client, _ := e.pair(o)
	client.Close()
}

// A listener of an engine that has ended can be closed, and asked, all the same.
func TestListenerOutlivesItsEngine(t *testing.T) {
	testkit.NoLeaks(t)
	e, err := New(Options{Loops: 1, NewSession: func(*Conn) Session { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen(netip.MustParseAddrPort("127.0.0.1:0"), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.Start()
	e.Close()
	ln.SetKeepalive(time.Minute)
	ln.Close()
	if _, err := e.Listen(ln.Addr(), ListenOptions{}); err == nil {
		t.Error("Listen on an engine that has ended is no error")
	}
}

// A hello that comes back through an origin's address is the edge's own.
func TestOwnConnectionIsKnown(t *testing.T) {
	testkit.NoLeaks(t)
	const key = 7
	var seen []bool
	o := newOrigins(t)
	own := make(chan Target, 1)
	e := serve(t, options{targets: []Target{o.target(), o.target()}, verdict: func(s *script, v Verdict) Verdict {
		seen = append(seen, s.conn.IsOwn(key, 0))
		if s.conn.IsOwn(key, 0) {
			return Verdict{Op: Reject}
		}
		v.Target, v.Key = <-own, key
		return v
	}})
	own <- Target{Addr: e.addr}
	client := e.dial()
	client.Send("hello\n")
	client.WantEnd(nil)
	client.Close()
	for range 2 {
		if s := e.record(); s.Reason != Rejected && s.Reason != OriginClosed && s.Reason != ClientClosed {
			t.Errorf("record says %q", s.Reason)
		}
	}
	onLoop(e, func(*loop) {
		if len(seen) != 2 || seen[0] || !seen[1] {
			t.Errorf("IsOwn said %v, want false for the client and true for the edge itself", seen)
		}
	})
}
