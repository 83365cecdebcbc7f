package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// fullOrigin listens with room for one connection that nobody has accepted, and takes that room
// itself. Over TCP the kernel then drops the next SYN, and its sender repeats that; a unix socket
// answers EAGAIN.
func fullOrigin(t *testing.T, network string) *testkit.Origin {
	t.Helper()
	at, family, sa := "127.0.0.1:0", unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if network == "unix" {
		at = t.TempDir() + "/origin.sock"
		family, sa = unix.AF_UNIX, &unix.SockaddrUnix{Name: at}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), at)
	defer f.Close()
	if err := unix.Bind(fd, sa); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	o := &testkit.Origin{Listener: l, T: t}
	t.Cleanup(func() { l.Close() })
	filler, err := net.Dial(network, o.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { filler.Close() })
	return o
}

// awaitSYN waits until somebody's SYN to a TCP origin has no answer.
func awaitSYN(t *testing.T, o *testkit.Origin) {
	t.Helper()
	port := o.Addr().(*net.TCPAddr).Port
	sent := fmt.Sprintf(" 0100007F:%04X 02 ", port)
	testkit.Eventually(t, "the edge dials", func() bool { return strings.Contains(readProc(t, "/proc/net/tcp"), sent) })
}

// Clients of a unix origin whose backlog is full wait, as the kernel has those of a TCP origin
// wait, and are served when it accepts.
func TestUnixBacklogIsFull(t *testing.T) {
	t.Parallel()
	const clients = 8
	o := fullOrigin(t, "unix")
	e := planFor(t, plan{settings: "timeouts: {connect: 2m}\n", routes: route("full.test", "unix:"+o.Address())})
	before := e.sockets(t)
	hello := helloFor(t, "full.test")
	var all []*testkit.Peer
	for range clients {
		c := testkit.Dial(t, e.address)
		c.SendBytes(hello)
		all = append(all, c)
	}
	testkit.Eventually(t, "the edge has a socket for each client and its origin", func() bool {
		return e.sockets(t) == before+2*clients
	})
	o.Accept().Close() // the filler
	o.Echo()
	for _, c := range all {
		c.WantBytes(hello)
		c.Close()
	}
	for _, r := range e.expect(t, "full.test", clients) {
		if r.Reason != "client_closed" || r.Attempts != 1 {
			t.Errorf("record %+v, want reason client_closed and 1 attempt", r)
		}
	}
}

// An origin that never accepts has as long as any other.
func TestUnixBacklogStaysFull(t *testing.T) {
	t.Parallel()
	o := fullOrigin(t, "unix")
	e := planFor(t, plan{settings: "timeouts: {connect: 300ms}\n", routes: route("full.test", "unix:"+o.Address())})
	c := testkit.Dial(t, e.address)
	c.SendBytes(helloFor(t, "full.test"))
	c.Want("\x15\x03\x01\x00\x02\x02\x50") // internal_error
	c.WantEnd(nil)
	c.Close()
	e.only(t, "full.test", "dial_timeout")
}
