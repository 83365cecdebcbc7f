package proxy

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/backend"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// newSession returns a session of a server that does not run, for a
// connection that came from nowhere.
func newSession(t testing.TB, s setup) *session {
	t.Helper()
	server, err := New(s.config(t), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server.newSession(&relay.Conn{}).(*session)
}

// dialing returns a session that has just been told to dial the only server.
func dialing(t testing.TB, address string) *session {
	t.Helper()
	x := one("shop.example", address)
	x.backends[0].Retries = 0
	s := newSession(t, x)
	s.Open()
	if v := s.Hello(hello(t, "shop.example")); v.Op != relay.Dial {
		t.Fatalf("Hello() = %+v, want a dial", v)
	}
	return s
}

func manyRoutes() setup {
	s := setup{otherwise: routes.Route{Backend: -1}, backends: []backend.Config{{Retries: 2}}}
	for i := range 100 {
		s.routes = append(s.routes, routes.Route{SNI: []string{"site" + string(rune('a'+i/10)) + string(rune('a'+i%10)) + ".example"}})
	}
	for _, a := range []string{"192.0.2.1:443", "192.0.2.2:443", "192.0.2.3:443"} {
		s.backends[0].Servers = append(s.backends[0].Servers, backend.ServerConfig{Address: a})
	}
	return s
}

// From the first byte to the choice of a server, through a failed dial to the
// end: nothing is allocated once a slot has served its first connection.
func TestDecisionDoesNotAllocate(t *testing.T) {
	s := newSession(t, manyRoutes())
	h := hello(t, "siteea.example", "h2", "http/1.1")
	unknown, garbage := hello(t, "unknown.example"), []byte("not TLS at all")
	decide := func() {
		s.Open()
		s.Hello(h[:100])
		if v := s.Hello(h); v.Op != relay.Dial {
			t.Fatalf("Hello() = %+v, want a dial", v)
		}
		if v := s.DialFailed(unix.ECONNREFUSED, 0); v.Op != relay.Dial {
			t.Fatalf("DialFailed() = %+v, want a dial", v)
		}
		s.Closed(relay.Summary{})
	}
	refuse := func() {
		s.Open()
		if v := s.Hello(unknown); v.Op != relay.Reject {
			t.Fatalf("Hello() = %+v, want a rejection", v)
		}
		s.Closed(relay.Summary{})
		s.Open()
		s.Hello(garbage)
		s.Closed(relay.Summary{})
	}
	if n := testing.AllocsPerRun(1000, decide); n != 0 {
		t.Errorf("a decision allocates %v times, want 0", n)
	}
	if n := testing.AllocsPerRun(1000, refuse); n != 0 {
		t.Errorf("two refusals allocate %v times, want 0", n)
	}
}

// Neither does handing the record over.
func TestRecordDoesNotAllocate(t *testing.T) {
	s := newSession(t, manyRoutes())
	a := &AccessLog{}
	s.desk.ring = a.ring(0)
	h := hello(t, "siteea.example", "h2", "http/1.1")
	n := testing.AllocsPerRun(1000, func() {
		for range 100 { // some room is made on the first lap
			s.Open()
			s.Hello(h)
			s.Closed(relay.Summary{})
			s.desk.ring.done()
			s.desk.ring.written.Store(0)
			s.desk.ring.read.Store(0)
		}
	})
	if n != 0 {
		t.Errorf("100 records allocate %v times, want 0", n)
	}
}

// Hellos without a name go where the configuration says, and the default says how they are rejected
// when that place does not.
func TestDecideWithoutAName(t *testing.T) {
	for _, c := range []struct {
		noName *routes.Route
		pool   int // -1: none
		reason Reason
		reject routes.Reject
	}{
		{nil, 0, NoReason, routes.RejectClose},
		{&routes.Route{Backend: 1}, 1, NoReason, routes.RejectClose},
		{&routes.Route{Backend: -1}, -1, NoSNI, routes.RejectClose},
		{&routes.Route{Backend: -1, Reject: routes.RejectReset}, -1, NoSNI, routes.RejectReset},
	} {
		x := manyRoutes()
		x.backends = append(x.backends, x.backends[0])
		x.otherwise, x.noName = routes.Route{Backend: 0, Reject: routes.RejectClose}, c.noName
		config := x.config(t)
		var pool *backend.Pool
		if c.pool >= 0 {
			pool = config.Pools[c.pool]
		}
		for _, name := range [][]byte{nil, []byte("192.0.2.1")} {
			d := config.Decide(Query{Name: name})
			if d.Pool != pool || d.Reason != c.reason || d.Reject != c.reject {
				t.Errorf("Decide(%q) with %+v = reason %q, reject %v, pool %p, want %q, %v, %p",
					name, c.noName, d.Reason, d.Reject, d.Pool, c.reason, c.reject, pool)
			}
		}
	}
}

// However a connection ends, each server that was picked for it is released
// once: with room for one connection on each, there is room for one again.
func TestEachPickIsReleasedOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails []error // of the dials, in turn; the one after them goes on
	}{
		{"served at once", nil},
		{"served by the second", []error{unix.ECONNREFUSED}},
		{"served by the third", []error{relay.ErrTimeout, unix.ECONNREFUSED}},
		{"served by none", []error{unix.ECONNREFUSED, unix.ECONNRESET, relay.ErrTimeout}},
		{"no descriptor", []error{&relay.LocalError{Cause: relay.NoLocalDescriptor, Err: unix.EMFILE}}},
		{"no descriptor for the second", []error{unix.ECONNREFUSED, &relay.LocalError{Cause: relay.NoLocalDescriptor, Err: unix.ENFILE}}},
	} {
		x := manyRoutes()
		x.backends[0].MaxConnections = 1
		s := newSession(t, x)
		pool := s.desk.server.config.Load().Pools[0]
		s.Open()
		v := s.Hello(hello(t, "siteaa.example"))
		for _, err := range c.fails {
			if v.Op != relay.Dial {
				t.Errorf("%s: verdict %+v, want a dial", c.name, v)
				break
			}
			v = s.DialFailed(err, 0)
		}
		s.Closed(relay.Summary{})
		free := 0
		for range 10 {
			if pool.Pick(netip.Addr{}, nil) != nil {
				free++
			}
		}
		if free != 3 {
			t.Errorf("%s: %d places are free afterwards, want 3", c.name, free)
		}
	}
}

// Once decided, a session holds nothing of the configuration but its pool, so
// that a replaced table is freed while its connections live on.
func TestDecidedSessionLetsGoOfTheTable(t *testing.T) {
	s := dialing(t, "192.0.2.1:443")
	if s.config != nil {
		t.Error("session still holds the configuration after the decision")
	}
	s.Closed(relay.Summary{})
}

func BenchmarkDecide(b *testing.B) {
	s := newSession(b, manyRoutes())
	h := hello(b, "siteea.example", "h2", "http/1.1")
	b.ReportAllocs()
	for b.Loop() {
		s.Open()
		s.Hello(h)
		s.Closed(relay.Summary{})
	}
}
