package proxy

import (
	"net/netip"
	"slices"
	"testing"

	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// twoDoors is a setup of two listeners. A name goes to a server of its own on
// each, and what has no route goes to the second on the second.
func twoDoors(first, second string) setup {
	s := one("shop.example", first)
	s.backends = append(s.backends, one("", second).backends[0])
	s.routes = append(s.routes, routes.Route{
		SNI: []string{"shop.example"}, When: &routes.Conditions{Listen: []int{1}}, Backend: 1,
	})
	s.own = []routes.Own{{Label: "main"}, {Label: "mail", Default: &routes.Route{Backend: 1}}}
	s.Listeners = []Rules{{Address: "main"}, {Address: "mail"}}
	return s
}

// listen opens a further listener.
func (e *edge) listen(name string) string {
	e.t.Helper()
	ln, err := e.Listen(anyPort, ListenOptions{Name: name})
	if err != nil {
		e.t.Fatal(err)
	}
	return ln.Addr().String()
}

// reach has a client of a listener ask for a name, which must come to o.
func (e *edge) reach(listener, name string, o *testkit.Origin) {
	e.t.Helper()
	client := testkit.Dial(e.t, listener)
	b := hello(e.t, name)
	client.SendBytes(b)
	server := o.Accept()
	server.WantBytes(b)
	clientEnds(client, server)
}

func TestAListenerHasRoutesOfItsOwn(t *testing.T) {
	testkit.NoLeaks(t)
	web, mail := testkit.NewOrigin(t), testkit.NewOrigin(t)
	s := twoDoors(web.Address(), mail.Address())
	e := serve(t, s)
	second := e.listen("mail") // while connections are accepted
	e.reach(e.addr, "shop.example", web)
	e.reach(second, "shop.example", mail)
	e.reach(second, "other.example", mail)
	if r := e.record(3); r.Listen != "mail" || r.Route != "default" {
		t.Errorf("record %+v, want the default of listener mail", r)
	}
	// The same file with its listeners in another order.
	swapped := s
	swapped.Listeners = []Rules{s.Listeners[1], s.Listeners[0]}
	swapped.own = []routes.Own{s.own[1], s.own[0]}
	swapped.routes = []routes.Route{s.routes[0], s.routes[1]}
	swapped.routes[1].When = &routes.Conditions{Listen: []int{0}}
	e.Reload(swapped.config(t))
	e.reach(e.addr, "shop.example", web)
	e.reach(second, "shop.example", mail)
	// And without the second: its client has the routes of all.
	alone := one("shop.example", web.Address())
	alone.Listeners = []Rules{{Address: "main"}}
	e.Reload(alone.config(t))
	e.reach(second, "shop.example", web)
	client := testkit.Dial(t, second)
	client.SendBytes(hello(t, "other.example"))
	readAll(client)
	e.wantRecord(7, NoRoute, relay.PhaseDecide)
}

func TestAListenerTakesOnlyItsClients(t *testing.T) {
	testkit.NoLeaks(t)
	origin := testkit.NewOrigin(t)
	s := one("shop.example", origin.Address())
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	closed, err := routes.NewAccess(nil, here)
	if err != nil {
		t.Fatal(err)
	}
	s.own = []routes.Own{{Label: "main"}, {Label: "shut"}}
	s.Listeners = []Rules{{Address: "main", Access: access(t, here)}, {Address: "shut", Access: closed}}
	e := serve(t, s)
	shut := e.listen("shut")
	e.reach(e.addr, "shop.example", origin)
	e.record(1)
	client := testkit.Dial(t, shut)
	client.Write(hello(t, "shop.example")) // which may meet the reset
	if _, err := readAll(client); err == nil {
		t.Error("a client that the listener does not take reads an orderly end, want a reset")
	}
	if r := e.wantRecord(2, DeniedAddress, relay.PhaseAdmit); r.Listen != "shut" || r.SNI != "" {
		t.Errorf("record %+v, want one of listener shut without a name", r)
	}
}

func TestAListenerHasLimitsOfItsOwn(t *testing.T) {
	testkit.NoLeaks(t)
	origin := testkit.NewOrigin(t)
	s := one("shop.example", origin.Address())
	s.own = []routes.Own{{Label: "main"}, {Label: "small"}}
	s.Listeners = []Rules{{Address: "main"}, {Address: "small", MaxConnections: 2, HelloBytes: 4096}}
	e := serve(t, s)
	small := e.listen("small")
	var open []*testkit.Peer
	for range 2 {
		client := testkit.Dial(t, small)
		client.SendBytes(hello(t, "shop.example"))
		open = append(open, client, origin.Accept())
	}
	third := testkit.Dial(t, small)
	third.Write(hello(t, "shop.example")) // which may meet the reset
	if _, err := readAll(third); err == nil {
		t.Error("a third client reads an orderly end, want a reset")
	}
	e.wantRecord(1, TooManyConnections, relay.PhaseAdmit)
	e.reach(e.addr, "shop.example", origin)
	clientEnds(open[0], open[1])
	e.record(3)
	e.reach(small, "shop.example", origin) // there is room again
	clientEnds(open[2], open[3])
	e.record(5)
	client := testkit.Dial(t, small)
	client.SendBytes(hello(t, "shop.example", slices.Repeat([]string{"a-protocol-with-a-long-name"}, 200)...))
	readAll(client)
	e.wantRecord(6, HelloTooLarge, relay.PhaseHello)
}

// A listener that cannot be opened at first, and others on port 0, are each told apart.
func TestListenersOfOneAddress(t *testing.T) {
	testkit.NoLeaks(t)
	first, second := testkit.NewOrigin(t), testkit.NewOrigin(t)
	s := twoDoors(first.Address(), second.Address())
	s.Listeners = []Rules{{Address: "main"}, {Address: "same"}, {Address: "same"}}
	s.own = append(s.own, routes.Own{Label: "other"})
	e := serve(t, s)
	if _, err := e.Listen(netip.MustParseAddrPort("192.0.2.1:1"), ListenOptions{Name: "same"}); err == nil {
		t.Fatal("an address that this machine does not have is listened on")
	}
	mail, other := e.listen("same"), e.listen("same")
	e.reach(mail, "shop.example", second)
	e.reach(other, "shop.example", first)
}
