package relay

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// rawClient is a client's socket, made before the descriptors run out.
func rawClient(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	// A read that finds nothing fails the test rather than hang it.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(testkit.Patience.Seconds())}); err != nil {
		t.Fatal(err)
	}
	return fd
}

func rawHello(fd int, to netip.AddrPort) error {
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return err
	}
	_, err := unix.Write(fd, []byte("hello\n"))
	return err
}

// Out of descriptors, a client is told so by a reset and has its record; when
// there are some again, all is as before.
func TestOutOfDescriptors(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	const n = 20
	var clients [n]int
	for i := range clients {
		clients[i] = rawClient(t)
	}
	free := useUpDescriptors(t)
	for _, fd := range clients {
		if err := rawHello(fd, e.addr); err != nil && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
			t.Errorf("connect: %v, want none", err)
		}
	}
	for _, fd := range clients {
		if n, err := unix.Read(fd, make([]byte, 1)); n > 0 || err != unix.ECONNRESET {
			t.Errorf("read %d bytes, %v, want %v", n, err, unix.ECONNRESET)
		}
	}
	free()
	for range n {
		e.wantRecord(NoDescriptor, PhaseAdmit)
	}
	client, server := e.pair(o)
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
}

// The spare descriptor that a loop gives up for a moment can be taken by
// another thread. When there are descriptors again, it must get one again:
// without, the next shortage leaves clients unanswered and the loop spinning.
func TestSpareDescriptorComesBack(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	const n = 5
	var clients [n]int
	for i := range clients {
		clients[i] = rawClient(t)
	}
	onLoop(e, func(l *loop) { // as if it had been taken
		sysClose(l.spare)
		l.spare = -1
	})
	client, server := e.pair(o) // in a time of plenty
	free := useUpDescriptors(t)
	for _, fd := range clients {
		rawHello(fd, e.addr)
	}
	for _, fd := range clients {
		if n, err := unix.Read(fd, make([]byte, 1)); n > 0 || err != unix.ECONNRESET {
			t.Errorf("read %d bytes, %v, want %v", n, err, unix.ECONNRESET)
			break
		}
	}
	free()
	client.Close()
	server.WantEnd(nil)
}

// The dial is what finds no descriptor: the session hears of it.
func TestOutOfDescriptorsAtTheDial(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client := e.dial()
	client.Send("hel")
	testkit.Eventually(t, "hello begun", func() bool { return e.engine.Active() == 1 })
	free := useUpDescriptors(t)
	client.Send("lo\n")
	client.Want("\x15\x03\x01\x00\x02\x02\x50")
	free()
	client.Close()
	e.wantRecord(Rejected, PhaseDial)
	e.wantFailed(&LocalError{NoLocalDescriptor, unix.EMFILE})
}

// Long-lived connections are spread evenly whichever loop accepts them.
func TestSpreadWithinTenPercent(t *testing.T) {
	testkit.NoLeaks(t)
	const loops, connections = 4, 5000
	e := serve(t, options{loops: loops})
	clients := make([]int, connections)
	for i := range clients {
		clients[i] = rawClient(t)
		if err := rawPart(clients[i], e.addr); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "all connections open", func() bool { return e.engine.Active() == connections })
	e.settle()
	for i, s := range e.engine.Stats() {
		if want := connections / loops; s.Active < want*9/10 || s.Active > want*11/10 {
			t.Errorf("loop %d has %d connections, want %d within 10%%", i, s.Active, want)
		}
	}
	for _, fd := range clients {
		unix.Shutdown(fd, unix.SHUT_WR)
	}
	for range clients {
		e.wantRecord(ClientGone, PhaseHello)
	}
}

func rawPart(fd int, to netip.AddrPort) error {
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return err
	}
	_, err := unix.Write(fd, []byte("hel"))
	return err
}
