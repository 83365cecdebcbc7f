package relay

import (
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// mostOfARound is what a round can move: its last read can be a whole buffer.
const mostOfARound = roundBytes + readSize

// Between two looks at its events a loop moves a bounded number of bytes of
// bulk, however many streams have more.
func TestARoundOfBulkIsBounded(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	b := strings.Repeat("0123456789abcdef", 1<<18)
	var wait sync.WaitGroup
	for range 8 {
		client, server := e.pair(o)
		for _, way := range [][2]*peer{{client, server}, {server, client}} {
			wait.Go(func() { way[0].Write([]byte(b)) })
			wait.Go(func() { way[1].Want(b) })
		}
	}
	wait.Wait()
	busiest := e.engine.Stats()[0].Busiest
	if busiest < lightBytes || busiest > mostOfARound {
		t.Errorf("a round moved %d bytes of bulk, want at least %d and at most %d", busiest, lightBytes, mostOfARound)
	}
}

// A stage is a loop that the test itself runs, with connections whose sockets
// the test has chosen.
type stage struct {
	*loop
	t testing.TB
}

func newStage(t testing.TB) *stage {
	t.Helper()
	return stages(t, false)[0]
}

// newStages returns a loop and the one for its bulk.
func newStages(t testing.TB) (small, bulk *stage) {
	t.Helper()
	both := stages(t, true)
	return both[0], both[1]
}

func stages(t testing.TB, apart bool) (all []*stage) {
	t.Helper()
	e, err := New(Options{Loops: 1, Apart: apart, NewSession: func(*Conn) Session { return &quiet{closed: new(int)} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	for _, l := range e.loops {
		all = append(all, &stage{l, t})
	}
	return all
}

// enter adds a connection that relays from one descriptor to another.
func (s *stage) enter(from, to int32, flags flowFlags) *Conn {
	c := &Conn{loop: s.loop, state: stateRelaying, fds: [2]int32{from, to}, slot: uint32(len(s.conns))}
	c.flows[fromClient].flags = writable | flags
	s.conns = append(s.conns, c)
	return c
}

// happen has the loop deal with one batch of events.
func (s *stage) happen(tokens ...uint64) {
	for i, token := range tokens {
		s.events[i] = unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(token)), Pad: int32(token >> 32)}
	}
	s.ready = len(tokens)
	s.cycle()
}

// echoing returns a pair of sockets in which n messages of 100 bytes go round:
// what is read from one and written to the other can be read again.
func echoing(t testing.TB, n int) (from, to int32) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	for range n {
		if _, err := unix.Write(fds[1], make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	return int32(fds[0]), int32(fds[1])
}

// Of one batch the small connections are served before any bulk moves,
// wherever their events stand in it, and then the queue has one round.
func TestSmallConnectionsGoBeforeBulk(t *testing.T) {
	s := newStage(t)
	source, sink := endless(t)
	var streams []*Conn
	var batch []uint64
	for range 128 {
		c := s.enter(source, sink, heavy|bulk)
		streams = append(streams, c)
		batch = append(batch, c.token(client))
	}
	from, to := echoing(t, 1)
	small := s.enter(from, to, 0)
	batch = append(batch, small.token(client))
	for round := range uint64(2 * 128) {
		s.happen(batch...)
		if got, want := small.flows[fromClient].moved, 100*(round+1); got != want {
			t.Fatalf("after batch %d the small connection has moved %d bytes, want %d", round, got, want)
		}
		if s.busiest > mostOfARound {
			t.Fatalf("batch %d moved %d bytes of bulk, want at most %d", round, s.busiest, mostOfARound)
		}
	}
	for i, c := range streams {
		if moved := c.flows[fromClient].moved; moved != 2*roundBytes {
			t.Errorf("stream %d of 128 has moved %d bytes in 256 rounds, want two turns of %d", i, moved, roundBytes)
		}
		s.release(&c.flows[fromClient])
	}
}

// A connection that turns out to be bulk within an event stops there and goes
// to the queue.
func TestBulkIsFoundOutWithinAnEvent(t *testing.T) {
	s := newStage(t)
	from, to := streamPair(t), streamPair(t)
	c := s.enter(from[0], to[0], 0)
	if n, err := unix.Write(int(from[1]), make([]byte, 100<<10)); n != 100<<10 {
		t.Fatal(n, err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(c.token(client)))}
	s.dispatch(&ev)
	f := &c.flows[fromClient]
	if f.moved != lightBytes || !f.has(heavy) || !c.queued {
		t.Errorf("an event with 100 KiB moved %d bytes, heavy %v, queued %v, want %d and the rest queued", f.moved, f.has(heavy), c.queued, lightBytes)
	}
	s.takeTurns()
	if f.moved != 100<<10 || c.queued {
		t.Errorf("after its turn %d bytes have moved, queued %v, want all", f.moved, c.queued)
	}
	s.release(f)
}

// streamPair returns a pair of connected sockets.
func streamPair(t testing.TB) (pair [2]int32) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	return [2]int32{int32(fds[0]), int32(fds[1])}
}

// A model of the order in which a loop serves: a million small connections
// that always have something to say, one stream without end, and a reload.
// Each small connection is served once before any is served twice, the stream
// has a round in every batch, and the reload waits for its place like a small
// connection.
func TestNobodyStarves(t *testing.T) {
	small := 1_000_000
	if testkit.RaceEnabled || testing.Short() {
		small = 50_000
	}
	s := newStage(t)
	source, sink := endless(t)
	stream := s.enter(source, sink, heavy|bulk)
	from, to := echoing(t, 1)
	ready := make([]uint64, 0, small+1) // epoll's list of what is ready: first in, first out
	for range small {
		ready = append(ready, s.enter(from, to, 0).token(client))
	}
	s.happen(stream.token(client))
	reloaded := -1
	served := 0
	s.post(func(*loop) { reloaded = served })
	ready = append(ready, tokenWake)
	for batches := uint64(2); len(ready) > 0; batches++ {
		n := min(batch, len(ready))
		s.happen(ready[:n]...)
		ready, served = ready[n:], served+n
		if moved := stream.flows[fromClient].moved; moved != batches*roundBytes {
			t.Fatalf("after %d batches the stream has moved %d bytes, want a turn of %d in each", batches, moved, roundBytes)
		}
	}
	for _, c := range s.conns[1:] {
		if c.flows[fromClient].moved != 100 {
			t.Fatalf("connection %d has moved %d bytes, want its 100", c.slot, c.flows[fromClient].moved)
		}
	}
	if reloaded < small-batch {
		t.Errorf("the reload was served after %d events, want its place behind %d", reloaded, small)
	}
	s.release(&stream.flows[fromClient])
}
