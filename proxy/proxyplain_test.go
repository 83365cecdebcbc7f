package proxy

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"keyhole/backend"
	"keyhole/internal/testkit"
	"keyhole/postgres"
	"keyhole/proxy/relay"
	"keyhole/proxyproto"
	"keyhole/routes"
)

// proxied has 127.0.0.1 be a proxy for the first listener of s.
func proxied(t testing.TB, s setup) setup {
	s.Listeners[0].ProxyFrom = access(t, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	return s
}

// A TCP listener reads the header before it dials, and nothing behind it: the
// server may speak first. With a header out, that is all that the server gets.
func TestTCPListenerBehindAProxy(t *testing.T) {
	testkit.NoLeaks(t)
	origins := newOrigins(t, 2)
	s := proxied(t, mixed(origins))
	s.Listeners[0].TCP = &routes.Route{Backend: 1}
	s.backends[1].ProxyProtocol = backend.ProxyV2
	e := serve(t, s)
	var in proxyproto.V2
	in.Begin(visitor, door)
	in.Add(proxyproto.TypeAuthority, []byte("shop.example"))
	in.Add(0xea, []byte("vpce"))
	for i, header := range []string{string(in.End()), visitorLine, visitorV2} {
		for j, parts := range [][]string{
			{header}, {header[:7], header[7:]}, {header + "EHLO"}, {header[:14], header[14:] + "EHLO"}, {header + "P"}, {header, "PRO", "BE"},
		} {
			client := e.dialFrom("127.0.0.1")
			for _, p := range parts[:min(2, len(parts))] {
				client.Send(p)
			}
			server := origins[1].Accept()
			b := make([]byte, 4096)
			n, err := server.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			h, size, err := proxyproto.Parse(b[:n])
			if err != nil || h.Source != visitor || h.Destination != door {
				t.Fatalf("server reads %q: %+v, %v, want a header of %v to %v", b[:n], h, err, visitor, door)
			}
			server.Send("220 ready\r\n")
			client.Want("220 ready\r\n")
			said := strings.TrimPrefix(strings.Join(parts, ""), header)
			for _, p := range parts[min(2, len(parts)):] {
				client.Send(p)
			}
			client.FIN()
			server.Want(said[n-size:])
			server.WantEnd(nil)
			server.Close()
			client.WantEnd(nil)
			r := e.wantRecord(6*i+j+1, ClientClosed, relay.PhaseRelay)
			all := tlvs(t, h)
			if r.Route != "tcp" || r.Client != visitor || !r.Peer.IsValid() || r.Up != uint64(len(said)) || all[proxyproto.TypeUniqueID] != r.ID {
				t.Errorf("record says %+v, want route tcp, client %v, %d bytes up", r, visitor, len(said))
			}
			if i == 0 && (all[proxyproto.TypeAuthority] != "shop.example" || all[0xea] != "vpce") {
				t.Errorf("TLVs %q, want those that came in", all)
			}
		}
	}
	e.wantNoIntroductions()
}

// On a TCP listener too, nobody but a proxy may send a header, and not a second
// one behind it. The server has been dialed by then, and gets no byte of it.
func TestUninvitedHeadersToTCP(t *testing.T) {
	testkit.NoLeaks(t)
	origins := newOrigins(t, 2)
	s := proxied(t, mixed(origins))
	s.Listeners[0].TCP = &routes.Route{Backend: 1}
	e := serve(t, s)
	n := 0
	for _, header := range []string{visitorLine, visitorV2} {
		for _, cut := range []int{len(header), 1, 5} {
			client := e.dialFrom("127.0.0.2")
			client.Send(header[:cut])
			server := origins[1].Accept()
			client.Write([]byte(header[cut:]))
			if b, err := readAll(client); len(b) != 0 || err != nil {
				t.Errorf("client reads %q, %v, want a close", b, err)
			}
			if b, _ := readAll(server); len(b) != 0 {
				t.Errorf("the server reads %q, want nothing", b)
			}
			client.Close()
			server.Close()
			n++
			if r := e.record(n); r.Reason != BadProxyHeader.String() || r.Up != 0 {
				t.Errorf("record %+v, want %s and no byte up", r, BadProxyHeader)
			}
		}
	}
	// Behind a header in one segment, before the server is dialed.
	client := e.dialFrom("127.0.0.1")
	client.Send(visitorV2 + visitorLine)
	if b, err := readAll(client); len(b) != 0 || err != nil {
		t.Errorf("client reads %q, %v, want a close", b, err)
	}
	client.Close()
	e.wantRecord(n+1, BadProxyHeader, relay.PhaseAdmit)
	// A client that begins as a header does, and goes on otherwise, is served.
	client = e.dialFrom("127.0.0.2")
	client.Send("PROX")
	server := origins[1].Accept()
	client.Send("IMA\r\n")
	server.Want("PROXIMA\r\n")
	server.Send("answer")
	client.Want("answer")
	client.Send("PROXY later\r\n") // is no header any more
	server.Want("PROXY later\r\n")
	clientEnds(client, server)
	e.wantRecord(n+2, ClientClosed, relay.PhaseRelay)
}

// What listed peers of a TCP listener do before their header.
func TestTCPListenerWithoutAHeader(t *testing.T) {
	testkit.NoLeaks(t)
	s := proxied(t, mixed(newOrigins(t, 2)))
	s.Listeners[0].TCP = &routes.Route{Backend: 1}
	e := serve(t, s)
	e.dialFrom("127.0.0.1").Close()
	e.wantRecord(1, NoBytes, relay.PhaseHello)
	client := e.dialFrom("127.0.0.1")
	client.Send("EHLO a\r\n")
	client.WantEnd(nil)
	client.Close()
	if r := e.wantRecord(2, BadProxyHeader, relay.PhaseAdmit); r.Server != "" {
		t.Errorf("record %+v, want no server", r)
	}
}

// Behind a header the rules of not_tls go by what the client sends, and its
// silence begins there.
func TestNotTLSBehindAProxy(t *testing.T) {
	testkit.NoLeaks(t)
	const silence = 300 * time.Millisecond
	origins := newOrigins(t, 4)
	s := proxied(t, mixed(origins, begins("SSH-", 1), begins("P", 1), silentFor(silence, 2), theRest(3)))
	e := serve(t, s)
	n := 0
	for _, c := range []struct {
		sent string
		to   int
	}{
		{"", 2}, {"SSH-2.0-x\r\n", 1}, {"POST", 1}, {"PR ", 1}, {"GET / HTTP/1.1\r\n", 3}, {string(hello(t, "shop.example")), 0},
	} {
		for _, parts := range [][]string{{visitorLine + c.sent}, {visitorV2, c.sent}, {visitorV2[:3], visitorV2[3:] + c.sent}} {
			client := e.dialFrom("127.0.0.1")
			for _, p := range parts {
				client.Send(p)
			}
			server := origins[c.to].Accept()
			server.Want(c.sent)
			server.Send("answer")
			client.Want("answer")
			clientEnds(client, server)
			n++
			r := e.wantRecord(n, ClientClosed, relay.PhaseRelay)
			if r.Client != visitor || !r.Peer.IsValid() || r.Up != uint64(len(c.sent)) {
				t.Errorf("%.9q: record %+v, want client %v and %d bytes up", c.sent, r, visitor, len(c.sent))
			}
			if c.to == 2 && *r.Hello < 300 {
				t.Errorf("decided after %v ms, want the silence of 300", *r.Hello)
			}
		}
	}
	// A header that is not due reaches no rule, not even one for its first letter.
	for _, parts := range [][]string{{visitorLine}, {"P", visitorLine[1:]}, {visitorV2}, {visitorV2[:5], visitorV2[5:]}} {
		client := e.dialFrom("127.0.0.2")
		for _, p := range parts {
			client.Write([]byte(p))
		}
		client.WantEnd(nil)
		client.Close()
		n++
		e.wantRecord(n, BadProxyHeader, relay.PhaseAdmit)
	}
	// A listed peer has to begin with a header, whatever rule there is.
	for _, sent := range []string{"SSH-2.0-x\r\n", "x", string(hello(t, "shop.example"))} {
		client := e.dialFrom("127.0.0.1")
		client.Send(sent)
		client.WantEnd(nil)
		client.Close()
		n++
		e.wantRecord(n, BadProxyHeader, relay.PhaseAdmit)
	}
}

// A silent proxy is waited for as for a hello, not for as long as a silent client.
func TestSilentProxy(t *testing.T) {
	testkit.NoLeaks(t)
	s := proxied(t, mixed(newOrigins(t, 2), silentFor(50*time.Millisecond, 1)))
	s.Timeouts.Hello = 300 * time.Millisecond
	e := serve(t, s)
	for i, sent := range []string{"", "PROXY TCP4"} {
		client := e.dialFrom("127.0.0.1")
		client.Send(sent)
		client.WantEnd(nil)
		client.Close()
		e.wantRecord(i+1, HelloTimeout, relay.PhaseHello)
	}
}

// Clients of PostgreSQL come through a proxy, and their servers get a header
// before the request for TLS.
func TestPostgresBehindAProxy(t *testing.T) {
	o := testkit.NewOrigin(t)
	x := one("db.example", o.Address())
	x.backends[0].ProxyProtocol = backend.ProxyV2
	e := servePostgres(t, x)
	c := *e.config.Load()
	c.Listeners = []Rules{{Address: "postgres", StartTLS: PostgresStartTLS}}
	c.Listeners[0].ProxyFrom = access(t, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
	e.Reload(&c)
	h := hello(t, "db.example")
	for i, parts := range [][]string{
		{visitorV2 + string(postgres.SSLRequest)}, {visitorLine, string(postgres.SSLRequest)},
		{visitorLine[:9], visitorLine[9:] + string(postgres.SSLRequest[:3]), string(postgres.SSLRequest[3:])},
	} {
		client := e.dialFrom("127.0.0.1")
		for _, p := range parts {
			client.Send(p)
		}
		client.WantBytes(postgres.Yes)
		client.SendBytes(h)
		server := o.Accept()
		b := firstBytes(t, server)
		header, n, err := proxyproto.Parse(b)
		if err != nil || header.Source != visitor || !bytes.Equal(b[n:], postgres.SSLRequest) {
			t.Fatalf("server reads %q: %+v, %v, want a header of %v and the SSLRequest", b, header, err, visitor)
		}
		server.SendBytes(postgres.Yes)
		server.WantBytes(h)
		server.Send("answer")
		client.Want("answer")
		clientEnds(client, server)
		r := e.wantRecord(i+1, ClientClosed, relay.PhaseRelay)
		if r.Client != visitor || r.Up != uint64(len(h)) || r.Down != 6 || r.ID != tlvs(t, header)[proxyproto.TypeUniqueID] {
			t.Errorf("record %+v, want client %v and the bytes of TLS alone", r, visitor)
		}
	}
	client := e.dialFrom("127.0.0.2")
	client.Send(visitorLine)
	client.WantEnd(nil)
	client.Close()
	e.wantRecord(4, BadProxyHeader, relay.PhaseAdmit)
	e.wantNoIntroductions()
}
