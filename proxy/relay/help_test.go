package relay

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// An edge is an engine under test, with a session of a few lines in the place
// of the real one: a hello is everything up to a newline. One that begins
// with R is rejected as options.reject says; any other is sent to the first
// of the targets, and to the next when a dial fails.
type edge struct {
	options
	t       testing.TB
	engine  *Engine
	addr    netip.AddrPort
	opened  atomic.Int64
	records chan closing
	failed  chan error   // what the dials met with
	moves   atomic.Int64 // from loop to loop
}

type options struct {
	loops    int // 0: one
	apart    bool
	timeouts Timeouts
	idle     time.Duration
	targets  []Target
	reject   Farewell
	limit    int // of the hello; 0: none
	memory   int64
	kernel   kernel                         // what the kernel does; the zero one refuses nothing
	verdict  func(*script, Verdict) Verdict // changes the script's dials
	inspect  func(Side, []byte) Inspection
	greet    func([]byte) Verdict // before the hello; the zero Verdict: it begins here
	agree    func([]byte) error
	listen   ListenOptions
	open     func(*script) Verdict // nil: wait for the first bytes
}

// serve starts an edge, and closes it when the test ends; by then each
// connection must have had its record.
func serve(t testing.TB, o options) *edge {
	t.Helper()
	e := &edge{options: o, t: t, records: make(chan closing, 1<<16), failed: make(chan error, 1<<16)}
	var err error
	e.engine, err = New(Options{
		Loops:       max(1, o.loops),
		Apart:       o.apart,
		Timeouts:    o.timeouts,
		HelloMemory: o.memory,
		NewSession:  func(c *Conn) Session { return &script{edge: e, conn: c} },
		kernel:      o.kernel,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.engine.Close()
		if n := e.engine.Accepted(); uint64(e.opened.Load()) != n {
			t.Errorf("%d sessions were opened for %d accepted connections", e.opened.Load(), n)
		}
	})
	ln, err := e.engine.Listen(netip.MustParseAddrPort("127.0.0.1:0"), o.listen)
	if err != nil {
		t.Fatal(err)
	}
	e.addr = ln.Addr()
	e.engine.Start()
	return e
}

type script struct {
	edge      *edge
	conn      *Conn
	open      bool
	next      int // target
	connected int
	answered  int
}

func (s *script) Open() Verdict {
	if s.open {
		s.edge.t.Error("Open was called twice without Closed")
	}
	s.open, s.next, s.connected, s.answered = true, 0, 0, 0
	s.edge.opened.Add(1)
	if s.edge.open != nil {
		return s.edge.open(s)
	}
	return Verdict{}
}

// alert is what a rejected client of the scripts gets.
var alert = Farewell{Bytes: []byte{21, 3, 1, 0, 2, 2, 80}}

func (s *script) Hello(b []byte) Verdict {
	if s.edge.greet != nil {
		if v := s.edge.greet(b); v.Op != More || v.Skip > 0 {
			return v
		}
	}
	switch {
	case s.edge.limit > 0 && len(b) > s.edge.limit:
		return Verdict{Op: Reject, Farewell: alert}
	case bytes.IndexByte(b, '\n') < 0:
		return Verdict{}
	case b[0] == 'R':
		return Verdict{Op: Reject, Farewell: s.edge.reject}
	}
	return s.dial()
}

func (s *script) dial() Verdict {
	if s.next == len(s.edge.targets) {
		return Verdict{Op: Reject, Farewell: alert}
	}
	s.next++
	v := Verdict{Op: Dial, Target: s.edge.targets[s.next-1], Idle: s.edge.idle}
	if s.edge.verdict != nil {
		v = s.edge.verdict(s, v)
	}
	return v
}

func (s *script) DialFailed(err error, _ time.Duration) Verdict {
	s.edge.failed <- err
	return s.dial()
}

func (s *script) Resume(err error) Verdict {
	if err != nil {
		s.edge.failed <- err
	}
	return s.dial()
}

func (s *script) Agree(b []byte) error    { return s.edge.agree(b) }
func (s *script) Connected(time.Duration) { s.connected++ }
func (s *script) Answered()               { s.answered++ }
func (s *script) Moved()                  { s.edge.moves.Add(1) }

func (s *script) Inspect(from Side, b []byte) Inspection {
	if s.edge.inspect == nil {
		s.edge.t.Error("Inspect was called unasked")
		return Inspection{Pass: len(b)}
	}
	return s.edge.inspect(from, b)
}

func (s *script) Closed(sum Summary) {
	if !s.open {
		s.edge.t.Error("Closed was called twice")
	}
	if s.connected > 1 || s.answered > s.connected {
		s.edge.t.Errorf("Connected was called %d times, Answered %d times", s.connected, s.answered)
	}
	s.open = false
	s.edge.records <- closing{sum, s.conn.Peer()}
}

// A closing is what is known of a connection at its end.
type closing struct {
	Summary
	client netip.AddrPort
}

// record waits for the next record.
func (e *edge) record() Summary { return e.closing().Summary }

func (e *edge) closing() closing {
	e.t.Helper()
	select {
	case s := <-e.records:
		return s
	case <-time.After(testkit.Patience):
		e.t.Fatalf("no record after %s; loops hold %+v", testkit.Patience, e.engine.Stats())
		return closing{}
	}
}

// wantRecord waits for the next record and compares how it ended.
func (e *edge) wantRecord(r Reason, p Phase) Summary {
	e.t.Helper()
	s := e.record()
	if s.Reason != r || s.Phase != p {
		e.t.Errorf("record says %q in phase %s, want %q in %s", s.Reason, s.Phase, r, p)
	}
	return s
}

// wantFailed compares what the last dial, or the last wait, met with; nil is
// none at all.
func (e *edge) wantFailed(want error) {
	e.t.Helper()
	var got error
	for len(e.failed) > 0 {
		got = <-e.failed
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		e.t.Errorf("the session hears of %v, want %v", got, want)
	}
}

// connection returns the edge's only open connection, as it is at the moment.
func (e *edge) connection() (c Conn) {
	e.t.Helper()
	for _, l := range e.engine.loops {
		l.call(func(l *loop) {
			for _, x := range l.conns {
				if x.state != stateClosed {
					c = *x
				}
			}
		})
	}
	return c
}

// settle returns when every loop has dealt with what had happened before.
func (e *edge) settle() {
	for _, l := range e.engine.loops {
		l.call(func(*loop) {})
		l.call(func(*loop) {})
	}
}

// pause stops the edge's only loop until the function it returns is called.
func (e *edge) pause() (resume func()) {
	paused, done := make(chan struct{}), make(chan struct{})
	e.engine.loops[0].post(func(*loop) {
		close(paused)
		<-done
	})
	<-paused
	return func() { close(done) }
}

// A peer is a client, or an origin's side of a connection.
type peer struct{ *testkit.Peer }

func (e *edge) dial() *peer {
	e.t.Helper()
	return &peer{testkit.Dial(e.t, e.addr.String())}
}

// pair connects a client through the edge and returns both ends, with the
// hello sent and read.
func (e *edge) pair(o *origins) (client, server *peer) {
	e.t.Helper()
	client = e.dial()
	client.Send("hello\n")
	server = o.accept()
	server.Want("hello\n")
	return client, server
}

// acked waits until the kernel at the other end has every byte that p sent.
func (p *peer) acked() {
	p.T.Helper()
	raw, err := p.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		p.T.Fatal(err)
	}
	testkit.Eventually(p.T, "every byte acknowledged", func() bool {
		queued := -1
		raw.Control(func(fd uintptr) { queued, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		return queued == 0
	})
}

// origins is an origin as a target of the edge's.
type origins struct{ *testkit.Origin }

func newOrigins(t testing.TB) *origins {
	t.Helper()
	return &origins{testkit.NewOrigin(t)}
}

func (o *origins) target() Target {
	if a, ok := o.Addr().(*net.TCPAddr); ok {
		return Target{Addr: a.AddrPort()}
	}
	return Target{Path: o.Address()}
}

func (o *origins) accept() *peer {
	o.T.Helper()
	return &peer{o.Accept()}
}

// refusing is a target that refuses each dial.
func refusing(t testing.TB) Target {
	t.Helper()
	return Target{Addr: testkit.Refusing(t)}
}

var errReset error = syscall.ECONNRESET

// useUpDescriptors opens descriptors until there are no more to be had. The
// function it returns gives them back; it may be called more than once.
func useUpDescriptors(t testing.TB) (free func()) {
	t.Helper()
	var limit, low unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low = limit
	low.Cur = min(low.Cur, 1024) // enough, and sooner used up
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var held []int
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		held = append(held, fd)
	}
	free = func() {
		for _, fd := range held {
			unix.Close(fd)
		}
		held = nil
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(free)
	return free
}

// rawListener returns a listening socket that is accepted from without the
// runtime's help.
func rawListener(t testing.TB) (int, netip.AddrPort) {
	t.Helper()
	var ln Listener
	err := ln.bind(netip.MustParseAddrPort("127.0.0.1:0"), ListenOptions{})
	fd, at := ln.fd, ln.addr
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sysClose(fd) })
	if err := unix.SetNonblock(int(fd), false); err != nil {
		t.Fatal(err)
	}
	return int(fd), at
}

// TestMain leaves the tests Ps beside the loops', as the program does.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
	os.Exit(m.Run())
}

// quiet is a session that always dials one target, and allocates nothing.
type quiet struct {
	verdict Verdict
	closed  *int // the loop's own
}

func (q *quiet) Open() Verdict                           { return Verdict{} }
func (q *quiet) Hello([]byte) Verdict                    { return q.verdict }
func (q *quiet) Resume(error) Verdict                    { return q.verdict }
func (q *quiet) DialFailed(error, time.Duration) Verdict { return Verdict{Op: Reject} }
func (q *quiet) Agree([]byte) error                      { return nil }
func (q *quiet) Connected(time.Duration)                 {}
func (q *quiet) Answered()                               {}
func (q *quiet) Moved()                                  {}
func (q *quiet) Closed(Summary)                          { *q.closed++ }
func (q *quiet) Inspect(_ Side, b []byte) Inspection {
	return Inspection{Pass: len(b)}
}
