package relay

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// An event for a descriptor's former owner, still in the batch when the slot
// has its next, must not reach that one. With every flag set it would end it.
func TestStaleEventDoesNotReachTheNextOwner(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})

	client, server := e.pair(o)
	var former [2]uint64
	var c *Conn
	onLoop(e, func(l *loop) {
		c = l.conns[0]
		former = [2]uint64{c.token(0), c.token(1)}
	})
	client.Reset()
	server.WantEnd(errReset)
	e.wantRecord(ClientReset, PhaseRelay)

	client, server = e.pair(o)
	onLoop(e, func(l *loop) {
		if l.conns[0] != c || len(l.conns) != 1 {
			t.Error("the second connection did not get the first one's slot")
			return
		}
		before := *c
		for _, token := range former {
			ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLRDHUP,
				Fd: int32(uint32(token)), Pad: int32(token >> 32)}
			l.dispatch(&ev)
		}
		if *c != before {
			t.Errorf("stale events changed the connection to %+v, want %+v", *c, before)
		}
	})
	if stale := e.engine.Stats()[0].Stale; stale != 2 {
		t.Errorf("%d stale events were counted, want 2", stale)
	}
	client.Send("still here")
	server.Want("still here")
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
}

// The same when an origin was replaced within one connection.
func TestStaleEventOfAFormerOrigin(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{refusing(t), o.target()}})
	client, server := e.pair(o)
	onLoop(e, func(l *loop) {
		c := l.conns[0]
		if c.gen[origin] == 0 {
			t.Error("the second origin has the generation of the first")
		}
		former := c.token(origin) - 1<<32
		l.dispatch(&unix.EpollEvent{Events: unix.EPOLLERR | unix.EPOLLHUP, Fd: int32(uint32(former)), Pad: int32(former >> 32)})
	})
	server.Send("still here")
	client.Want("still here")
}

// onLoop runs f on the edge's only loop.
func onLoop(e *edge, f func(*loop)) { e.engine.loops[0].call(f) }

// In one batch a connection's two sockets report that they are reset, and
// between the two events its slot and its descriptors get a new owner.
func TestDescriptorsReopenedInsideABatch(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for range rounds {
		resume := e.pause()
		client.Reset()
		next := e.dial() // the listener's event comes between the two
		next.Send("hello\n")
		server.Reset()
		resume()
		e.record()
		client, server = next, o.accept()
		server.Want("hello\n")
		client.Send("ping")
		server.Want("ping")
		server.Send("pong")
		client.Want("pong")
	}
	if stale := e.engine.Stats()[0].Stale; stale == 0 {
		t.Errorf("no event of %d rounds was stale: the test tests nothing", rounds)
	}
}

// Connections come, go and are reset on all loops at once; whoever does not
// reset must get its echo.
func TestChurn(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	serving := o.Echo()
	e := serve(t, options{loops: 3, targets: []Target{refusing(t), o.target()}})
	const workers, rounds = 16, 150
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := range rounds {
				churnOnce(e, w+i)
			}
		})
	}
	wait.Wait()
	for range workers * rounds {
		e.record()
	}
	o.Close()
	serving.Wait()
}

func churnOnce(e *edge, i int) {
	c := e.dial()
	defer c.Close()
	switch i % 5 {
	case 0:
		c.Send("hel")
		c.Reset()
	case 1:
		c.Send("hello\n")
		c.Reset()
	case 2:
		c.Send("hello\n")
		c.Want("hello\n")
		c.Send("bytes in flight")
		c.Reset()
	default:
		c.Send("hello\n")
		c.Want("hello\n")
		c.Send("ping")
		c.Want("ping")
		c.FIN()
		c.WantEnd(nil)
	}
}
