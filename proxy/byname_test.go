package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"keyhole/backend"
	"keyhole/internal/testkit"
	"keyhole/postgres"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// A directory resolves names. Those that it holds back have no answer before
// they are let go.
type directory struct {
	mu      sync.Mutex
	answers map[string]backend.Answer
	errs    map[string]error
	held    map[string]chan struct{}
	asked   chan string
}

func newDirectory() *directory {
	return &directory{
		answers: map[string]backend.Answer{}, errs: map[string]error{}, held: map[string]chan struct{}{},
		asked: make(chan string, 1000),
	}
}

func (d *directory) set(host string, ttl time.Duration, addresses ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := backend.Answer{TTL: ttl}
	for _, s := range addresses {
		a.Addrs = append(a.Addrs, netip.MustParseAddr(s))
	}
	d.answers[host] = a
	delete(d.errs, host)
}

// fail has the look-ups of a name fail.
func (d *directory) fail(host string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errs[host] = err
}

// hold holds a name back, until the returned function is called.
func (d *directory) hold(host string) (letGo func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[host] = make(chan struct{})
	return func() { d.letGo(host) }
}

// letGo lets the look-up of a name go on, if it is held back.
func (d *directory) letGo(host string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.held[host]; c != nil {
		close(c)
		delete(d.held, host)
	}
}

func (d *directory) lookup(ctx context.Context, host string, _ backend.Family) (backend.Answer, error) {
	d.asked <- host
	d.mu.Lock()
	held := d.held[host]
	d.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return backend.Answer{}, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.answers[host]
	switch {
	case d.errs[host] != nil:
		return a, d.errs[host]
	case !ok:
		return a, backend.ErrNoAddress
	}
	return a, nil
}

var loopbackNet = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// anyName is the setup of an edge that sends every name to itself, at a port of
// loopback. Its look-ups end with the test.
func anyName(t testing.TB, d *directory, port string) setup {
	l := &backend.Lookups{Lookup: d.lookup}
	t.Cleanup(l.Close)
	return setup{
		otherwise: routes.Route{Backend: 0},
		backends: []backend.Config{{
			Servers: []backend.ServerConfig{{Address: "{sni}:" + port}}, Retries: 2,
			To: backend.Fence{Networks: loopbackNet}, Lookups: l,
		}},
	}
}

// originsAt opens origins at one port of several addresses.
func originsAt(t testing.TB, addresses ...string) (port string, all []*testkit.Origin) {
	t.Helper()
	for range 100 {
		port, all := "0", []*testkit.Origin(nil)
		for _, a := range addresses {
			l, err := net.Listen("tcp", net.JoinHostPort(a, port))
			if err != nil {
				break // another process has the port there
			}
			t.Cleanup(func() { l.Close() })
			all = append(all, &testkit.Origin{Listener: l, T: t})
			_, port, _ = net.SplitHostPort(l.Addr().String())
		}
		if len(all) == len(addresses) {
			return port, all
		}
	}
	t.Fatal("no port is free at all of these addresses")
	return "", nil
}

// passes has a client send its hello through the edge to an origin, and both
// exchange a byte.
func passes(t testing.TB, e *edge, o *testkit.Origin, h []byte) {
	t.Helper()
	client := e.dial()
	client.SendBytes(h)
	exchange(client, o, h)
}

func exchange(client *testkit.Peer, o *testkit.Origin, h []byte) {
	client.T.Helper()
	server := o.Accept()
	server.WantBytes(h)
	server.Send("x")
	client.Want("x")
	clientEnds(client, server)
}

func TestServerIsTheName(t *testing.T) {
	testkit.NoLeaks(t)
	port, o := originsAt(t, "127.0.0.1", "127.0.0.2")
	d := newDirectory()
	d.set("one.example", time.Hour, "127.0.0.1")
	d.set("two.example", time.Hour, "127.0.0.2")
	e := serve(t, anyName(t, d, port))
	n := 0
	for range 2 {
		for i, name := range []string{"one.example", "TWO.example"} {
			passes(t, e, o[i], hello(t, name))
			n++
			r := e.wantRecord(n, ClientClosed, relay.PhaseRelay)
			if r.Server != o[i].Address() || r.Backend != "pool" || r.Route != "default" || r.SNI != name {
				t.Errorf("record of %s says %+v, want server %s of pool", name, r, o[i].Address())
			}
		}
	}
	close(d.asked)
	if asked := slices.Collect(chanAll(d.asked)); !slices.Equal(asked, []string{"one.example", "two.example"}) {
		t.Errorf("asked for %q, want each name once", asked)
	}
}

func chanAll[T any](c <-chan T) func(func(T) bool) {
	return func(yield func(T) bool) {
		for v := range c {
			if !yield(v) {
				return
			}
		}
	}
}

// The addresses of a name are tried in turn.
func TestNameWithSeveralAddresses(t *testing.T) {
	testkit.NoLeaks(t)
	port, o := originsAt(t, "127.0.0.3")
	d := newDirectory()
	d.set("shop.example", time.Hour, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	e := serve(t, anyName(t, d, port))
	passes(t, e, o[0], hello(t, "shop.example"))
	if r := e.wantRecord(1, ClientClosed, relay.PhaseRelay); r.Server != o[0].Address() || r.Attempts < 1 {
		t.Errorf("record says %+v, want server %s", r, o[0].Address())
	}
}

// Bytes that follow the hello while its name is looked up go to the origin in
// their order, and the loop serves others meanwhile.
func TestBytesBehindAHelloThatWaits(t *testing.T) {
	testkit.NoLeaks(t)
	port, o := originsAt(t, "127.0.0.1")
	d := newDirectory()
	d.set("slow.example", time.Hour, "127.0.0.1")
	d.set("other.example", time.Hour, "127.0.0.1")
	letGo := d.hold("slow.example")
	e := serve(t, anyName(t, d, port))
	h, data := hello(t, "slow.example"), bytes.Repeat([]byte("data"), 1000)
	client := e.dial()
	client.SendBytes(slices.Concat(h, data[:10]))
	<-d.asked
	client.SendBytes(data[10:])
	for range 5 {
		passes(t, e, o[0], hello(t, "other.example"))
	}
	e.record(5) // records of several loops come in any order
	letGo()
	server := o[0].Accept()
	server.WantBytes(h)
	server.WantBytes(data)
	clientEnds(client, server)
	if r := e.wantRecord(6, ClientClosed, relay.PhaseRelay); r.Up != uint64(len(h)+len(data)) {
		t.Errorf("record says %d bytes up, want %d", r.Up, len(h)+len(data))
	}
}

// So does half a second hello, which the edge holds back until it has seen the
// rest.
func TestHalfASecondHelloBehindAHelloThatWaits(t *testing.T) {
	testkit.NoLeaks(t)
	port, o := originsAt(t, "127.0.0.1")
	d := newDirectory()
	d.set("slow.example", time.Hour, "127.0.0.1")
	letGo := d.hold("slow.example")
	e := serve(t, anyName(t, d, port))
	h := hello(t, "slow.example")
	client := e.dial()
	client.SendBytes(slices.Concat(h, h[:50]))
	<-d.asked
	letGo()
	server := o[0].Accept()
	server.WantBytes(h)
	client.SendBytes(h[50:])
	server.WantBytes(h)
	clientEnds(client, server)
	e.wantRecord(1, ClientClosed, relay.PhaseRelay)
}

// A second hello behind the first may not name another host, whether or not the
// first one's name is known.
func TestSecondHelloBehindAHelloThatWaits(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDirectory()
	defer d.hold("shop.example")()
	s := newSession(t, anyName(t, d, "443"))
	s.Open()
	v := s.Hello(slices.Concat(hello(t, "shop.example"), hello(t, "admin.example")))
	if v.Op != relay.Reject || s.reason != NameChanged || s.wait != nil {
		t.Errorf("Hello() = %+v for %q, want a rejection for %q without a wait", v, s.reason, NameChanged)
	}
	s.Closed(relay.Summary{})
	s.Open()
	half := hello(t, "shop.example")[:50]
	if v := s.Hello(slices.Concat(hello(t, "shop.example"), half)); v.Op != relay.Wait || v.Hold != len(half) {
		t.Errorf("Hello() = %+v, want a wait that holds %d bytes", v, len(half))
	}
	s.Closed(relay.Summary{})
}

// Reasons, alerts and errors of names that lead nowhere.
func TestNamesThatLeadNowhere(t *testing.T) {
	for _, tc := range []struct {
		hello  []byte
		alert  byte
		reason Reason
		err    string
	}{
		{hello(t, "missing.example"), 112, NoAddress, "the name has no address"},
		{hello(t, "inside.example"), 112, DeniedServer, "10.0.0.1 is in none of the networks in `to`"},
		{hello(t, "broken.example"), 80, LookupFailed, "the name was not resolved: server failure"},
		{hello(t, "slow.example"), 80, LookupTimeout, "the name was not resolved in time"},
		{hello(t, ""), 112, NoSNI, ""},
		{named("127.0.0.1"), 112, NoSNI, errLiteral.Error()},
	} {
		t.Run(tc.reason.String(), func(t *testing.T) {
			testkit.NoLeaks(t)
			d := newDirectory()
			d.set("inside.example", time.Hour, "10.0.0.1")
			d.errs["broken.example"] = errors.New("server failure")
			defer d.hold("slow.example")()
			s := anyName(t, d, "443")
			s.Timeouts.Connect = 50 * time.Millisecond
			if tc.reason != LookupTimeout {
				s.Timeouts.Connect = testkit.Patience
			}
			e := serve(t, s)
			client := e.dial()
			client.SendBytes(tc.hello)
			got, err := readAll(client)
			wantBye(t, routes.RejectAlert, tc.alert, got, err)
			client.Close()
			if r := e.wantRecord(1, tc.reason, relay.PhaseDecide); r.Error != tc.err || r.Server != "" {
				t.Errorf("record says %+v, want the error %q and no server", r, tc.err)
			}
		})
	}
}

// The hello's time limit is over once the hello is there.
func TestWaitForANameOutlastsTheHello(t *testing.T) {
	testkit.NoLeaks(t)
	port, o := originsAt(t, "127.0.0.1")
	d := newDirectory()
	d.set("slow.example", time.Hour, "127.0.0.1")
	letGo := d.hold("slow.example")
	s := anyName(t, d, port)
	s.Timeouts = relay.Timeouts{Hello: 100 * time.Millisecond, Connect: testkit.Patience}
	e := serve(t, s)
	h := hello(t, "slow.example")
	client := e.dial()
	client.SendBytes(h)
	<-d.asked
	silent := e.dial() // came later, and is cut before the other is served
	silent.WantEnd(nil)
	letGo()
	exchange(client, o[0], h)
}

// A client that leaves while its name is looked up does not hold up another.
func TestClientLeavesWhileItWaits(t *testing.T) {
	testkit.NoLeaks(t)
	port, o := originsAt(t, "127.0.0.1")
	d := newDirectory()
	d.set("slow.example", time.Hour, "127.0.0.1")
	letGo := d.hold("slow.example")
	e := serve(t, anyName(t, d, port))
	h := hello(t, "slow.example")
	leaves, stays := e.dial(), e.dial()
	leaves.SendBytes(h)
	<-d.asked
	stays.SendBytes(h)
	leaves.Close()
	e.wantRecord(1, ClientGone, relay.PhaseDecide)
	letGo()
	exchange(stays, o[0], h)
	e.wantRecord(2, ClientClosed, relay.PhaseRelay)
	if e.Active() != 0 {
		t.Errorf("%d connections are open, want none", e.Active())
	}
}

// A client that leaves before its name is looked up takes the question with it.
func TestClientLeavesBeforeItsLookup(t *testing.T) {
	testkit.NoLeaks(t)
	d := newDirectory()
	s := anyName(t, d, "443")
	s.Timeouts.Connect = testkit.Patience
	e := serve(t, s)
	const all = backend.LookupDescriptors / 2 // look-ups at once
	var busy []*testkit.Peer
	for i := range all {
		name := fmt.Sprintf("n%d.example", i)
		defer d.hold(name)()
		client := e.dial()
		client.SendBytes(hello(t, name))
		<-d.asked
		busy = append(busy, client)
	}
	for i, name := range []string{"leaves.example", "stays.example"} {
		client := e.dial()
		client.SendBytes(hello(t, name))
		if i == 0 {
			client.FIN()
			e.wantRecord(1, ClientGone, relay.PhaseDecide)
			client.Close()
		} else {
			busy = append(busy, client)
		}
	}
	d.letGo("n0.example")
	if next := <-d.asked; next != "stays.example" {
		t.Errorf("the next name that is looked up is %s, want stays.example", next)
	}
	for _, client := range busy {
		client.Close()
	}
}

// A drain serves clients that wait, and at its end cuts those that still do.
func TestDrainWhileANameIsLookedUp(t *testing.T) {
	testkit.NoLeaks(t)
	port, o := originsAt(t, "127.0.0.1")
	d := newDirectory()
	d.set("slow.example", time.Hour, "127.0.0.1")
	letGo := d.hold("slow.example")
	defer d.hold("never.example")()
	s := anyName(t, d, port)
	s.Timeouts.Connect = testkit.Patience
	e := serve(t, s)
	h := hello(t, "slow.example")
	slow, never := e.dial(), e.dial()
	slow.SendBytes(h)
	never.SendBytes(hello(t, "never.example"))
	<-d.asked
	<-d.asked
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Shutdown(ctx) }()
	letGo()
	exchange(slow, o[0], h)
	e.wantRecord(1, ClientClosed, relay.PhaseRelay)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want %v", err, context.Canceled)
	}
	e.wantRecord(2, Drained, relay.PhaseDecide)
}

// A name that pointed to an address that is allowed, and points elsewhere once
// its time is over, leads nowhere.
func TestRebinding(t *testing.T) {
	testkit.NoLeaks(t)
	port, o := originsAt(t, "127.0.0.1")
	d := newDirectory()
	d.set("rebind.example", time.Second, "127.0.0.1")
	e := serve(t, anyName(t, d, port))
	defer o[0].Echo().Wait()
	defer o[0].Close()
	h := hello(t, "rebind.example")
	for n := 1; ; n++ { // until the name has expired
		client := e.dial()
		client.SendBytes(h)
		one := make([]byte, 1)
		if _, err := io.ReadFull(client, one); err != nil {
			t.Fatal(err)
		}
		client.Close()
		r := e.record(n)
		if denied := r.Reason == DeniedServer.String(); denied != (one[0] == 21) || !denied && r.Server != o[0].Address() {
			t.Fatalf("client reads %#x, and the record says %+v, want an echo from %s or an alert", one, r, o[0].Address())
		} else if denied {
			break
		}
		d.set("rebind.example", time.Second, "169.254.169.254")
	}
}

// Clients come and go while names resolve, fail and move. A client that stays
// until the answer is served or told why not. Each has one record, and no place
// of max_connections is lost.
func TestManyNamesComeAndGo(t *testing.T) {
	testkit.NoLeaks(t)
	port, o := originsAt(t, "127.0.0.1")
	defer o[0].Echo().Wait()
	defer o[0].Close()
	d := newDirectory()
	d.asked = make(chan string, 10_000)
	s := anyName(t, d, port)
	s.Timeouts.Connect = testkit.Patience
	s.backends[0].MaxConnections = 5
	e := serve(t, s)
	const clients, connections, names = 8, 50, 20
	var all sync.WaitGroup
	for c := range clients {
		dice := rand.New(rand.NewPCG(uint64(c), 77))
		all.Go(func() {
			for range connections {
				name := fmt.Sprintf("n%d.example", dice.IntN(names))
				switch dice.IntN(4) {
				case 0:
					d.set(name, 0, "127.0.0.1")
				case 1:
					d.set(name, 0, "10.0.0.1")
				case 2:
					d.fail(name, errors.New("server failure"))
				}
				client := e.dial()
				client.SendBytes(hello(t, name))
				if dice.IntN(3) > 0 {
					one := make([]byte, 1)
					if _, err := io.ReadFull(client, one); err != nil || one[0] != 22 && one[0] != 21 {
						t.Errorf("client of %s reads %x, %v, want an echo or an alert", name, one, err)
					}
				}
				client.Close()
			}
		})
	}
	all.Wait()
	testkit.Eventually(t, "all have ended", func() bool { return e.Active() == 0 })
	d.set("last.example", time.Hour, "127.0.0.1")
	for range 5 { // each place of max_connections is free again
		client := e.dial()
		client.SendBytes(hello(t, "last.example"))
		client.Want("\x16")
		defer client.Close()
	}
}

// A server at the port of the listener is at that of each connection's own.
func TestServerAtThePortOfTheListener(t *testing.T) {
	testkit.NoLeaks(t)
	s := one("shop.example", "127.0.0.2:listen")
	e := serve(t, s)
	second, err := e.Listen(anyPort, ListenOptions{Name: "second"})
	if err != nil {
		t.Fatal(err)
	}
	h := hello(t, "shop.example")
	for i, ln := range []string{e.addr, second.Addr().String()} {
		_, port, _ := net.SplitHostPort(ln)
		o := testkit.ListenOrigin(t, "tcp", net.JoinHostPort("127.0.0.2", port))
		client := testkit.Dial(t, ln)
		client.SendBytes(h)
		exchange(client, o, h)
		if r := e.wantRecord(i+1, ClientClosed, relay.PhaseRelay); r.Server != "127.0.0.2:listen" {
			t.Errorf("record says server %q, want 127.0.0.2:listen", r.Server)
		}
	}
}

// A client of PostgreSQL waits for its name likewise, and its server is asked
// for TLS as ever.
func TestPostgresGoesToItsName(t *testing.T) {
	port, o := originsAt(t, "127.0.0.1")
	d := newDirectory()
	d.set("db.example", time.Hour, "127.0.0.1")
	letGo := d.hold("db.example")
	e := servePostgres(t, anyName(t, d, port))
	h := hello(t, "db.example", "postgresql")
	client := e.dial()
	client.SendBytes(postgres.SSLRequest)
	client.WantBytes(postgres.Yes)
	client.SendBytes(h)
	<-d.asked
	letGo()
	server := o[0].Accept()
	server.WantBytes(postgres.SSLRequest)
	server.SendBytes(postgres.Yes)
	server.WantBytes(h)
	clientEnds(client, server)
	if r := e.wantRecord(1, ClientClosed, relay.PhaseRelay); r.Up != uint64(len(h)) || r.SNI != "db.example" {
		t.Errorf("record says %+v, want the %d bytes of the hello for db.example", r, len(h))
	}
}

// A name that is known costs no allocation, from the first byte to the end.
func TestKnownNameDoesNotAllocate(t *testing.T) {
	d := newDirectory()
	d.set("shop.example", time.Hour, "127.0.0.1", "127.0.0.2")
	s := newSession(t, anyName(t, d, strconv.Itoa(443)))
	h := hello(t, "Shop.example", "h2")
	decide := func() relay.Verdict {
		s.Open()
		v := s.Hello(h)
		s.Closed(relay.Summary{})
		return v
	}
	testkit.Eventually(t, "the name is known", func() bool { return decide().Op == relay.Dial })
	if n := testing.AllocsPerRun(1000, func() { decide() }); n != 0 {
		t.Errorf("a decision for a known name allocates %v times, want 0", n)
	}
}
