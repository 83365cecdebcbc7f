package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// How a connection of the integrity test ends.
type finale int

const (
	clientFin    finale = iota // the client's FIN, then the origin's
	originFin                  // the other way round
	bothFin                    // each when it has written its all
	clientResets               // a reset by the client when all is read
	originResets               // a reset by the origin half-way
	endings      = iota
)

// stream is one direction's bytes: seeded, so that nothing is stored.
type stream struct {
	*rand.ChaCha8
	left int
}

func newStream(connection, direction uint64, size int) *stream {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], connection)
	binary.LittleEndian.PutUint64(seed[8:], direction)
	return &stream{rand.NewChaCha8(seed), size}
}

// next fills b with the next bytes, as many as are left.
func (s *stream) next(b []byte) []byte {
	b = b[:min(len(b), s.left)]
	s.Read(b)
	s.left -= len(b)
	return b
}

// stall lets everybody else go on for a while, now and then.
func stall(r *rand.Rand) {
	if r.IntN(16) == 0 {
		for range r.IntN(200) {
			runtime.Gosched()
		}
	}
}

// write sends what is left of s in pieces of random sizes.
func (s *stream) write(to io.Writer, r *rand.Rand) error {
	b := make([]byte, 256<<10)
	for s.left > 0 {
		stall(r)
		if _, err := to.Write(s.next(b[:1+r.IntN(len(b))])); err != nil {
			return err
		}
	}
	return nil
}

var errWrongBytes = errors.New("wrong bytes")

// compare reads until the end and compares every byte. It returns the error
// that ended it: nil for an orderly end after all of s.
func (s *stream) compare(from io.Reader, r *rand.Rand) error {
	got, want := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		stall(r)
		n, err := from.Read(got[:1+r.IntN(len(got))])
		if n > s.left {
			return fmt.Errorf("%w: %d too many", errWrongBytes, n-s.left)
		}
		if at := s.left; !bytes.Equal(got[:n], s.next(want[:n])) {
			return fmt.Errorf("%w: in the %d with %d left", errWrongBytes, n, at)
		}
		switch {
		case err == io.EOF && s.left == 0:
			return nil
		case err == io.EOF:
			return fmt.Errorf("end with %d bytes missing", s.left)
		case err != nil:
			return err
		}
	}
}

// TestIntegrity moves 1 GiB each way (64 MiB with -short or the race
// detector) over fifty connections at once, with stalls and every ending.
func TestIntegrity(t *testing.T) {
	for name, apart := range map[string]bool{"one loop for all": false, "bulk apart": true} {
		t.Run(name, func(t *testing.T) { testIntegrity(t, apart) })
	}
}

func testIntegrity(t *testing.T, apart bool) {
	testkit.NoLeaks(t)
	total := 1 << 29 // each time
	if testing.Short() || testkit.RaceEnabled {
		total = 64 << 20
	}
	const connections = 50
	o := newOrigins(t)
	e := serve(t, options{loops: 2, apart: apart, targets: []Target{o.target()}})
	size := total / connections
	var wait sync.WaitGroup
	ends := map[string]finale{}
	for i := range connections {
		client, server := e.pair(o)
		// Only a test that hangs is late, and that is for go test to end: how long
		// the bytes take is the machine's affair.
		client.SetDeadline(time.Time{})
		server.SetDeadline(time.Time{})
		x := &exchanger{t: t, id: uint64(i), size: size, client: client.Conn.(*net.TCPConn), server: server.Conn.(*net.TCPConn), end: finale(i % endings)}
		if i%3 == 0 {
			x.client.SetReadBuffer(128 << 10)
			x.server.SetReadBuffer(128 << 10)
		}
		ends[client.LocalAddr().String()] = x.end
		wait.Go(x.run)
	}
	wait.Wait()
	if moves := e.moves.Load(); apart != (moves > 0) {
		t.Errorf("connections moved from loop to loop %d times, want some only with bulk apart", moves)
	}
	for range connections {
		s := e.closing()
		checkRecord(t, s.Summary, ends[s.client.String()], uint64(size))
	}
	for i, s := range e.engine.Stats() {
		if s.Active != 0 || s.PipesLent != 0 || s.BytesHeld != 0 {
			t.Errorf("loop %d holds %+v with every connection closed, want nothing", i, s)
		}
	}
}

func checkRecord(t *testing.T, s Summary, end finale, size uint64) {
	t.Helper()
	reasons := map[finale][]Reason{
		clientFin: {ClientClosed}, originFin: {OriginClosed}, bothFin: {ClientClosed, OriginClosed},
		clientResets: {ClientReset}, originResets: {OriginReset},
	}[end]
	if s.Reason != reasons[0] && s.Reason != reasons[len(reasons)-1] {
		t.Errorf("finale %d is recorded as %q, want one of %v", end, s.Reason, reasons)
	}
	if up, down := size+6, size; end != originResets && (s.Up != up || s.Down != down) {
		t.Errorf("finale %d: %d bytes up and %d down are recorded, want %d and %d", end, s.Up, s.Down, up, down)
	}
}

// An exchanger is one connection of the test with both of its ends.
type exchanger struct {
	t              *testing.T
	id             uint64
	size           int
	client, server *net.TCPConn
	end            finale
}

func (x *exchanger) run() {
	defer x.client.Close()
	defer x.server.Close()
	switch x.end {
	case clientResets:
		x.resetByClient()
	case originResets:
		x.resetHalfWay()
	default:
		x.orderly()
	}
}

func (x *exchanger) random(n uint64) *rand.Rand { return rand.New(rand.NewPCG(x.id, n)) }

func (x *exchanger) check(what string, err error) {
	if err != nil {
		x.t.Errorf("connection %d, finale %d: %s: %v", x.id, x.end, what, err)
	}
}

// orderly ends with a FIN from each side: x.end says whose waits for the
// other's.
func (x *exchanger) orderly() {
	var wait sync.WaitGroup
	side := func(n uint64, c *net.TCPConn, last bool, name string) {
		sawEnd := make(chan struct{})
		wait.Go(func() {
			defer close(sawEnd)
			x.check(name+" reads", newStream(x.id, 1-n, x.size).compare(c, x.random(n)))
		})
		wait.Go(func() {
			x.check(name+" writes", newStream(x.id, n, x.size).write(c, x.random(n+2)))
			if last {
				<-sawEnd
			}
			x.check(name+" ends", c.CloseWrite())
		})
	}
	side(0, x.client, x.end == originFin, "client")
	side(1, x.server, x.end == clientFin, "origin")
	wait.Wait()
}

// resetByClient resets once both sides have read everything, and expects the
// origin to see a reset, and not a byte less.
func (x *exchanger) resetByClient() {
	var all, end sync.WaitGroup
	var buf [1]byte
	side := func(n uint64, c *net.TCPConn, name string) {
		all.Go(func() {
			s := newStream(x.id, 1-n, x.size)
			x.check(name+" reads", s.compare(io.LimitReader(c, int64(x.size)), x.random(n)))
		})
		all.Go(func() { x.check(name+" writes", newStream(x.id, n, x.size).write(c, x.random(n+2))) })
	}
	side(0, x.client, "client")
	side(1, x.server, "origin")
	all.Wait()
	end.Go(func() {
		if n, err := x.server.Read(buf[:]); n != 0 || !errors.Is(err, errReset) {
			x.t.Errorf("connection %d: origin reads %d bytes and %v, want %v", x.id, n, err, errReset)
		}
	})
	x.client.SetLinger(0)
	x.client.Close()
	end.Wait()
}

// resetHalfWay has the origin reset in the midst of both streams: what the
// client has read till then is a part of the right bytes, and then it sees
// the reset too. The kernel reports it once, to whichever of the client's
// reads and writes asks first.
func (x *exchanger) resetHalfWay() {
	var wait sync.WaitGroup
	var read, written error
	wait.Go(func() { written = newStream(x.id, 0, x.size).write(x.client, x.random(2)) })
	wait.Go(func() { read = newStream(x.id, 1, x.size).compare(x.client, x.random(0)) })
	x.check("origin writes", newStream(x.id, 1, x.size/2).write(x.server, x.random(3)))
	s := newStream(x.id, 0, x.size/2)
	x.check("origin reads", s.compare(io.LimitReader(x.server, int64(x.size/2)), x.random(1)))
	x.server.SetLinger(0)
	x.server.Close()
	wait.Wait()
	if !errors.Is(read, errReset) && !errors.Is(written, errReset) || errors.Is(read, errWrongBytes) {
		x.t.Errorf("connection %d: client reads until %v and writes until %v, want %v", x.id, read, written, errReset)
	}
}
