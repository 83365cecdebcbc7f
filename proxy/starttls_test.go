package proxy

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"keyhole/backend"
	"keyhole/internal/testkit"
	"keyhole/postgres"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

var (
	gssRequest = []byte{0, 0, 0, 8, 4, 210, 22, 48}
	cancelling = []byte{0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 1, 2, 3, 4, 5, 6}
	inClear    = []byte("\x00\x00\x00\x12\x00\x03\x00\x00user\x00bob\x00\x00")
)

// servePostgres is serve with a listener for PostgreSQL.
func servePostgres(t *testing.T, s setup) *edge {
	t.Helper()
	testkit.NoLeaks(t)
	s.Listeners = []Rules{{Address: "postgres", StartTLS: PostgresStartTLS}}
	if s.own == nil {
		s.own = make([]routes.Own, 1)
	}
	s.Listeners[0].NoName = s.own[0].NoName
	e := serve(t, s)
	ln, err := e.Listen(anyPort, ListenOptions{Name: "postgres"})
	if err != nil {
		t.Fatal(err)
	}
	e.addr = ln.Addr().String()
	return e
}

// The client's hello goes to the server of its name once that has agreed to
// TLS, as it came; neither the requests nor their answers count as bytes.
func TestPostgres(t *testing.T) {
	o := testkit.NewOrigin(t)
	e := servePostgres(t, one("db.example", o.Address()))
	h := hello(t, "db.example", "postgresql")
	for i, c := range []struct {
		name   string
		asks   [][]byte // and what each is answered
		bytely bool
	}{
		{"SSLRequest", [][]byte{postgres.SSLRequest, postgres.Yes}, false},
		{"SSLRequest, byte by byte", [][]byte{postgres.SSLRequest, postgres.Yes}, true},
		{"GSSENCRequest before it", [][]byte{gssRequest, postgres.No, postgres.SSLRequest, postgres.Yes}, false},
		{"both, byte by byte", [][]byte{gssRequest, postgres.No, postgres.SSLRequest, postgres.Yes}, true},
		{"directly", nil, false},
		{"directly, behind GSSENCRequest", [][]byte{gssRequest, postgres.No}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := e.dial()
			send := func(b []byte) {
				if !c.bytely {
					client.SendBytes(b)
					return
				}
				for _, x := range b {
					client.SendBytes([]byte{x})
				}
			}
			asksTLS := false
			for a := range slices.Chunk(c.asks, 2) {
				send(a[0])
				client.WantBytes(a[1])
				asksTLS = bytes.Equal(a[1], postgres.Yes)
			}
			send(h)
			server := o.Accept()
			if asksTLS {
				server.WantBytes(postgres.SSLRequest)
				server.SendBytes(postgres.Yes)
			}
			server.WantBytes(h)
			server.Send("server hello")
			client.Want("server hello")
			client.Send("more")
			server.Want("more")
			clientEnds(client, server)
			r := e.wantRecord(i+1, ClientClosed, relay.PhaseRelay)
			if r.SNI != "db.example" || r.ALPN != "postgresql" || r.Listen != "postgres" || r.Attempts != 1 || r.Error != "" ||
				r.Up != uint64(len(h)+len("more")) || r.Down != uint64(len("server hello")) {
				t.Errorf("record says %+v, want the name, the protocol, and the bytes of TLS alone", r)
			}
		})
	}
}

// A server that does not begin TLS gets nothing of the client's. The next is
// tried; with none left, the client gets an alert, and the record names what
// the server did.
func TestPostgresServerWithoutTLS(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(*testkit.Peer)
		says   string
	}{
		{"N", func(p *testkit.Peer) { p.Send("N") }, "the server answered N"},
		{"an error", func(p *testkit.Peer) { p.SendBytes(postgres.Refusal) }, "with an error: this server takes"},
		{"another protocol", func(p *testkit.Peer) { p.Send("HTTP/1.1 400 Bad Request\r\n") }, `answered "HTTP/1.1 400 Bad"`},
		{"bytes behind S", func(p *testkit.Peer) { p.Send("S\x15\x03\x01\x00\x02\x02\x28") }, "bytes behind its answer"},
		{"its end", func(p *testkit.Peer) { p.FIN() }, "the server closed the connection"},
		{"a reset", func(p *testkit.Peer) { p.Reset() }, "connection reset by peer"},
		{"nothing", func(*testkit.Peer) {}, "did not answer in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad, good := testkit.NewOrigin(t), testkit.NewOrigin(t)
			h := hello(t, "db.example")
			begin := func(e *edge) *testkit.Peer {
				client := e.dial()
				client.SendBytes(postgres.SSLRequest)
				client.WantBytes(postgres.Yes)
				client.SendBytes(h)
				return client
			}
			refuse := func() {
				server := bad.Accept()
				server.WantBytes(postgres.SSLRequest)
				c.answer(server)
				if b, _ := readAll(server); len(b) > 0 {
					t.Errorf("the server got %q, want nothing of the client's", b)
				}
			}

			alone := one("db.example", bad.Address())
			alone.backends[0].Retries = 0
			if c.name == "nothing" {
				alone.Timeouts.Connect = 200 * time.Millisecond
			}
			e := servePostgres(t, alone)
			client := begin(e)
			refuse()
			client.Want("\x15\x03\x01\x00\x02\x02\x50") // internal_error
			client.WantEnd(nil)
			client.Close()
			r := e.wantRecord(1, StartTLSRefused, relay.PhaseDial)
			if !strings.Contains(r.Error, c.says) || r.Server != bad.Address() || r.Up != 0 || r.Down != 0 {
				t.Errorf("record says %+v, want %q of %s, and no byte", r, c.says, bad.Address())
			}

			both := one("db.example", bad.Address(), good.Address())
			both.backends[0].Servers[1].Backup = 1
			e = servePostgres(t, both)
			client = begin(e)
			refuse()
			server := good.Accept()
			server.WantBytes(postgres.SSLRequest)
			server.SendBytes(postgres.Yes)
			server.WantBytes(h)
			clientEnds(client, server)
			r = e.wantRecord(1, ClientClosed, relay.PhaseRelay)
			if r.Server != good.Address() || r.Attempts != 2 || r.Error != "" {
				t.Errorf("record says %+v, want that of %s in the second attempt, without an error", r, good.Address())
			}
		})
	}
}

// A client that speaks PostgreSQL without TLS, or breaks the rules of asking
// for it, reaches no server, not even the default's.
func TestPostgresClientInClear(t *testing.T) {
	for _, how := range []routes.Reject{routes.RejectAlert, routes.RejectClose, routes.RejectReset} {
		for _, c := range []struct {
			name   string
			asks   [][]byte
			last   []byte
			reads  []byte
			reason Reason
		}{
			{"StartupMessage", nil, inClear, postgres.Refusal, NoTLSAsked},
			{"StartupMessage behind GSSENCRequest", [][]byte{gssRequest, postgres.No}, inClear, postgres.Refusal, NoTLSAsked},
			{"CancelRequest", nil, cancelling, nil, NoTLSAsked},
			{"GSSENCRequest twice", [][]byte{gssRequest, postgres.No}, gssRequest, nil, StartTLSMalformed},
			{"bytes behind SSLRequest", nil, append(bytes.Clone(postgres.SSLRequest), hello(t, "db.example")...), nil, StartTLSMalformed},
			{"bytes behind GSSENCRequest", nil, append(bytes.Clone(gssRequest), postgres.SSLRequest...), nil, StartTLSMalformed},
			{"an unknown request", nil, []byte{0, 0, 0, 8, 4, 210, 22, 49}, nil, StartTLSMalformed},
			{"a packet too long", nil, []byte{0, 0, 255, 255}, nil, StartTLSMalformed},
			{"HTTP", nil, []byte("GET / HTTP/1.1\r\n\r\n"), nil, NotTLS},
			{"SSLRequest twice", [][]byte{postgres.SSLRequest, postgres.Yes}, postgres.SSLRequest, nil, NotTLS},
			{"StartupMessage behind S", [][]byte{postgres.SSLRequest, postgres.Yes}, inClear, nil, NotTLS},
		} {
			t.Run(fmt.Sprintf("%s/%s", how, c.name), func(t *testing.T) {
				s := one("db.example", refusing(t))
				s.otherwise = routes.Route{Backend: 0, Reject: how}
				e := servePostgres(t, s)
				client := e.dial()
				for a := range slices.Chunk(c.asks, 2) {
					client.SendBytes(a[0])
					client.WantBytes(a[1])
				}
				client.SendBytes(c.last)
				b, err := readAll(client)
				client.Close()
				if how == routes.RejectAlert && c.reads != nil {
					if !bytes.Equal(b, c.reads) || err != nil {
						t.Errorf("client reads %q, %v, want %q", b, err, c.reads)
					}
				} else {
					wantBye(t, how, 0, b, err)
				}
				if r := e.wantRecord(1, c.reason, relay.PhaseHello); r.Error == "" || r.Attempts != 0 {
					t.Errorf("record says %+v, want an error and no attempt", r)
				}
			})
		}
	}
}

// A CancelRequest without TLS, which names no server, goes to where the
// listener's own no_sni says, and nowhere else: it holds a session's secret.
func TestPostgresCancelInClear(t *testing.T) {
	o := testkit.NewOrigin(t)
	nobody := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for _, c := range []struct {
		name   string
		own    *routes.Route // no_sni of the listener
		all    *routes.Route // and of the file
		reason Reason
		phase  relay.Phase
	}{
		{"own", &routes.Route{}, nil, ClientClosed, relay.PhaseRelay},
		{"own, before the file's", &routes.Route{}, &routes.Route{Backend: -1}, ClientClosed, relay.PhaseRelay},
		{"none", nil, nil, NoTLSAsked, relay.PhaseHello},
		{"the file's", nil, &routes.Route{}, NoTLSAsked, relay.PhaseHello},
		{"own, for other protocols", &routes.Route{When: &routes.Conditions{ALPN: []string{"h2"}}}, &routes.Route{}, NoTLSAsked, relay.PhaseHello},
		{"own, for other clients", &routes.Route{Access: access(t, nobody)}, &routes.Route{}, DeniedAddress, relay.PhaseDecide},
		{"own, that rejects", &routes.Route{Backend: -1, Reject: routes.RejectAlert}, &routes.Route{}, NoSNI, relay.PhaseDecide},
		{"own, whose server is down", &routes.Route{Backend: 1}, nil, DialRefused, relay.PhaseDial},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := one("db.example", o.Address())
			s.backends = append(s.backends, backend.Config{Servers: []backend.ServerConfig{{Address: refusing(t)}}})
			s.otherwise = routes.Route{Backend: 0} // the server too, which it must not reach by that
			s.own, s.noName = []routes.Own{{NoName: c.own}}, c.all
			e := servePostgres(t, s)
			client := e.dial()
			client.SendBytes(cancelling[:9])
			client.SendBytes(cancelling[9:])
			if c.reason == ClientClosed {
				server := o.Accept()
				server.WantBytes(cancelling) // and no SSLRequest
				client.FIN()
				server.WantEnd(nil)
				server.Close()
			}
			client.WantEnd(nil)
			client.Close()
			r := e.wantRecord(1, c.reason, c.phase)
			if c.reason == ClientClosed && (r.Route != "no_sni" || r.Up != uint64(len(cancelling))) {
				t.Errorf("record says %+v, want the bytes of the request by no_sni", r)
			}
		})
	}
}

// Behind the answer a client gets alerts, as on any listener for TLS.
func TestPostgresWithoutARoute(t *testing.T) {
	e := servePostgres(t, one("db.example", refusing(t)))
	for n, c := range []struct {
		hello  []byte
		alert  byte
		reason Reason
		phase  relay.Phase
	}{
		{hello(t, "other.example"), alertUnrecognizedName, NoRoute, relay.PhaseDecide},
		{hello(t, ""), alertUnrecognizedName, NoSNI, relay.PhaseDecide},
		{[]byte("\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03"), alertDecodeError, HelloMalformed, relay.PhaseHello},
	} {
		client := e.dial()
		client.SendBytes(postgres.SSLRequest)
		client.WantBytes(postgres.Yes)
		client.SendBytes(c.hello)
		client.WantBytes([]byte{21, 3, 1, 0, 2, 2, c.alert})
		client.WantEnd(nil)
		client.Close()
		e.wantRecord(n+1, c.reason, c.phase)
	}
}

// The time for a hello runs from the accept, whatever is said before it.
func TestPostgresHelloTimeout(t *testing.T) {
	s := one("db.example", refusing(t))
	s.Timeouts.Hello = 2 * time.Second
	e := servePostgres(t, s)
	var clients []*testkit.Peer
	for _, asks := range [][][]byte{
		{postgres.SSLRequest[:5]},
		{postgres.SSLRequest},
		{gssRequest, postgres.SSLRequest},
		{gssRequest, postgres.SSLRequest, hello(t, "db.example")[:40]},
		{cancelling[:12]},
	} {
		client := e.dial()
		for _, a := range asks {
			client.SendBytes(a)
			switch {
			case bytes.Equal(a, gssRequest):
				client.WantBytes(postgres.No)
			case bytes.Equal(a, postgres.SSLRequest):
				client.WantBytes(postgres.Yes)
			}
		}
		clients = append(clients, client)
	}
	for n, client := range clients {
		client.WantEnd(nil)
		client.Close()
		e.wantRecord(n+1, HelloTimeout, relay.PhaseHello)
	}
}

// A client that has asked and goes is one that has gone, and a port check
// without a byte stays one.
func TestPostgresClientGoes(t *testing.T) {
	e := servePostgres(t, one("db.example", refusing(t)))
	for n, asks := range [][]byte{nil, postgres.SSLRequest[:3], postgres.SSLRequest} {
		client := e.dial()
		client.SendBytes(asks)
		if len(asks) == postgres.RequestSize {
			client.WantBytes(postgres.Yes)
		}
		client.FIN()
		client.WantEnd(nil)
		client.Close()
		e.wantRecord(n+1, []Reason{NoBytes, ClientGone, ClientGone}[n], relay.PhaseHello)
	}
}

// The watch for a second hello goes on behind the negotiation.
func TestPostgresSecondHello(t *testing.T) {
	o := testkit.NewOrigin(t)
	e := servePostgres(t, one("db.example", o.Address()))
	client := e.dial()
	client.SendBytes(postgres.SSLRequest)
	client.WantBytes(postgres.Yes)
	h := hello(t, "db.example")
	client.SendBytes(h)
	server := o.Accept()
	server.WantBytes(postgres.SSLRequest)
	server.SendBytes(postgres.Yes)
	server.WantBytes(h)
	client.SendBytes(hello(t, "other.example"))
	client.WantBytes([]byte{21, 3, 3, 0, 2, 2, alertIllegalParameter})
	client.Close()
	e.wantRecord(1, NameChanged, relay.PhaseRelay)
}

// A server's address that leads back to the edge is found out, also where the
// edge has answered itself.
func TestPostgresLoop(t *testing.T) {
	e := servePostgres(t, one("db.example", "127.0.0.1:1"))
	looped := one("db.example", e.addr)
	looped.Listeners = e.config.Load().Listeners
	looped.own = make([]routes.Own, 1)
	e.Reload(looped.config(t))
	client := e.dial()
	client.SendBytes(postgres.SSLRequest)
	client.WantBytes(postgres.Yes)
	client.SendBytes(hello(t, "db.example"))
	client.WantBytes([]byte{21, 3, 1, 0, 2, 2, alertInternalError})
	client.Close()
	e.record(2)
	if r := e.log.records(t); r[0].Reason != Loop.String() && r[1].Reason != Loop.String() {
		t.Errorf("records %+v, want one with the reason loop", r)
	}
}

// A reload changes what clients say first on an open listener.
func TestPostgresReload(t *testing.T) {
	e := servePostgres(t, one("db.example", refusing(t)))
	c := *e.config.Load()
	for n, kind := range []StartTLS{PostgresStartTLS, NoStartTLS, PostgresStartTLS} {
		c.Listeners = []Rules{{Address: "postgres", StartTLS: kind}}
		e.Reload(&c)
		client := e.dial()
		client.SendBytes(inClear)
		if kind == PostgresStartTLS {
			client.WantBytes(postgres.Refusal)
		}
		client.WantEnd(nil)
		client.Close()
		e.wantRecord(n+1, map[StartTLS]Reason{NoStartTLS: NotTLS, PostgresStartTLS: NoTLSAsked}[kind], relay.PhaseHello)
	}
}

// Other listeners take no PostgreSQL but what begins with TLS.
func TestPostgresOnAnotherListener(t *testing.T) {
	e := serve(t, one("db.example", refusing(t)))
	client := e.dial()
	client.SendBytes(postgres.SSLRequest)
	client.WantEnd(nil)
	client.Close()
	e.wantRecord(1, NotTLS, relay.PhaseHello)
}
