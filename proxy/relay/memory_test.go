package relay

import (
	"bytes"
	"os"
	"strconv"
	"testing"

	"keyhole/internal/testkit"
)

// Unfinished hellos are bounded together: past the budget the oldest end. The
// memory goes back to the system, and others are served meanwhile.
func TestHelloMemory(t *testing.T) {
	testkit.NoLeaks(t)
	const budget, clients = 4 << 20, 300
	o := newOrigins(t)
	e := serve(t, options{loops: 2, targets: []Target{o.target()}, memory: budget})
	before := resident(t)
	endless := bytes.Repeat([]byte("e"), 60<<10)
	var all []*peer
	for range clients {
		c := e.dial()
		c.Write(endless) // may be closed meanwhile
		all = append(all, c)
	}
	testkit.Eventually(t, "the hellos are read", func() bool { return e.engine.Accepted() == clients })
	e.settle()
	if n := e.helloBytes(); n > budget || n < budget/2 {
		t.Errorf("unfinished hellos hold %d bytes, want nearly the %d of the budget", n, budget)
	}
	first := clients - budget/(64<<10) - 8
	for range first {
		if s := e.record(); s.Reason != HelloMemory || s.Phase != PhaseHello {
			t.Fatalf("record says %q in %s, want %q", s.Reason, s.Phase, HelloMemory)
		}
	}
	client, server := e.pair(o)
	client.Send("ping")
	server.Want("ping")
	for _, c := range all {
		c.Close()
	}
	client.Close()
	testkit.Eventually(t, "all have ended", func() bool { return e.engine.Active() == 1 })
	if n := e.helloBytes(); n != 0 {
		t.Errorf("%d bytes are counted as unfinished hellos, want none", n)
	}
	// Not even what the loops may keep in free blocks is half of it.
	testkit.Eventually(t, "the memory is given back", func() bool { return resident(t) < before+budget })
}

// The oldest is the first to go, also when its hello has grown since.
func TestTheOldestHelloEndsFirst(t *testing.T) {
	testkit.NoLeaks(t)
	e := serve(t, options{memory: 24 << 10})
	var clients []*peer
	for i := range 3 {
		c := e.dial()
		c.Send("hel")
		testkit.Eventually(t, "begun", func() bool { return e.engine.Active() == i+1 })
		e.settle()
		clients = append(clients, c)
	}
	clients[0].SendBytes(bytes.Repeat([]byte("x"), 5<<10)) // from 4 KiB to 16
	testkit.Eventually(t, "grown", func() bool { return e.helloBytes() == 24<<10 })
	fourth := e.dial()
	fourth.Send("hel")
	clients[0].WantEnd(nil)
	e.wantRecord(HelloMemory, PhaseHello)
	if n := e.engine.Active(); n != 3 {
		t.Errorf("%d connections are open, want 3", n)
	}
}

// A hello counts while its session does not know where it goes, and no longer.
func TestHelloMemoryOfThoseThatWait(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	wakers := make(chan Waker, 4)
	waited := map[*script]bool{}
	e := serve(t, options{memory: 8 << 10, targets: []Target{o.target(), o.target(), o.target(), o.target()}, verdict: func(s *script, v Verdict) Verdict {
		if waited[s] {
			return v
		}
		waited[s] = true
		wakers <- s.conn.Waker()
		return Verdict{Op: Wait}
	}})
	var clients []*peer
	var waits []Waker
	for range 3 {
		c := e.dial()
		c.Send("hello\n")
		clients = append(clients, c)
		waits = append(waits, <-wakers)
	}
	clients[0].WantEnd(nil)
	e.wantRecord(HelloMemory, PhaseDecide)
	if n := e.helloBytes(); n != 8<<10 {
		t.Errorf("hellos that wait hold %d bytes, want the %d of two", n, 8<<10)
	}
	for i, c := range clients[1:] {
		waits[1+i].Wake()
		server := o.accept()
		server.Want("hello\n")
		if n := e.helloBytes(); n != (1-i)*4<<10 {
			t.Errorf("hellos that wait hold %d bytes, want those of %d", n, 1-i)
		}
		c.Close()
		server.WantEnd(nil)
		server.Close()
		e.wantRecord(ClientClosed, PhaseRelay)
	}
}

// helloBytes returns what unfinished hellos hold.
func (e *edge) helloBytes() (n int) {
	for _, l := range e.engine.loops {
		l.call(func(l *loop) { n += l.hellos })
	}
	return n
}

// resident returns the memory that the process has, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(b)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
