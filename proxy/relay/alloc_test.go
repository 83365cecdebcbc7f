//go:build !race

package relay

import (
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// TestConnectionsDoNotAllocate counts the allocations of the whole process
// while connections come and go; both ends of each are raw sockets of this
// goroutine.
func TestConnectionsDoNotAllocate(t *testing.T) {
	testkit.NoLeaks(t)
	origin, address := rawListener(t)
	closed := 0
	e, err := New(Options{Loops: 1, Timeouts: Timeouts{Hello: testkit.Patience, Connect: testkit.Patience, HalfClose: testkit.Patience}, NewSession: func(*Conn) Session {
		return &quiet{closed: &closed, verdict: Verdict{Op: Dial, Target: Target{Addr: address}, Idle: testkit.Patience}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ln, err := e.Listen(netip.MustParseAddrPort("127.0.0.1:0"), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	at := ln.Addr()
	e.Start()
	to := &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	const n = 1000
	short := func() {
		for range n {
			if !shortConnection(origin, to) {
				t.Fatal("a connection was not relayed")
			}
		}
	}
	short() // slots, and the stack's growth
	if got := mallocs(short); got > n/20 {
		t.Errorf("%d connections allocate %d times, want next to none", n, got)
	}
}

// mallocs counts what f allocates, and whoever else meanwhile.
func mallocs(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// shortConnection sends a hello to the edge, answers it as the origin, and
// ends the connection.
func shortConnection(listener int, edge *unix.SockaddrInet4) bool {
	var buf [64]byte
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(client)
	if unix.Connect(client, edge) != nil {
		return false
	}
	unix.Write(client, []byte("hello\n"))
	n, _, e := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return false
	}
	server := int(n)
	defer unix.Close(server)
	if n, _ := unix.Read(server, buf[:]); n != 6 {
		return false
	}
	unix.Write(server, []byte("answer"))
	unix.Shutdown(server, unix.SHUT_WR)
	if n, _ := unix.Read(client, buf[:]); n != 6 {
		return false
	}
	unix.Shutdown(client, unix.SHUT_WR)
	m, _ := unix.Read(server, buf[:])
	return m == 0
}

// A round trip on an open connection allocates nothing either.
func TestRoundTripsDoNotAllocate(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	b := make([]byte, 100)
	trip := func() {
		client.Write(b)
		server.Read(b)
		server.Write(b)
		client.Read(b)
	}
	// Not by testing.AllocsPerRun, which leaves one P for the loop and the test.
	var before, after runtime.MemStats
	trip()
	runtime.ReadMemStats(&before)
	const trips = 2000
	for range trips {
		trip()
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > trips/10 {
		t.Errorf("%d round trips allocate %d times, want hardly ever", trips, n)
	}
}

// A connection's state is small, and bounded: what a million idle ones cost.
func TestConnectionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 256 {
		t.Errorf("a Conn is %d bytes, want at most 256", size)
	}
}
