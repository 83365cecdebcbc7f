package relay

import (
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// flood writes and reads bulk until the connection is on the loop for bulk.
func (e *edge) flood(from, to *peer) {
	e.t.Helper()
	b := strings.Repeat("0123456789abcdef", 1<<16)
	testkit.Eventually(e.t, "the connection on the loop for bulk", func() bool {
		go from.Write([]byte(b))
		to.Want(b)
		return e.onLoop() == 1
	})
}

// onLoop returns the loop that the edge's only connection is on.
func (e *edge) onLoop() int {
	c := e.connection()
	return c.Loop()
}

// A connection that stays bulk moves to the loop for bulk; one that has become
// small again moves back; a small one never moves. All their bytes arrive, and
// each has one record with all of them.
func TestBulkMovesApart(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{apart: true, targets: []Target{o.target()}})
	client, server := e.pair(o)
	for range 100 {
		client.Send("ping")
		server.Want("ping")
		server.Send("pong")
		client.Want("pong")
	}
	if n := e.moves.Load(); n != 0 {
		t.Fatalf("a connection of small messages moved %d times, want it where it was", n)
	}
	for range 3 {
		e.flood(server, client)
		testkit.Eventually(t, "the connection at home", func() bool {
			server.Send("ping")
			client.Want("ping")
			client.Send("pong")
			server.Want("pong")
			return e.onLoop() == 0
		})
		e.flood(client, server)
	}
	c := e.connection()
	up, down := c.flows[fromClient].moved, c.flows[fromOrigin].moved
	client.Close()
	server.WantEnd(nil)
	server.Close()
	if s := e.wantRecord(ClientClosed, PhaseRelay); s.Up != up || s.Down != down {
		t.Errorf("record says %d bytes up and %d down, want %d and %d", s.Up, s.Down, up, down)
	}
	for i, s := range e.engine.Stats() {
		if s.Active != 0 || s.PipesLent != 0 || s.BytesHeld != 0 || s.Pipes != 0 {
			t.Errorf("loop %d holds %+v with every connection closed, want nothing", i, s)
		}
	}
}

// The idle limit ends a connection that has moved.
func TestLimitsHoldApart(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{apart: true, targets: []Target{o.target()}, idle: 200 * time.Millisecond})
	client, server := e.pair(o)
	e.flood(client, server)
	e.wantRecord(IdleTimeout, PhaseRelay)
}

// Streams that flow on the loop for bulk end with the engine, each with a record.
func TestEndFindsBulk(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{loops: 2, apart: true, targets: []Target{o.target()}})
	const streams = 20
	var flowing sync.WaitGroup
	for range streams {
		client, server := e.pair(o)
		for _, way := range [][2]*peer{{client, server}, {server, client}} {
			flowing.Go(func() {
				for b := make([]byte, 1<<20); ; {
					if _, err := way[0].Write(b); err != nil {
						return
					}
				}
			})
			flowing.Go(func() {
				for b := make([]byte, 1<<20); ; {
					if _, err := way[1].Read(b); err != nil {
						return
					}
				}
			})
		}
	}
	testkit.Eventually(t, "streams on the loops for bulk", func() bool { return e.moves.Load() >= streams })
	e.engine.Close()
	flowing.Wait()
	for range streams {
		if s := e.record(); s.Reason != Killed {
			t.Errorf("record says %q, want %q", s.Reason, Killed)
		}
	}
}

// An event of a connection that has left, still in the batch, reaches nobody,
// nor does it once the slot has another owner.
func TestEventOfOneThatLeft(t *testing.T) {
	s, apart := newStages(t)
	c := s.enter(streamPair(t)[0], streamPair(t)[0], heavy)
	c.session = &quiet{closed: new(int)}
	c.turns = turnsBefore
	s.active.Add(1)
	before := c.token(client)
	s.enqueue(c)
	s.takeTurns()
	if s.conns[0] != &departed || len(s.vacant) != 1 || s.active.Load() != 0 {
		t.Fatalf("the slot has %+v, %d are vacant, %d active, want one that was left", s.conns[0], len(s.vacant), s.active.Load())
	}
	s.dispatch(&unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(before)), Pad: int32(before >> 32)})
	s.take(arrival{fd: -1, listener: &Listener{}})
	s.conns[0].state = stateRelaying
	s.dispatch(&unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(before)), Pad: int32(before >> 32)})
	if s.stale != 2 {
		t.Errorf("%d events were stale, want 2", s.stale)
	}
	apart.takeInbox()
	if c.loop != apart.loop || apart.conns[c.slot] != c || apart.active.Load() != 1 {
		t.Errorf("the connection is not on the loop for bulk")
	}
	apart.end(c, Killed)
}

// A connection stays while it holds a block of its loop's, or may soon.
func TestHeldBytesStay(t *testing.T) {
	s, _ := newStages(t)
	c := s.enter(streamPair(t)[0], streamPair(t)[0], heavy)
	c.turns = turnsBefore
	c.flows[fromClient].held = s.blocks.hold([]byte("held"))
	if s.setApart(c) {
		t.Fatal("a connection moved with bytes in a block of its loop's")
	}
	s.release(&c.flows[fromClient])
	c.flows[fromClient].flags |= inspected
	if s.setApart(c) {
		t.Fatal("a connection moved whose bytes the session may hold back")
	}
	c.flows[fromClient].flags &^= inspected
	if c.session = (&quiet{closed: new(int)}); !s.setApart(c) {
		t.Error("a connection stayed that holds nothing")
	}
}
