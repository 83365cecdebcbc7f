package relay

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// overslept stops the edge's loop until d has passed, as a stopped process or
// a frozen machine does, while during acts on its sockets.
func (e *edge) overslept(d time.Duration, during func()) {
	e.t.Helper()
	woken := time.After(d)
	resume := e.pause()
	during()
	<-woken
	resume()
}

// A connection whose bytes came in time is not cut for a pause, in any state.
func TestNothingIsCutForAPause(t *testing.T) {
	testkit.NoLeaks(t)
	const limit = 300 * time.Millisecond
	o := newOrigins(t)
	full, makeRoom := fullBacklog(t)
	e := serve(t, options{targets: []Target{o.target()}, idle: limit, timeouts: Timeouts{Hello: limit, Connect: limit, HalfClose: limit}})
	up, down, half := e.dial(), e.dial(), e.dial()
	servers := map[*peer]*peer{}
	for _, c := range []*peer{up, down, half} {
		c.Send("hello\n")
		servers[c] = o.accept()
		servers[c].Want("hello\n")
	}
	half.FIN()
	servers[half].WantEnd(nil)
	slow := e.dial()
	slow.Send("hel")
	testkit.Eventually(t, "the slow one has begun", func() bool { return e.engine.Active() == 4 })
	e.settle()
	e.overslept(3*limit, func() {
		up.Send("up")
		servers[down].Send("down")
		servers[half].Send("rest")
		slow.Send("lo\n")
	})
	servers[up].Want("up")
	down.Want("down")
	half.Want("rest")
	o.accept().Want("hello\n")

	e = serve(t, options{targets: []Target{full.target()}, timeouts: Timeouts{Connect: limit}})
	dialing := e.dial()
	dialing.Send("hello\n")
	e.dialing()
	e.overslept(3*time.Second, makeRoom) // the kernel sends its SYN again after one
	full.accept().Want("hello\n")
}

// A connection without a byte is cut after a pause as after any other time.
func TestSilenceIsCutAfterAPause(t *testing.T) {
	testkit.NoLeaks(t)
	const limit = 200 * time.Millisecond
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, idle: limit, timeouts: Timeouts{Hello: limit}})
	client, server := e.pair(o)
	slow := e.dial()
	slow.Send("hel")
	testkit.Eventually(t, "begun", func() bool { return e.engine.Active() == 2 })
	e.overslept(2*limit, func() {})
	client.WantEnd(nil)
	server.WantEnd(nil)
	slow.WantEnd(nil)
	seen := map[Reason]bool{e.record().Reason: true, e.record().Reason: true}
	if !seen[IdleTimeout] || !seen[HelloTimeout] {
		t.Errorf("records say %v, want one of each timeout", seen)
	}
}

// A machine whose wall clock was wrong at the start shows the right time in its
// records once the clock is.
func TestRecordsFollowTheWallClock(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	onLoop(e, func(l *loop) {
		l.epoch = l.epoch.AddDate(-20, 0, 0) // as it was before the clock was set
		l.wallAt = l.now
	})
	began := time.Now()
	testkit.Eventually(t, "the loop has looked at the clock again", func() bool {
		right := false
		onLoop(e, func(l *loop) { right = time.Since(l.epoch) < time.Hour })
		return right
	})
	if took := time.Since(began); took < time.Second/2 {
		t.Errorf("the loop looked again after %v, want about a second", took)
	}
	client.Close()
	server.WantEnd(nil)
	server.Close()
	if s := e.wantRecord(ClientClosed, PhaseRelay); time.Since(s.Start) > time.Hour || time.Until(s.Start) > 0 {
		t.Errorf("record says that it began at %v", s.Start)
	}
}

// Clients' sockets inherit keep-alive from the listener, origins' get it a
// second after the connection, and a route's own reaches both.
func TestKeepalive(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	for _, c := range []struct{ listener, route time.Duration }{{time.Minute, time.Minute}, {time.Minute, 7 * time.Second}, {time.Minute, 0}, {0, 0}} {
		e := serve(t, options{targets: []Target{o.target()}, listen: ListenOptions{Keepalive: c.listener},
			verdict: func(_ *script, v Verdict) Verdict { v.Keepalive = c.route; return v }})
		e.pair(o)
		x := e.connection()
		if got := keepaliveOf(t, x.fds[fromClient]); got != c.listener {
			t.Errorf("listener %v: the client's socket has keep-alive after %v at first", c.listener, got)
		}
		testkit.Eventually(t, "both sockets are tended", func() bool {
			return keepaliveOf(t, x.fds[fromClient]) == c.route && keepaliveOf(t, x.fds[fromOrigin]) == c.route
		})
	}
}

// keepaliveOf returns after how long of silence the kernel probes; 0 is never.
func keepaliveOf(t *testing.T, fd int32) time.Duration {
	t.Helper()
	get := func(level, name int) int {
		n, err := unix.GetsockoptInt(int(fd), level, name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	on, idle := get(unix.SOL_SOCKET, unix.SO_KEEPALIVE), get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
	if user := get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); (user != 0) != (on != 0) || on != 0 && user != 2000*idle {
		return -1
	}
	if on == 0 {
		return 0
	}
	return time.Duration(idle) * time.Second
}
