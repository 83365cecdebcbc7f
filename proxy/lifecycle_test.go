package proxy

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"keyhole/backend"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// The origin gets the hello as it came, and whatever the client sent behind
// it, byte for byte; the record has the sum.
func TestHelloIsForwardedAsItCame(t *testing.T) {
	noLeaks(t)
	o := newOrigin(t)
	e := serve(t, one("shop.example", o.address()))
	h := hello(t, "shop.example", "h2", "http/1.1")
	for i, early := range []int{0, 1, 1000, 200 << 10} {
		data := bytes.Repeat([]byte{0xe5}, early)
		client := e.dial()
		go func() {
			client.Write(append(bytes.Clone(h), data...))
			client.CloseWrite()
		}()
		server := o.accept()
		want(t, server, h)
		want(t, server, data)
		if b, err := readAll(server); len(b) != 0 || err != nil {
			t.Errorf("behind the client's bytes origin reads %q, %v, want the end", b, err)
		}
		send(t, server, []byte("answer"))
		server.Close()
		want(t, client, []byte("answer"))
		client.Close()
		r := e.wantRecord(i+1, relay.ClientClosed, relay.PhaseRelay)
		if up := uint64(len(h) + early); r.Up != up || r.Down != 6 {
			t.Errorf("record says %d bytes up and %d down, want %d and 6", r.Up, r.Down, up)
		}
		if r.SNI != "shop.example" || r.ALPN != "h2" || r.Route != "shop.example" || r.Backend != "pool" ||
			r.Server != o.address() || r.Attempts != 1 || r.Listen != "main" || !r.Client.Addr().IsLoopback() {
			t.Errorf("record says %+v, want the connection's own data", r)
		}
	}
}

func TestHelloInSingleBytes(t *testing.T) {
	noLeaks(t)
	o := newOrigin(t)
	e := serve(t, one("shop.example", o.address()))
	client := e.dial()
	h := hello(t, "shop.example")
	for i := range h {
		send(t, client, h[i:i+1])
	}
	server := o.accept()
	want(t, server, h)
	clientEnds(client, server)
	e.wantRecord(1, relay.ClientClosed, relay.PhaseRelay)
}

func TestHelloOverManyRecords(t *testing.T) {
	noLeaks(t)
	o := newOrigin(t)
	e := serve(t, one("shop.example", o.address()))
	whole := hello(t, "shop.example")
	for i, size := range []int{1, 16, 500} {
		client := e.dial()
		h := records(whole, size)
		for rest := h; len(rest) > 0; rest = rest[min(len(rest), 700):] {
			send(t, client, rest[:min(len(rest), 700)])
		}
		server := o.accept()
		want(t, server, h)
		clientEnds(client, server)
		if r := e.wantRecord(i+1, relay.ClientClosed, relay.PhaseRelay); r.SNI != "shop.example" {
			t.Errorf("record of a hello in records of %d bytes says %q, want shop.example", size, r.SNI)
		}
	}
}

func TestRoutesByNameAndALPN(t *testing.T) {
	noLeaks(t)
	origins := []*origin{newOrigin(t), newOrigin(t), newOrigin(t)}
	s := setup{
		routes: []routes.Route{
			{SNI: []string{"*.example"}, Backend: 0},
			{SNI: []string{"*.example"}, ALPN: []string{"h2"}, Backend: 1},
		},
		otherwise: routes.Default{Backend: 2},
	}
	for _, o := range origins {
		s.backends = append(s.backends, backend.Config{Servers: []backend.ServerConfig{{Address: o.address()}}})
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
		send(t, client, h)
		server := origins[c.to].accept()
		want(t, server, h)
		clientEnds(client, server)
		if r := e.record(i + 1); r.Route != c.route || r.Server != origins[c.to].address() {
			t.Errorf("%q %q: record says route %q and server %q, want %q and %q", c.name, c.alpn, r.Route, r.Server, c.route, origins[c.to].address())
		}
	}
}

func TestUnixOrigin(t *testing.T) {
	noLeaks(t)
	o := newUnixOrigin(t, filepath.Join(t.TempDir(), "origin"))
	e := serve(t, one("shop.example", refusing(t), "unix:"+o.Addr().String()))
	client := e.dial()
	h := hello(t, "shop.example")
	send(t, client, h)
	server, err := o.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server.SetDeadline(time.Now().Add(patience))
	want(t, server, h)
	clientEnds(client, server)
	r := e.wantRecord(1, relay.ClientClosed, relay.PhaseRelay)
	if r.Server != "unix:"+o.Addr().String() || r.Attempts > 2 || r.Error != "" {
		t.Errorf("record says %+v, want the socket, at most 2 attempts, and no error of the refused one", r)
	}
}

// A reload decides for connections that are accepted after it; the open ones
// stay where they are, and one whose hello is half read is the old table's.
func TestReload(t *testing.T) {
	noLeaks(t)
	before, after := newOrigin(t), newOrigin(t)
	e := serve(t, one("shop.example", before.address()))
	h := hello(t, "shop.example")

	open := e.dial()
	send(t, open, h)
	server := before.accept()
	want(t, server, h)
	half := e.dial()
	send(t, half, h[:20])
	eventually(t, "the second is accepted", func() bool { return e.Active() == 2 })
	e.Stats() // the loops have dealt with it

	e.Reload(one("shop.example", after.address()).config(t))

	next := e.dial()
	send(t, next, h)
	want(t, after.accept(), h)
	send(t, half, h[20:])
	want(t, before.accept(), h)
	send(t, open, []byte("ping"))
	want(t, server, []byte("ping"))
	send(t, server, []byte("pong"))
	want(t, open, []byte("pong"))
}

// Each pick is released once, however its connection ends: the server's one
// place is free again, and there is never a second one.
func TestServerIsReleasedOnce(t *testing.T) {
	noLeaks(t)
	o := newOrigin(t)
	s := one("shop.example", refusing(t), o.address())
	s.backends[0].MaxConnections = 1
	s.routes[0].Reject = routes.RejectReset
	e := serve(t, s)
	h := hello(t, "shop.example")
	records := 0
	for range 5 {
		client := e.dial()
		send(t, client, h)
		server := o.accept()
		want(t, server, h)

		second := e.dial()
		send(t, second, h)
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
	noLeaks(t)
	s := one("shop.example", refusing(t))
	s.routes[0].Allow = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	e := serve(t, s)
	var seen [2][]byte
	for i, name := range []string{"shop.example", "none.example"} {
		client := e.dial()
		send(t, client, hello(t, name))
		seen[i], _ = readAll(client)
		client.Close()
	}
	if !bytes.Equal(seen[0], seen[1]) {
		t.Errorf("a denied client reads %q, one without a route %q: the difference tells that the name exists", seen[0], seen[1])
	}
	e.wantRecord(1, relay.DeniedAddress, relay.PhaseDecide)
	e.wantRecord(2, relay.NoRoute, relay.PhaseDecide)
}
