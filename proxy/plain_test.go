package proxy

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"keyhole/backend"
	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
	"keyhole/routes"
	"keyhole/sni"
)

// begins is a rule for a text or the name of a protocol, to the backend of that
// place.
func begins(what string, to int) routes.PlainRule {
	g, ok := sni.GreetingOf(what)
	if !ok {
		g = sni.Text(what)
	}
	return routes.PlainRule{Label: "not_tls " + what, Begins: &g, Route: &routes.Route{Backend: to}}
}

func silentFor(d time.Duration, to int) routes.PlainRule {
	return routes.PlainRule{Label: "not_tls silent", Silent: d, Route: &routes.Route{Backend: to}}
}

func theRest(to int) routes.PlainRule {
	return routes.PlainRule{Label: "not_tls", Route: &routes.Route{Backend: to}}
}

// mixed is the setup of a listener with shop.example at the first origin, and
// rules for what is no TLS.
func mixed(origins []*testkit.Origin, rules ...routes.PlainRule) setup {
	s := setup{routes: []routes.Route{{SNI: []string{"shop.example"}}}, otherwise: routes.Route{Backend: -1}}
	for _, o := range origins {
		s.backends = append(s.backends, backend.Config{Servers: []backend.ServerConfig{{Address: o.Address()}}})
	}
	s.Config.Timeouts.Hello = testkit.Patience
	s.Config.Listeners = []Rules{{Address: "main", NotTLS: rules}}
	return s
}

func newOrigins(t *testing.T, n int) (all []*testkit.Origin) {
	for range n {
		all = append(all, testkit.NewOrigin(t))
	}
	return all
}

// The first bytes choose the server, however they are cut, and are the first
// that it gets. TLS beside them goes by its name.
func TestNotTLSGoesByItsFirstBytes(t *testing.T) {
	testkit.NoLeaks(t)
	origins := newOrigins(t, 5)
	e := serve(t, mixed(origins, begins("SSH-", 1), begins("http", 2), begins("postgres", 3), theRest(4)))
	n := 0
	for _, c := range []struct {
		sent  string
		to    int
		route string
	}{
		{"SSH-2.0-OpenSSH_9.2\r\n", 1, "not_tls SSH-"},
		{"GET / HTTP/1.1\r\n\r\n", 2, "not_tls http"},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 2, "not_tls http"},
		{"\x00\x00\x00\x08\x04\xd2\x16\x2f", 3, "not_tls postgres"},
		{"SSLv", 4, "not_tls"},
		{"\x05\x01\x00", 4, "not_tls"},
		{"x", 4, "not_tls"},
		{"GET\r\n", 4, "not_tls"},
		{string(hello(t, "shop.example")), 0, "shop.example"},
	} {
		for _, size := range []int{len(c.sent), 1, 3} {
			client := e.dial()
			for rest := c.sent; rest != ""; rest = rest[min(size, len(rest)):] {
				client.Send(rest[:min(size, len(rest))])
			}
			server := origins[c.to].Accept()
			server.Want(c.sent)
			server.Send("answer")
			client.Want("answer")
			client.Send("more")
			server.Want("more")
			clientEnds(client, server)
			n++
			r := e.wantRecord(n, ClientClosed, relay.PhaseRelay)
			if r.Route != c.route || r.Server != origins[c.to].Address() || r.Up != uint64(len(c.sent)+4) || r.Error != "" || r.Listen != "main" {
				t.Errorf("%q: record says %+v, want route %q to %s", c.sent, r, c.route, origins[c.to].Address())
			}
		}
	}
}

// While a rule that comes first may still fit, the client is waited for, and no
// longer.
func TestNotTLSIsDecidedOnceItIsSettled(t *testing.T) {
	testkit.NoLeaks(t)
	origins := newOrigins(t, 4)
	e := serve(t, mixed(origins, begins("SSH-2", 1), begins("SSH-", 2), theRest(3)))
	for _, c := range []struct {
		waits, settles string
		to             int
	}{
		{"", "x", 3}, {"S", "x", 3}, {"SSH", "!", 3}, {"SSH-", "2", 1}, {"SSH-", "1", 2},
	} {
		client := e.dial()
		if c.waits != "" {
			client.Send(c.waits)
			testkit.Eventually(t, "the edge waits for more", func() bool { return held(e) >= len(c.waits) })
		}
		client.Send(c.settles)
		server := origins[c.to].Accept()
		server.Want(c.waits + c.settles)
		clientEnds(client, server)
		testkit.Eventually(t, "closed", func() bool { return e.Active() == 0 })
	}
}

// held is how many bytes the edge holds of its clients.
func held(e *edge) (n int) {
	for _, s := range e.Stats() {
		n += s.BytesHeld
	}
	return n
}

// A client that stops before its rule is settled reaches no other rule: it could
// go on, past an earlier rule's lists, once it is there.
func TestNotTLSUndecided(t *testing.T) {
	testkit.NoLeaks(t)
	origins := newOrigins(t, 3)
	s := mixed(origins, begins("SSH-", 1), theRest(2))
	s.Timeouts.Hello = 200 * time.Millisecond
	e := serve(t, s)
	client := e.dial()
	client.Send("SSH")
	client.WantEnd(nil)
	if r := e.wantRecord(1, HelloTimeout, relay.PhaseHello); r.Error != errUndecided.Error() || r.Route != "" {
		t.Errorf("record says %+v, want no route and error %q", r, errUndecided)
	}
}

// Without a rule that fits, the client is turned away as without rules, and the
// record says what it is.
func TestNotTLSWithoutARule(t *testing.T) {
	testkit.NoLeaks(t)
	e := serve(t, mixed(newOrigins(t, 2), begins("SSH-", 1), begins("http", 1)))
	for i, c := range []struct{ sent, err string }{
		{"\x00\x00\x00\x08\x04\xd2\x16\x2f", "not TLS: Postgres SSLRequest"},
		{"\x05\x01\x00", "not TLS: SOCKS"},
		{"SOS", "not TLS"},
	} {
		client := e.dial()
		client.Send(c.sent)
		client.WantEnd(nil)
		client.Close()
		if r := e.wantRecord(i+1, NotTLS, relay.PhaseHello); r.Error != c.err {
			t.Errorf("%q: record says %q, want %q", c.sent, r.Error, c.err)
		}
	}
}

// A hello that breaks any rule of TLS is no other protocol's: whatever byte of
// it is wrong but the first, no rule takes it.
func TestABrokenHelloReachesNoRule(t *testing.T) {
	testkit.NoLeaks(t)
	origins := newOrigins(t, 2)
	s := mixed(origins, begins("\x16\x03", 1), theRest(1))
	s.Timeouts.Hello = 300 * time.Millisecond // some are only cut short
	e := serve(t, s)
	whole := hello(t, "shop.example")
	sent := [][]byte{{0x14}, {0x15, 3, 1, 0, 2, 2, 80}, {0x17, 'x'}, {0x18, 3, 3}, {0x16}, {0x16, 'S', 'S', 'H'}, {0x16, 2, 0}, {0x16, 0xfe, 0xff}}
	for i := 1; i < 60; i++ {
		spoilt := append([]byte{}, whole...)
		spoilt[i] ^= 0x81
		sent = append(sent, spoilt, whole[:i])
	}
	var clients []*testkit.Peer
	for _, b := range sent {
		clients = append(clients, e.dial())
		clients[len(clients)-1].SendBytes(b)
	}
	go func() {
		for { // a hello may be right in spite of its wrong byte
			c, err := origins[0].Listener.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for _, c := range clients {
		readAll(c)
		c.Close()
	}
	testkit.Eventually(t, "all records", func() bool { return e.log.count() == len(sent) })
	for _, r := range e.log.records(t) {
		if strings.HasPrefix(r.Route, "not_tls") || r.Reason == NotTLS.String() {
			t.Errorf("record says %+v, want a hello that is refused", r)
		}
	}
	for _, o := range origins {
		o.Listener.Close()
	}
}

// A rule may turn its clients away, and a server that fails is not told to a
// client that cannot read alerts.
func TestNotTLSRejects(t *testing.T) {
	testkit.NoLeaks(t)
	origins := newOrigins(t, 1)
	s := mixed(origins)
	s.backends = append(s.backends, backend.Config{Retries: 1, Servers: []backend.ServerConfig{{Address: refusing(t)}, {Address: refusing(t)}}})
	reject := begins("SSH-", -1)
	reset := begins("http", -1)
	reset.Route.Reject = routes.RejectReset
	s.Listeners[0].NotTLS = routes.Plain{reject, reset, theRest(1)}
	e := serve(t, s)
	for i, c := range []struct {
		sent   string
		how    routes.Reject
		reason Reason
		phase  relay.Phase
		route  string
	}{
		{"SSH-2", routes.RejectClose, RouteRejects, relay.PhaseDecide, "not_tls SSH-"},
		{"GET /", routes.RejectReset, RouteRejects, relay.PhaseDecide, "not_tls http"},
		{"other", routes.RejectClose, DialRefused, relay.PhaseDial, "not_tls"},
	} {
		client := e.dial()
		client.Send(c.sent)
		b, err := readAll(client)
		wantBye(t, c.how, 0, b, err)
		client.Close()
		if r := e.wantRecord(i+1, c.reason, c.phase); r.Route != c.route {
			t.Errorf("%q: record says route %q, want %q", c.sent, r.Route, c.route)
		}
	}
}

// The lists of the element that takes a client are final, and so are those of a
// listener without TLS.
func TestPlainAccess(t *testing.T) {
	testkit.NoLeaks(t)
	origins := newOrigins(t, 2)
	here := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	access := func(allow, deny []netip.Prefix) *routes.Access {
		a, err := routes.NewAccess(allow, deny)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	denied, allowed, elsewhere := begins("SSH-", 1), begins("RFB", 1), begins("http", 1)
	denied.Route.Access = access(nil, here)
	allowed.Route.Access = access(here, nil)
	elsewhere.Route.Access = access([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, nil)
	s := mixed(origins, denied, allowed, elsewhere, theRest(1))
	e := serve(t, s)
	for i, sent := range []string{"SSH-2", "GET /"} {
		client := e.dial()
		client.Send(sent)
		client.WantEnd(nil)
		client.Close()
		if r := e.wantRecord(i+1, DeniedAddress, relay.PhaseDecide); r.Route == "" || r.Server != "" {
			t.Errorf("%q: record says %+v, want its route and no server", sent, r)
		}
	}
	client := e.dial()
	client.Send("RFB 003")
	server := origins[1].Accept()
	server.Want("RFB 003")
	clientEnds(client, server)
	e.wantRecord(3, ClientClosed, relay.PhaseRelay)

	s.Listeners = []Rules{{Address: "main", TCP: &routes.Route{Backend: 1, Access: access(nil, here)}}}
	e = serve(t, s)
	client = e.dial()
	client.WantEnd(nil)
	client.Close()
	if r := e.wantRecord(1, DeniedAddress, relay.PhaseDecide); r.Route != "tcp" {
		t.Errorf("record says route %q, want tcp", r.Route)
	}
}

// The bytes go to the next server when one refuses, from the first on.
func TestNotTLSTriesTheNextServer(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	s := mixed([]*testkit.Origin{o}, theRest(1))
	s.backends = append(s.backends, backend.Config{Retries: 2, Servers: []backend.ServerConfig{{Address: refusing(t)}, {Address: o.Address(), Backup: 1}}})
	e := serve(t, s)
	client := e.dial()
	client.Send("MAIL")
	server := o.Accept()
	server.Want("MAIL")
	clientEnds(client, server)
	if r := e.wantRecord(1, ClientClosed, relay.PhaseRelay); r.Attempts != 2 {
		t.Errorf("record says %d attempts, want 2", r.Attempts)
	}
}

// A client that sends nothing goes to the server that speaks first; one that
// speaks in time does not, be it TLS or not.
func TestSilentClient(t *testing.T) {
	testkit.NoLeaks(t)
	const silence = 300 * time.Millisecond
	origins := newOrigins(t, 3)
	e := serve(t, mixed(origins, begins("SSH-", 1), silentFor(silence, 2), theRest(1)))
	client := e.dial()
	server := origins[2].Accept()
	server.Send("SSH-2.0-origin\r\n")
	client.Want("SSH-2.0-origin\r\n")
	client.Send("SSH-2.0-client\r\n")
	server.Want("SSH-2.0-client\r\n")
	clientEnds(client, server)
	if r := e.wantRecord(1, ClientClosed, relay.PhaseRelay); r.Route != "not_tls silent" || r.Hello == nil || *r.Hello < 300 {
		t.Errorf("record says %+v, want route not_tls silent after 300 ms", r)
	}
	for i, c := range []struct {
		sent string
		to   int
	}{{"SSH-2.0", 1}, {"x", 1}, {string(hello(t, "shop.example")), 0}} {
		client := e.dial()
		client.Send(c.sent)
		server := origins[c.to].Accept()
		server.Want(c.sent)
		clientEnds(client, server)
		e.wantRecord(i+2, ClientClosed, relay.PhaseRelay)
	}
}

// A client that leaves, or stays, in silence without a rule for it has the
// record of one that sent nothing.
func TestSilenceWithoutARule(t *testing.T) {
	testkit.NoLeaks(t)
	s := mixed(newOrigins(t, 2), silentFor(testkit.Patience, 1))
	e := serve(t, s)
	e.dial().Close()
	e.wantRecord(1, NoBytes, relay.PhaseHello)
	s.Listeners = []Rules{{Address: "main", NotTLS: routes.Plain{theRest(1)}}}
	s.Timeouts.Hello = 100 * time.Millisecond
	e = serve(t, s)
	client := e.dial()
	client.WantEnd(nil)
	client.Close()
	e.wantRecord(1, HelloTimeout, relay.PhaseHello)
}

// A listener without TLS connects at the accept, in both orders of speaking,
// and reads no byte, not even a hello's.
func TestTCPListener(t *testing.T) {
	testkit.NoLeaks(t)
	origins := newOrigins(t, 2)
	s := mixed(origins)
	s.Listeners[0].TCP = &routes.Route{Backend: 1, IdleTimeout: testkit.Patience}
	e := serve(t, s)
	for i, first := range []string{"", "EHLO a\r\n", "GET / HTTP/1.1\r\n", string(hello(t, "shop.example")), "\x16\x03\x01"} {
		client := e.dial()
		server := origins[1].Accept()
		server.Send("220 ready\r\n")
		client.Want("220 ready\r\n")
		client.Send(first)
		client.FIN()
		server.Want(first)
		server.WantEnd(nil)
		server.Send("bye")
		server.Close()
		client.Want("bye")
		client.WantEnd(nil)
		r := e.wantRecord(i+1, ClientClosed, relay.PhaseRelay)
		if r.Route != "tcp" || r.SNI != "" || r.Up != uint64(len(first)) || r.Down != 14 || r.Hello == nil || r.Error != "" {
			t.Errorf("%q: record says %+v, want route tcp", first, r)
		}
	}
}

// A TCP listener's client that is turned away sees no alert.
func TestTCPListenerRejects(t *testing.T) {
	testkit.NoLeaks(t)
	s := mixed(nil)
	s.routes = nil
	s.backends = []backend.Config{{Retries: 1, Servers: []backend.ServerConfig{{Address: refusing(t)}}}}
	for _, c := range []struct {
		route  routes.Route
		reason Reason
		phase  relay.Phase
	}{
		{routes.Route{Backend: 0}, DialRefused, relay.PhaseDial},
		{routes.Route{Backend: -1, Reject: routes.RejectAlert}, RouteRejects, relay.PhaseDecide},
		{routes.Route{Backend: -1, Reject: routes.RejectReset}, RouteRejects, relay.PhaseDecide},
	} {
		s.Listeners = []Rules{{Address: "main", TCP: &c.route}}
		e := serve(t, s)
		client, err := net.Dial("tcp", e.addr)
		var b []byte
		if err == nil { // else it has the reset already
			b, err = readAll(client)
			client.Close()
		}
		how := c.route.Reject
		if how != routes.RejectReset {
			how = routes.RejectClose
		}
		wantBye(t, how, 0, b, err)
		e.wantRecord(1, c.reason, c.phase)
	}
}

// A reload changes what a running listener does with the clients to come, and
// whether it takes silent ones at once.
func TestReloadOfPlainRules(t *testing.T) {
	testkit.NoLeaks(t)
	origins := newOrigins(t, 3)
	s := mixed(origins, theRest(1))
	e := serve(t, s)
	open := e.dial()
	open.Send("x")
	server := origins[1].Accept()
	server.Want("x")

	s.Listeners = []Rules{{Address: "main", TCP: &routes.Route{Backend: 2}}}
	e.Reload(s.config(t))
	quickest := time.Hour
	for range 5 {
		begin := time.Now()
		client := e.dial()
		server := origins[2].Accept()
		server.Send("220")
		client.Want("220")
		quickest = min(quickest, time.Since(begin))
		clientEnds(client, server)
	}
	if quickest > 700*time.Millisecond { // deferred, it would be a second
		t.Errorf("the quickest greeting took %v", quickest)
	}

	s.Listeners = nil
	e.Reload(s.config(t))
	client := e.dial()
	client.Send("x")
	client.WantEnd(nil)
	open.Send("still")
	server.Want("still")
	clientEnds(open, server)
}
