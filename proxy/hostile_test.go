package proxy

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// besieged is an edge with short limits before an origin that echoes.
func besieged(t *testing.T, hello time.Duration) *edge {
	t.Helper()
	o := testkit.NewOrigin(t)
	o.Echo()
	s := one("shop.example", o.Address())
	s.Timeouts = relay.Timeouts{Hello: hello, Connect: testkit.Patience, HalfClose: testkit.Patience}
	s.HelloBytes = 16 << 10
	return serve(t, s)
}

// stillServes checks that an honest client is served.
func (e *edge) stillServes() {
	e.t.Helper()
	client := e.dial()
	h := hello(e.t, "shop.example")
	client.SendBytes(h)
	client.WantBytes(h)
	client.Close()
}

// A byte now and then does not win time: the limit is for the whole hello.
func TestSlowHello(t *testing.T) {
	testkit.NoLeaks(t)
	const limit = 300 * time.Millisecond
	e := besieged(t, limit)
	client := e.dial()
	h := hello(t, "shop.example")
	drip := time.NewTicker(10 * time.Millisecond)
	defer drip.Stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(io.Discard, client)
	}()
	for i := 0; ; i++ {
		select {
		case <-drip.C:
			client.Write(h[i : i+1])
			if i > 1000 {
				t.Fatal("after ten seconds of single bytes the client is still there")
			}
			continue
		case <-ended:
		}
		break
	}
	r := e.wantRecord(1, HelloTimeout, relay.PhaseHello)
	if r.Total == nil || *r.Total < float64(limit.Milliseconds()) || *r.Total > float64((limit+5*time.Second).Milliseconds()) {
		t.Errorf("record says it took %v ms, want a little over %s", *r.Total, limit)
	}
	e.stillServes()
}

// Half a hello and then nothing: many such clients hold a small block each,
// and all are gone when their time is up.
func TestHalfAHelloThenNothing(t *testing.T) {
	testkit.NoLeaks(t)
	e := besieged(t, 2*time.Second)
	half := hello(t, "shop.example")[:700]
	const clients = 500
	for range clients {
		e.dial().SendBytes(half)
	}
	testkit.Eventually(t, "all are accepted", func() bool { return e.Accepted() == clients })
	held := 0
	for _, s := range e.Stats() {
		held += s.BytesHeld
	}
	if most := clients * 4096; held > most {
		t.Errorf("%d half hellos hold %d bytes, want at most %d", clients, held, most)
	}
	e.wantTimeouts(clients)
	e.stillServes()
}

// A hello that never ends is cut off at the limit, long before the client is
// done.
func TestHugeHello(t *testing.T) {
	testkit.NoLeaks(t)
	e := besieged(t, testkit.Patience)
	const clients = 20
	for i := range clients {
		client := e.dial()
		// Records of 16 KiB of a message that says it has 16 MiB.
		piece := append([]byte{22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff, 3, 3}, make([]byte, 16384-6)...)
		var sent int
		for sent < 64<<20 {
			n, err := client.Write(piece)
			if sent += n; err != nil {
				break
			}
			piece[5] = 0
		}
		if sent >= 64<<20 {
			t.Errorf("client could send %d bytes of a hello, want a little over the limit of %d", sent, 16<<10)
		}
		client.Close()
		e.wantRecord(i+1, HelloTooLarge, relay.PhaseHello)
	}
	e.stillServes()
}

func TestHelloThenReset(t *testing.T) {
	testkit.NoLeaks(t)
	e := besieged(t, testkit.Patience)
	h := hello(t, "shop.example")
	const clients = 300
	for range clients {
		client := e.dial()
		client.SendBytes(h)
		client.Reset()
	}
	testkit.Eventually(t, "each has its record", func() bool { return e.log.count() == clients })
	for _, r := range e.log.records(t) {
		switch r.Reason {
		case "client_reset", "client_gone":
		default:
			t.Errorf("record says %q in phase %q, want a reset or a client that is gone", r.Reason, r.Phase)
		}
	}
	e.stillServes()
}

// Thousands connect and say nothing. Each is a descriptor and a slot, and no
// more.
func TestThousandsOfSilentClients(t *testing.T) {
	testkit.NoLeaks(t)
	e := besieged(t, 4*time.Second)
	clients := 3000
	if testing.Short() || testkit.RaceEnabled {
		clients = 500
	}
	e.stillServes() // what serving takes at all
	for i := range e.Stats() {
		e.access.ring(i) // which the first connection of a loop would make
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	at := e.sockaddr()
	fds := make([]int, clients)
	for i := range fds {
		var err error
		if fds[i], err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[i])
		if err := unix.Connect(fds[i], at); err != nil {
			t.Fatal(err)
		}
	}
	// The kernel keeps them back for a while, since they have said nothing.
	testkit.Eventually(t, "all are accepted", func() bool { return e.Accepted() == uint64(clients)+1 })
	for _, s := range e.Stats() {
		if s.BytesHeld != 0 || s.PipesLent != 0 {
			t.Errorf("loop holds %+v for silent clients, want no bytes and no pipes", s)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int(after.HeapAlloc) - int(before.HeapAlloc); grown > clients*1024 {
		t.Errorf("heap grows by %d bytes for %d silent clients, want at most 1 KiB each", grown, clients)
	}
	e.wantTimeouts(clients)
	e.stillServes()
}

// wantTimeouts waits until so many clients have run out of time for their
// hello.
func (e *edge) wantTimeouts(clients int) {
	e.t.Helper()
	testkit.Eventually(e.t, "each has its record", func() bool { return uint64(e.log.count()) == e.Accepted() })
	late := 0
	for _, r := range e.log.records(e.t) {
		if r.Reason == "hello_timeout" && r.Phase == "hello" {
			late++
		}
	}
	if late != clients {
		e.t.Errorf("%d records say hello_timeout, want %d", late, clients)
	}
}

// sockaddr is the edge's address for the bare system calls.
func (e *edge) sockaddr() *unix.SockaddrInet4 {
	at := netip.MustParseAddrPort(e.addr)
	return &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
}

// Random bytes, and hellos with random damage, in random pieces: each client
// is answered or cut off, and has its record.
func TestGarbage(t *testing.T) {
	testkit.NoLeaks(t)
	e := besieged(t, 500*time.Millisecond)
	h := hello(t, "shop.example", "h2")
	const workers, each = 8, 60
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range each {
				e.garbage(r, h)
			}
		})
	}
	wait.Wait()
	testkit.Eventually(t, "each has its record", func() bool { return e.log.count() == workers*each })
	known := map[string]bool{}
	for r := TooManyConnections; r <= Killed; r++ {
		known[r.String()] = true
	}
	for _, r := range e.log.records(t) {
		if !known[r.Reason] {
			t.Errorf("record says %q, want one of the reasons", r.Reason)
		}
	}
	e.stillServes()
}

func (e *edge) garbage(r *rand.Rand, h []byte) {
	b := bytes.Clone(h)
	if r.IntN(3) == 0 {
		b = make([]byte, r.IntN(3000))
		if r.IntN(2) == 0 {
			b = append([]byte{22, 3, 1}, b...)
		}
	}
	for range r.IntN(4) {
		if len(b) > 0 {
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
		}
	}
	c := e.dial()
	defer c.Close()
	for len(b) > 0 {
		n := 1 + r.IntN(len(b))
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
	if r.IntN(2) == 0 {
		c.Conn.(*net.TCPConn).CloseWrite() // an error says that the edge was first
		readAll(c)
	}
}

// Many clients of every kind at once: the records are as many as the
// connections that were accepted, each with its own reason and bytes.
func TestOneRecordForEachConnection(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	o.Echo()
	s := one("shop.example", refusing(t), o.Address())
	s.otherwise.Reject = routes.RejectReset
	e := serve(t, s)
	good, bad := hello(t, "shop.example"), hello(t, "none.example")
	const workers, each = 10, 100
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := range each {
				c := e.dial()
				switch (w + i) % 4 {
				case 0:
					c.SendBytes(bad)
					readAll(c)
				case 1:
					c.SendBytes(good[:10])
				default:
					c.SendBytes(good)
					c.WantBytes(good)
					c.FIN()
					readAll(c)
				}
				c.Close()
			}
		})
	}
	wait.Wait()
	testkit.Eventually(t, "each has its record", func() bool { return e.log.count() == workers*each })
	if n := e.Accepted(); n != workers*each {
		t.Errorf("%d connections are accepted, want %d", n, workers*each)
	}
	size := uint64(len(good))
	count := map[string]int{}
	for _, r := range e.log.records(t) {
		count[r.Reason]++
		if served := r.Reason == "client_closed"; served != (r.Up == size && r.Down == size) {
			t.Errorf("record says %q with %d bytes up and %d down", r.Reason, r.Up, r.Down)
		}
	}
	for reason, n := range map[string]int{"no_route": workers * each / 4, "client_gone": workers * each / 4, "client_closed": workers * each / 2} {
		if count[reason] != n {
			t.Errorf("%d records say %q, want %d (%v)", count[reason], reason, n, count)
		}
	}
}
