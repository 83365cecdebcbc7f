package relay

import (
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// fullBacklog returns a listener that does not answer: its queue of one is
// taken. The function it returns makes room, so that a connect that is tried
// again succeeds.
func fullBacklog(t *testing.T) (o *origins, makeRoom func()) {
	t.Helper()
	o = newOrigins(t)
	raw, err := o.Listener.(interface {
		SyscallConn() (syscall.RawConn, error)
	}).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) })
	if err != nil {
		t.Fatal(err)
	}
	taker := &edge{t: t, addr: o.target().Addr}
	taker.dial()
	return o, func() { o.accept() }
}

func TestDialRefusedGoesToTheNextServer(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{refusing(t), refusing(t), o.target()}})
	client, server := e.pair(o)
	client.Close()
	server.WantEnd(nil)
	server.Close()
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 6, 0)
}

func TestDialTimeoutGoesToTheNextServer(t *testing.T) {
	testkit.NoLeaks(t)
	const limit = 100 * time.Millisecond
	full, _ := fullBacklog(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{full.target(), o.target()}, timeouts: Timeouts{Connect: limit}})
	client, server := e.pair(o)
	client.Close()
	server.WantEnd(nil)
	server.Close()
	s := e.wantRecord(ClientClosed, PhaseRelay)
	wantBytes(t, s, 6, 0)
	if s.Dial < limit {
		t.Errorf("dial took %s, want the %s of the server that did not answer, or more", s.Dial, limit)
	}
}

func TestAllServersFail(t *testing.T) {
	testkit.NoLeaks(t)
	full, _ := fullBacklog(t)
	for _, c := range []struct {
		name    string
		targets []Target
		want    error
	}{
		{"refused", []Target{refusing(t), refusing(t)}, unix.ECONNREFUSED},
		{"timeout", []Target{refusing(t), full.target()}, ErrTimeout},
		{"none", nil, nil},
		{"bad path", []Target{{Path: strings.Repeat("x", 108)}}, &LocalError{NoLocalRoute, unix.EADDRNOTAVAIL}},
		{"no such socket", []Target{{Path: filepath.Join(t.TempDir(), "no")}}, unix.ENOENT},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := serve(t, options{targets: c.targets, timeouts: Timeouts{Connect: 100 * time.Millisecond}})
			client := e.dial()
			client.Send("hello\n")
			client.Want("\x15\x03\x01\x00\x02\x02\x50")
			client.WantEnd(nil)
			client.Close()
			phase := PhaseDial
			if len(c.targets) == 0 {
				phase = PhaseHello
			}
			wantBytes(t, e.wantRecord(Rejected, phase), 0, 0)
			e.wantFailed(c.want)
		})
	}
}

// Without a limit for the connect, the limit for the hello must not be taken
// for one.
func TestDialIsNotEndedByTheHelloTimeout(t *testing.T) {
	testkit.NoLeaks(t)
	full, makeRoom := fullBacklog(t)
	e := serve(t, options{targets: []Target{full.target()}, timeouts: Timeouts{Hello: 150 * time.Millisecond}})
	client := e.dial()
	client.Send("hello\n")
	// The first that the client could see is the alert after the timeout; the
	// kernel tries to connect again after a second.
	got := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(client, 7))
		got <- string(b)
	}()
	var s string
	select {
	case s = <-got:
	case <-time.After(450 * time.Millisecond):
	}
	if s != "" {
		t.Fatalf("client read %q while the dial went on, want nothing", s)
	}
	makeRoom()
	server := full.accept()
	server.Want("hello\n")
	server.Close()
	<-got
	client.Close()
	e.wantRecord(OriginClosed, PhaseRelay)
}

func TestClientFinDuringDialing(t *testing.T) {
	testkit.NoLeaks(t)
	full, makeRoom := fullBacklog(t)
	e := serve(t, options{targets: []Target{full.target()}})
	client := e.dial()
	client.Send("hello\n")
	e.dialing()
	client.Send("and more")
	client.FIN()
	e.settle()
	makeRoom()
	server := full.accept()
	server.Want("hello\nand more")
	server.WantEnd(nil)
	server.Send("answer")
	server.Close()
	client.Want("answer")
	client.WantEnd(nil)
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 14, 6)
}

func TestClientResetDuringDialing(t *testing.T) {
	testkit.NoLeaks(t)
	full, _ := fullBacklog(t)
	e := serve(t, options{targets: []Target{full.target()}})
	client := e.dial()
	client.Send("hello\n")
	e.dialing()
	client.Reset()
	wantBytes(t, e.wantRecord(ClientReset, PhaseDial), 0, 0)
}

// dialing waits until the edge's first connection is.
func (e *edge) dialing() {
	e.t.Helper()
	testkit.Eventually(e.t, "dialing", func() bool {
		dialing := false
		e.engine.loops[0].call(func(l *loop) { dialing = len(l.conns) > 0 && l.conns[0].state == stateDialing })
		return dialing
	})
}

// An origin that closes without a look at the hello: the client is neither
// left hanging nor served by silence, and there is one record.
func TestOriginClosesBeforeReadingTheHello(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	for range 50 {
		client := e.dial()
		client.Send("hello\n")
		o.accept().Close()
		if n, _ := io.Copy(io.Discard, client); n != 0 {
			t.Errorf("client read %d bytes, want none", n)
		}
		client.Close()
		if s := e.record(); s.Reason != OriginReset && s.Reason != OriginClosed {
			t.Errorf("record says %q in phase %s, want that the origin ended it", s.Reason, s.Phase)
		}
	}
}

func TestUnixOrigin(t *testing.T) {
	testkit.NoLeaks(t)
	o := &origins{testkit.ListenOrigin(t, "unix", filepath.Join(t.TempDir(), "origin"))}
	e := serve(t, options{targets: []Target{o.target()}})

	client, server := e.pair(o)
	big := strings.Repeat("0123456789abcdef", 1<<18)
	exchange(client, server, big)
	client.FIN()
	server.WantEnd(nil)
	exchange(server, client, big)
	server.Close()
	client.WantEnd(nil)
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 6+len(big), len(big))

	client, server = e.pair(o)
	server.Send("words")
	client.Send("unread, so that closing is a reset")
	e.settle()
	server.Close()
	client.Want("words")
	client.WantEnd(errReset)
	e.wantRecord(OriginReset, PhaseRelay)

	client, server = e.pair(o)
	client.Reset()
	server.WantEnd(nil) // a unix socket knows no reset from its peer
	e.wantRecord(ClientReset, PhaseRelay)
}

// A unix socket with a full backlog is tried again at each tick, as TCP does by
// itself, until it has room or the time for the connect is over.
func TestUnixBacklogFull(t *testing.T) {
	testkit.NoLeaks(t)
	fd, path := fullUnixBacklog(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{{Path: path}, o.target()}, timeouts: Timeouts{Connect: 200 * time.Millisecond}})
	client, server := e.pair(o)
	e.wantFailed(ErrTimeout)
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)

	e = serve(t, options{targets: []Target{{Path: path}}})
	client = e.dial()
	client.Send("hello\n")
	e.dialing()
	e.settle()
	var taken [2]int // the one that filled the backlog, and the edge's
	for i := range taken {
		var err error
		if taken[i], _, err = unix.Accept(fd); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(taken[i])
	}
	got := make([]byte, 10)
	if n, err := unix.Read(taken[1], got); string(got[:max(n, 0)]) != "hello\n" {
		t.Fatalf("origin reads %q, %v, want the hello", got[:max(n, 0)], err)
	}
	client.Close()
	unix.Shutdown(taken[1], unix.SHUT_WR)
	e.wantRecord(ClientClosed, PhaseRelay)
}

// It is no other for a client that has sent nothing.
func TestUnixBacklogFullBeforeTheFirstByte(t *testing.T) {
	testkit.NoLeaks(t)
	fd, path := fullUnixBacklog(t)
	e := serve(t, options{targets: []Target{{Path: path}}, listen: ListenOptions{AtOnce: true}, open: (*script).dial})
	client := e.dial()
	e.dialing()
	e.settle()
	for range 2 { // the one that filled the backlog, and the edge's
		taken, _, err := unix.Accept(fd)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(taken)
		unix.Write(taken, []byte("220 ready"))
	}
	client.Want("220 ready")
	client.Reset()
	e.wantRecord(ClientReset, PhaseRelay)
}

// fullUnixBacklog returns a listening unix socket that has no room for another
// connection before it accepts the one that waits.
func fullUnixBacklog(t *testing.T) (fd int, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "origin")
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(listener) })
	at := &unix.SockaddrUnix{Name: path}
	if err := unix.Bind(listener, at); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(listener, 0); err != nil {
		t.Fatal(err)
	}
	taker, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(taker) })
	if err := unix.Connect(taker, at); err != nil {
		t.Fatal(err)
	}
	return listener, path
}

// A connect to a dead port of this machine can meet itself, when the kernel
// gives it that very port as its own: TCP's simultaneous open. The client
// would talk to its own echo.
func TestDialDoesNotMeetItself(t *testing.T) {
	testkit.NoLeaks(t)
	dead := deadPort(t)
	e := serve(t, options{targets: slices.Repeat([]Target{{Addr: dead}}, 1<<15)}) // each port comes up once
	client := e.dial()
	client.Send("hello\n")
	client.Want("\x15\x03\x01\x00\x02\x02\x50")
	client.Close()
	e.wantRecord(Rejected, PhaseDial)
	e.wantFailed(unix.ECONNREFUSED)
}

// deadPort returns an address that nobody listens on and that the kernel may
// connect from: it does so from even ports, or from odd ones, as long as it
// can.
func deadPort(t *testing.T) netip.AddrPort {
	t.Helper()
	probe := &edge{t: t, addr: newOrigins(t).target().Addr}
	like := probe.dial().LocalAddr().(*net.TCPAddr).AddrPort().Port()
	for {
		at := refusing(t).Addr
		for _, port := range []uint16{at.Port(), at.Port() ^ 1} {
			if at = netip.AddrPortFrom(at.Addr(), port); port%2 != like%2 {
				continue
			}
			if ln, err := net.Listen("tcp", at.String()); err == nil {
				ln.Close()
				return at
			}
		}
	}
}
