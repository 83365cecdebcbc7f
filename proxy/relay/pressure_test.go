package relay

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// Whatever a connection has moved, once it is idle it holds two descriptors
// and nothing else.
func TestIdleConnectionHoldsTwoDescriptors(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, timeouts: Timeouts{Hello: testkit.Patience, HalfClose: testkit.Patience}, idle: testkit.Patience})
	const connections = 50
	files, goroutines := len(testkit.Descriptors()), runtime.NumGoroutine()
	bulk := strings.Repeat("0123456789abcdef", 1<<16)
	for range connections {
		client, server := e.pair(o)
		exchange(client, server, bulk)
		exchange(server, client, bulk)
	}
	e.settle()
	s := e.engine.Stats()[0]
	if s.Active != connections || s.PipesLent != 0 || s.BytesHeld != 0 {
		t.Errorf("loop holds %+v, want %d connections, no pipe lent and no bytes", s, connections)
	}
	// The clients' and the origins' ends are descriptors of this process too.
	if got, want := len(testkit.Descriptors())-files-2*connections-2*s.Pipes, 2*connections; got != want {
		t.Errorf("%d connections hold %d descriptors, want %d", connections, got, want)
	}
	// A goroutine that has sent its part may take a moment to end.
	testkit.Eventually(t, "no goroutine of a connection", func() bool { return runtime.NumGoroutine() <= goroutines })
}

func exchange(from, to *peer, b string) {
	var sent sync.WaitGroup
	sent.Go(func() { io.WriteString(from, b) })
	to.Want(b)
	sent.Wait()
}

// What one connection can hold for a direction is a block of 64 KiB or a pipe
// of 1 MiB; all else is in the four sockets' own buffers. A writer that finds
// those full stops.
func TestSlowReaderStopsTheWriter(t *testing.T) {
	testkit.NoLeaks(t)
	for _, up := range []bool{true, false} {
		o := newOrigins(t)
		e := serve(t, options{targets: []Target{o.target()}})
		client, server := e.pair(o)
		writer, reader, from := client, server, fromClient
		if !up {
			writer, reader, from = server, client, fromOrigin
		}
		written := fill(t, e, writer)
		bound := buffer(t, writer, unix.SO_SNDBUF) + buffer(t, reader, unix.SO_RCVBUF) + pipeSize
		var fds [2]int32
		onLoop(e, func(l *loop) { fds = l.conns[0].fds })
		bound += socketBuffer(t, int(fds[from]), unix.SO_RCVBUF) + socketBuffer(t, int(fds[1-from]), unix.SO_SNDBUF)
		if written > bound {
			t.Errorf("writer could write %d bytes with nobody reading, want at most %d", written, bound)
		}
		s := e.engine.Stats()[0]
		if s.BytesHeld > readSize || s.PipesLent > 1 || s.BytesHeld+s.PipesLent == 0 {
			t.Errorf("loop holds %+v, want one block of at most %d bytes or one pipe", s, readSize)
		}
		// And goes on when it is read.
		if n, err := io.CopyN(io.Discard, reader, int64(written)); err != nil {
			t.Errorf("read %d bytes, then %v, want %d", n, err, written)
		}
		writer.Send("more")
		reader.Want("more")
	}
}

// The flows' names, where a test has peers of the same name.
const fromClient, fromOrigin = client, origin

// fill writes until the writer can write no more, and returns how much it
// was.
func fill(t *testing.T, e *edge, p *peer) int {
	t.Helper()
	raw, err := p.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 256<<10)
	written := 0
	for stuck := 0; stuck < 20; stuck++ {
		raw.Control(func(fd uintptr) {
			for {
				n, err := unix.Write(int(fd), b)
				if errors.Is(err, unix.EAGAIN) {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				written += n
				stuck = 0
			}
		})
		e.settle()
	}
	return written
}

func buffer(t *testing.T, p *peer, which int) (n int) {
	t.Helper()
	raw, err := p.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { n = socketBuffer(t, int(fd), which) })
	return n
}

func socketBuffer(t *testing.T, fd, which int) int {
	t.Helper()
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, which)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// With more stalled connections than pipes, the others copy: the pipes are
// bounded, and nobody waits for one.
func TestMoreStalledConnectionsThanPipes(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	const connections = maxPipes + 8
	type stalled struct {
		client, server *peer
		written        int
	}
	var all []stalled
	for range connections {
		client, server := e.pair(o)
		all = append(all, stalled{client, server, fill(t, e, client)})
	}
	if s := e.engine.Stats()[0]; s.Pipes > maxPipes || s.BytesHeld > connections*readSize {
		t.Errorf("loop holds %+v, want at most %d pipes and %d bytes", s, maxPipes, connections*readSize)
	}
	client, server := e.pair(o)
	exchange(client, server, strings.Repeat("0123456789abcdef", 1<<18))
	for _, x := range all {
		if n, err := io.CopyN(io.Discard, x.server, int64(x.written)); err != nil {
			t.Errorf("read %d bytes, then %v, want %d", n, err, x.written)
		}
	}
	e.settle()
	if s := e.engine.Stats()[0]; s.PipesLent != 0 || s.BytesHeld != 0 || s.Pipes > freePipes {
		t.Errorf("loop holds %+v with nothing on its way, want at most %d pipes, none lent, no bytes", s, freePipes)
	}
}

// However many bytes a source has, a turn moves a bounded number of them and
// then asks for another. The source here never runs dry: it is a file.
func TestATurnIsBounded(t *testing.T) {
	testkit.NoLeaks(t)
	source, sink := endless(t)
	e := serve(t, options{})
	onLoop(e, func(l *loop) {
		c := &Conn{loop: l, state: stateRelaying, fds: [2]int32{source, sink}}
		f := &c.flows[fromClient]
		f.flags = readable | writable | heavy | bulk
		for turn := range uint64(3) {
			before := f.moved
			l.left = roundBytes
			if !l.pump(c, fromClient) || f.has(ended|dead) {
				t.Errorf("turn %d ended the connection: %+v", turn, f)
			}
			if n := f.moved - before; n != roundBytes {
				t.Errorf("turn %d moved %d bytes, want %d", turn, n, roundBytes)
			}
			if !c.queued {
				t.Fatalf("connection is not queued after turn %d", turn)
			}
			l.queue.next()
		}
		l.release(f)
	})
}

// endless returns a file to splice from and one to splice to.
func endless(t *testing.T) (source, sink int32) {
	t.Helper()
	fd, err := unix.MemfdCreate("endless", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, 1<<40); err != nil {
		t.Fatal(err)
	}
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(null) })
	return int32(fd), int32(null)
}
