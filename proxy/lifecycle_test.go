package proxy

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"testing"

	"keyhole/backend"
	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// The origin gets the hello as it came, and whatever the client sent behind
// it, byte for byte; the record has the sum.
func TestHelloIsForwardedAsItCame(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	e := serve(t, one("shop.example", o.Address()))
	h := hello(t, "shop.example", "h2", "http/1.1")
	for i, early := range []int{0, 1, 1000, 200 << 10} {
		data := bytes.Repeat([]byte{0xe5}, early)
		client := e.dial()
		go func() {
			client.Write(append(bytes.Clone(h), data...))
			client.FIN()
		}()
		server := o.Accept()
		server.WantBytes(h)
		server.WantBytes(data)
		if b, err := readAll(server); len(b) != 0 || err != nil {
			t.Errorf("behind the client's bytes origin reads %q, %v, want the end", b, err)
		}
		server.Send("answer")
		server.Close()
		client.Want("answer")
		client.Close()
		r := e.wantRecord(i+1, ClientClosed, relay.PhaseRelay)
		if up := uint64(len(h) + early); r.Up != up || r.Down != 6 {
			t.Errorf("record says %d bytes up and %d down, want %d and 6", r.Up, r.Down, up)
		}
		if r.SNI != "shop.example" || r.ALPN != "h2" || r.Route != "shop.example" || r.Backend != "pool" ||
			r.Server != o.Address() || r.Attempts != 1 || r.Listen != "main" || !r.Client.Addr().IsLoopback() {
			t.Errorf("record says %+v, want the connection's own data", r)
		}
	}
}

func TestHelloInSingleBytes(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	e := serve(t, one("shop.example", o.Address()))
	client := e.dial()
	h := hello(t, "shop.example")
	for i := range h {
		client.SendBytes(h[i : i+1])
	}
	server := o.Accept()
	server.WantBytes(h)
	clientEnds(client, server)
	e.wantRecord(1, ClientClosed, relay.PhaseRelay)
}

func TestHelloOverManyRecords(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	e := serve(t, one("shop.example", o.Address()))
	whole := hello(t, "shop.example")
	for i, size := range []int{1, 16, 500} {
		client := e.dial()
		h := records(whole, size)
		for rest := h; len(rest) > 0; rest = rest[min(len(rest), 700):] {
			client.SendBytes(rest[:min(len(rest), 700)])
		}
		server := o.Accept()
		server.WantBytes(h)
		clientEnds(client, server)
		if r := e.wantRecord(i+1, ClientClosed, relay.PhaseRelay); r.SNI != "shop.example" {
			t.Errorf("record of a hello in records of %d bytes says %q, want shop.example", size, r.SNI)
		}
	}
}

func TestRoutesByNameAndALPN(t *testing.T) {
	testkit.NoLeaks(t)
	origins := []*testkit.Origin{testkit.NewOrigin(t), testkit.NewOrigin(t), testkit.NewOrigin(t)}
	s := setup{
		routes: []routes.Route{
			{SNI: []string{"*.example"}, Backend: 0},
			{SNI: []string{"*.example"}, When: &routes.Conditions{ALPN: []string{"h2"}}, Backend: 1},
		},
		otherwise: routes.Route{Backend: 2},
	}
	for _, o := range origins {
		s.backends = append(s.backends, backend.Config{Servers: []backend.ServerConfig{{Address: o.Address()}}})
	}
	e := serve(t, s)
	for i, c := range []struct {
		name  string
		alpn  []string
		to    int
		route string
	}{
		{"Shop.Example", nil, 0, "*.example"},
		{"shop.example", []string{"http/1.1"}, 0, "*.example"},
		{"shop.example", []string{"http/1.1", "h2"}, 1, "*.example"},
		{"other.test", nil, 2, "default"},
		{"", nil, 2, "default"},
	} {
		client := e.dial()
		h := hello(t, c.name, c.alpn...)
		client.SendBytes(h)
		server := origins[c.to].Accept()
		server.WantBytes(h)
		clientEnds(client, server)
		if r := e.record(i + 1); r.Route != c.route || r.Server != origins[c.to].Address() {
			t.Errorf("%q %q: record says route %q and server %q, want %q and %q", c.name, c.alpn, r.Route, r.Server, c.route, origins[c.to].Address())
		}
	}
}

func TestRoutesWithoutAName(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	s := one("shop.example", refusing(t), o.Address())
	s.backends = append(s.backends, backend.Config{Servers: s.backends[0].Servers[1:]})
	s.noName = &routes.Route{Backend: 1}
	e := serve(t, s)
	client := e.dial()
	client.SendBytes(hello(t, ""))
	clientEnds(client, o.Accept())
	if r := e.record(1); r.Route != "no_sni" || r.Server != o.Address() {
		t.Errorf("record says route %q and server %q, want no_sni and %q", r.Route, r.Server, o.Address())
	}
}

func TestUnixOrigin(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.ListenOrigin(t, "unix", filepath.Join(t.TempDir(), "origin"))
	e := serve(t, one("shop.example", refusing(t), "unix:"+o.Address()))
	client := e.dial()
	h := hello(t, "shop.example")
	client.SendBytes(h)
	server := o.Accept()
	server.WantBytes(h)
	clientEnds(client, server)
	r := e.wantRecord(1, ClientClosed, relay.PhaseRelay)
	if r.Server != "unix:"+o.Address() || r.Attempts > 2 || r.Error != "" {
		t.Errorf("record says %+v, want the socket, at most 2 attempts, and no error of the refused one", r)
	}
}

// A reload decides for connections that are accepted after it; the open ones
// stay where they are, and one whose hello is half read is the old table's.
func TestReload(t *testing.T) {
	testkit.NoLeaks(t)
	before, after := testkit.NewOrigin(t), testkit.NewOrigin(t)
	e := serve(t, one("shop.example", before.Address()))
	h := hello(t, "shop.example")

	open := e.dial()
	open.SendBytes(h)
	server := before.Accept()
	server.WantBytes(h)
	half := e.dial()
	half.SendBytes(h[:20])
	testkit.Eventually(t, "the second is accepted", func() bool { return e.Active() == 2 })
	e.Stats() // the loops have dealt with it

	e.Reload(one("shop.example", after.Address()).config(t))

	next := e.dial()
	next.SendBytes(h)
	after.Accept().WantBytes(h)
	half.SendBytes(h[20:])
	before.Accept().WantBytes(h)
	open.Send("ping")
	server.Want("ping")
	server.Send("pong")
	open.Want("pong")
}

// Each pick is released once, however its connection ends: the server's one
// place is free again, and there is never a second one.
func TestServerIsReleasedOnce(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	s := one("shop.example", refusing(t), o.Address())
	s.backends[0].MaxConnections = 1
	s.routes[0].Reject = routes.RejectReset
	e := serve(t, s)
	h := hello(t, "shop.example")
	records := 0
	for range 5 {
		client := e.dial()
		client.SendBytes(h)
		server := o.Accept()
		server.WantBytes(h)

		second := e.dial()
		second.SendBytes(h)
		if b, err := readAll(second); len(b) != 0 || err == nil {
			t.Errorf("a second connection reads %q, %v, want a reset", b, err)
		}
		if r := e.record(records + 1); r.Reason != "no_healthy_server" && r.Reason != "dial_refused" {
			t.Errorf("record of the second connection says %q, want that there was no server", r.Reason)
		}

		clientEnds(client, server)
		e.record(records + 2)
		records += 2
	}
}

func TestDeniedAddressLooksLikeNoRoute(t *testing.T) {
	testkit.NoLeaks(t)
	s := one("shop.example", refusing(t))
	s.routes[0].Access = access(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	e := serve(t, s)
	var seen [2][]byte
	for i, name := range []string{"shop.example", "none.example"} {
		client := e.dial()
		client.SendBytes(hello(t, name))
		seen[i], _ = readAll(client)
		client.Close()
		e.record(i + 1)
	}
	if !bytes.Equal(seen[0], seen[1]) {
		t.Errorf("a denied client reads %q, one without a route %q: the difference tells that the name exists", seen[0], seen[1])
	}
	e.wantRecord(1, DeniedAddress, relay.PhaseDecide)
	e.wantRecord(2, NoRoute, relay.PhaseDecide)
}
