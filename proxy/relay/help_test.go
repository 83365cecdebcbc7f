package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait of these tests. It is spent only by one that
// fails.
const patience = 20 * time.Second

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
	records chan Summary
}

type options struct {
	loops    int // 0: one
	timeouts Timeouts
	idle     time.Duration
	targets  []Target
	reject   Verdict
	limit    int // of the hello; 0: none
}

// serve starts an edge, and closes it when the test ends; by then each
// connection must have had its record.
func serve(t testing.TB, o options) *edge {
	t.Helper()
	e := &edge{options: o, t: t, records: make(chan Summary, 1<<16)}
	var err error
	e.engine, err = New(Options{
		Loops:      max(1, o.loops),
		Timeouts:   o.timeouts,
		NewSession: func(*Conn) Session { return &script{edge: e} },
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
	if e.addr, err = e.engine.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	e.engine.Start()
	return e
}

type script struct {
	edge *edge
	open bool
	next int // target
}

func (s *script) Open() Verdict {
	if s.open {
		s.edge.t.Error("Open was called twice without Closed")
	}
	s.open, s.next = true, 0
	s.edge.opened.Add(1)
	return Verdict{}
}

func (s *script) Hello(b []byte) Verdict {
	switch {
	case s.edge.limit > 0 && len(b) > s.edge.limit:
		return Verdict{Op: Reject, Reason: HelloTooLarge, Phase: PhaseHello, Bye: ByeAlert, Alert: 50}
	case bytes.IndexByte(b, '\n') < 0:
		return Verdict{}
	case b[0] == 'R':
		return s.edge.reject
	}
	return s.dial(NoHealthyServer)
}

func (s *script) dial(last Reason) Verdict {
	if s.next == len(s.edge.targets) {
		return Verdict{Op: Reject, Reason: last, Phase: PhaseDial, Bye: ByeAlert, Alert: 80}
	}
	s.next++
	return Verdict{Op: Dial, Target: s.edge.targets[s.next-1], Idle: s.edge.idle}
}

func (s *script) DialFailed(err error) Verdict {
	if err == ErrDialTimeout {
		return s.dial(DialTimeout)
	}
	return s.dial(DialRefused)
}

func (s *script) Closed(sum Summary) {
	if !s.open {
		s.edge.t.Error("Closed was called twice")
	}
	s.open = false
	s.edge.records <- sum
}

// record waits for the next record.
func (e *edge) record() Summary {
	e.t.Helper()
	select {
	case s := <-e.records:
		return s
	case <-time.After(patience):
		e.t.Fatalf("no record after %s; loops hold %+v", patience, e.engine.Stats())
		return Summary{}
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
type peer struct {
	net.Conn
	t testing.TB
}

func newPeer(t testing.TB, c net.Conn) *peer {
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return &peer{c, t}
}

func (e *edge) dial() *peer {
	e.t.Helper()
	c, err := net.Dial("tcp", e.addr.String())
	if err != nil {
		e.t.Fatal(err)
	}
	return newPeer(e.t, c)
}

// pair connects a client through the edge and returns both ends, with the
// hello sent and read.
func (e *edge) pair(o *origins) (client, server *peer) {
	e.t.Helper()
	client = e.dial()
	client.send("hello\n")
	server = o.accept()
	server.want("hello\n")
	return client, server
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p, s); err != nil {
		p.t.Fatalf("write of %d bytes: %v", len(s), err)
	}
}

// want reads exactly s.
func (p *peer) want(s string) {
	p.t.Helper()
	got := make([]byte, len(s))
	n, err := io.ReadFull(p, got)
	if string(got[:n]) != s {
		p.t.Fatalf("read %s (%v), want %s", brief(got[:n]), err, brief([]byte(s)))
	}
}

func brief(b []byte) string {
	if len(b) > 60 {
		return fmt.Sprintf("%q...%q (%d bytes)", b[:20], b[len(b)-20:], len(b))
	}
	return fmt.Sprintf("%q", b)
}

// wantEnd reads on to the end of the stream and says how it should end: nil
// for an orderly end, or an errno.
func (p *peer) wantEnd(want error) {
	p.t.Helper()
	n, err := io.Copy(io.Discard, p)
	if n != 0 || !errors.Is(err, want) {
		p.t.Errorf("read %d bytes, then %v, want none, then %v", n, err, want)
	}
}

func (p *peer) fin() {
	p.t.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
}

// reset closes the connection so that the other end sees ECONNRESET.
func (p *peer) reset() {
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Close()
}

// acked waits until the kernel at the other end has every byte that p sent.
func (p *peer) acked() {
	p.t.Helper()
	raw, err := p.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, "every byte acknowledged", func() bool {
		queued := -1
		raw.Control(func(fd uintptr) { queued, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		return queued == 0
	})
}

// origins is a server that accepts when the test says so.
type origins struct {
	net.Listener
	t testing.TB
}

func newOrigins(t testing.TB) *origins {
	t.Helper()
	return listenOn(t, "tcp", "127.0.0.1:0")
}

func listenOn(t testing.TB, network, address string) *origins {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &origins{ln, t}
}

func (o *origins) target() Target {
	if a, ok := o.Addr().(*net.TCPAddr); ok {
		return Target{Addr: a.AddrPort()}
	}
	return Target{Path: o.Addr().String()}
}

func (o *origins) accept() *peer {
	o.t.Helper()
	o.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(patience))
	c, err := o.Accept()
	if err != nil {
		o.t.Fatal(err)
	}
	return newPeer(o.t, c)
}

// refusing returns a target that nobody listens on, and nobody will: a socket that
// does not listen keeps the port.
func refusing(t testing.TB) Target {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := at.(*unix.SockaddrInet4).Port
	return Target{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))}
}

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("after %s still not: %s", patience, what)
		}
	}
}

// noLeaks fails the test if at its end, after all other clean-up, more
// descriptors or goroutines are there than now.
func noLeaks(t testing.TB) {
	t.Helper()
	files, goroutines := descriptors(), runtime.NumGoroutine()
	t.Cleanup(func() {
		if t.Failed() {
			return // what it left behind says nothing
		}
		eventually(t, "no goroutine left behind", func() bool { return runtime.NumGoroutine() <= goroutines })
		if left := descriptors(); len(left) > len(files) {
			t.Errorf("%d descriptors, %d before the test: %s", len(left), len(files), strings.Join(left, " "))
		}
	})
}

// descriptors lists what this process has open.
func descriptors() []string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var all []string
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && to != "/proc/self/fd" {
			all = append(all, to)
		}
	}
	slices.Sort(all)
	return all
}

// TestMain has the runtime open its poller first, which it keeps.
func TestMain(m *testing.M) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ln.Close()
	os.Exit(m.Run())
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

// echo has o answer each connection with what it gets, until o is closed; the
// connections end with their clients.
func echo(o *origins) *sync.WaitGroup {
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := o.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				buf := make([]byte, 32<<10)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					if _, err := c.Write(buf[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	return &serving
}

// rawListener returns a listening socket that is accepted from without the
// runtime's help.
func rawListener(t testing.TB) (int, netip.AddrPort) {
	t.Helper()
	fd, at, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sysClose(fd) })
	if err := unix.SetNonblock(int(fd), false); err != nil {
		t.Fatal(err)
	}
	return int(fd), at
}
