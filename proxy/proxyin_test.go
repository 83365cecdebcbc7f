package proxy

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"keyhole/backend"
	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
	"keyhole/proxyproto"
	"keyhole/routes"
)

// The client that headers of these tests tell of, and what it connected to.
var (
	visitor = netip.MustParseAddrPort("192.0.2.7:1234")
	door    = netip.MustParseAddrPort("198.51.100.1:443")
)

const (
	visitorLine = "PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\r\n"
	signature   = "\r\n\r\n\x00\r\nQUIT\n"
	visitorV2   = signature + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x04\xd2\x01\xbb"
)

// behindProxies is the setup of one route to o, on a listener that 127.0.0.1 is
// a proxy for.
func behindProxies(t testing.TB, servers ...string) setup {
	s := one("shop.example", servers...)
	s.own = []routes.Own{{Label: "main"}}
	s.Listeners = []Rules{{Address: "main", ProxyFrom: access(t, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})}}
	return s
}

// dialFrom connects a client that has an address of this machine's.
func (e *edge) dialFrom(host string) *testkit.Peer {
	e.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	c, err := d.Dial("tcp", e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	return testkit.NewPeer(e.t, c)
}

// served sends what a proxy sends, header and hello, cut where parts end; o must
// get the hello alone. It returns the record, which is the n-th.
func (e *edge) served(n int, o *testkit.Origin, hello []byte, parts ...string) jsonRecord {
	e.t.Helper()
	client := e.dialFrom("127.0.0.1")
	for _, p := range parts {
		client.Send(p)
	}
	server := o.Accept()
	server.WantBytes(hello)
	server.Send("answer")
	client.Want("answer")
	peer := address(client)
	clientEnds(client, server)
	r := e.wantRecord(n, ClientClosed, relay.PhaseRelay)
	if r.Up != uint64(len(hello)) || r.Peer != peer {
		e.t.Errorf("record of %d parts says %d bytes up, peer %v, want the %d of the hello and %v", len(parts), r.Up, r.Peer, len(hello), peer)
	}
	return r
}

// The header's source is the client from then on, wherever the header and the
// hello are cut.
func TestHeaderInSegments(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	e := serve(t, behindProxies(t, o.Address()))
	h := hello(t, "shop.example")
	n := 0
	for _, header := range []string{visitorLine, visitorV2} {
		all := header + string(h)
		cuts := [][]string{{all}, {header, string(h)}, strings.Split(all[:len(header)+9]+"", ""), {all[:len(header)+1], all[len(header)+1:]}}
		cuts[2] = append(cuts[2], all[len(header)+9:])
		for _, at := range []int{1, 5, 6, 11, 12, 13, 15, 16, len(header) - 1} {
			cuts = append(cuts, []string{all[:at], all[at:]})
		}
		for _, parts := range cuts {
			n++
			if r := e.served(n, o, h, parts...); r.Client != visitor {
				t.Errorf("%d parts, %q first: record says client %v, want %v", len(parts), parts[0][:1], r.Client, visitor)
			}
		}
	}
	e.wantNoIntroductions()
}

// wantNoIntroductions ends the edge, and checks that nothing of headers is kept
// behind.
func (e *edge) wantNoIntroductions() {
	e.t.Helper()
	e.Close()
	e.deskMu.Lock()
	defer e.deskMu.Unlock()
	for i, d := range e.desks {
		if len(d.introduced) != 0 {
			e.t.Errorf("desk %d keeps %d introductions", i, len(d.introduced))
		}
	}
}

// A header that names no client of IP leaves the peer's address.
func TestHeaderWithoutAClient(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	e := serve(t, behindProxies(t, o.Address()))
	h := hello(t, "shop.example")
	for i, header := range []string{
		"PROXY UNKNOWN\r\n",
		"PROXY UNKNOWN 192.0.2.7 198.51.100.1 1234 443\r\n",
		signature + "\x20\x00\x00\x00",
		signature + "\x20\x11\x00\x0c" + visitorV2[16:],
		signature + "\x20\xff\x00\x05\x03\xff\xff\xff\xff",
		signature + "\x21\x00\x00\x00",
		signature + "\x21\x31\x00\xd8" + "/run/a" + strings.Repeat("\x00", 210),
	} {
		if r := e.served(i+1, o, h, header, string(h)); r.Client != r.Peer {
			t.Errorf("%q: record says client %v, want the peer's %v", header, r.Client, r.Peer)
		}
	}
	// IPv4 in IPv6 form is IPv4.
	mapped := "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1234 443\r\n"
	if r := e.served(8, o, h, mapped+string(h)); r.Client != visitor {
		t.Errorf("record says client %v, want %v", r.Client, visitor)
	}
	six := netip.MustParseAddrPort("[2001:db8::7]:9")
	if r := e.served(9, o, h, "PROXY TCP6 2001:db8::7 2001:db8::1 9 443\r\n"+string(h)); r.Client != six {
		t.Errorf("record says client %v, want %v", r.Client, six)
	}
}

// badHeaders are what a listed peer may not begin with, and a word of the error.
var badHeaders = []struct{ name, bytes, says string }{
	{"no header", "\x16\x03\x01\x02\x00\x01", "no PROXY header"},
	{"a request", "GET / HTTP/1.1\r\n\r\n", "no PROXY header"},
	{"SSH", "SSH-2.0-x\r\n", "no PROXY header"},
	{"leading zero in an address", "PROXY TCP4 192.0.02.7 198.51.100.1 1234 443\r\n", "leading zeroes"},
	{"leading zero in a port", "PROXY TCP4 192.0.2.7 198.51.100.1 01234 443\r\n", "leading zeroes"},
	{"port past 65535", "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n", "65535"},
	{"no CR LF in 107 bytes", "PROXY UNKNOWN " + strings.Repeat("x", 93), "107"},
	{"LF alone", "PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\n\r\n", "port"},
	{"version", signature + "\x11\x11\x00\x0c" + visitorV2[16:], "version"},
	{"command", signature + "\x22\x11\x00\x0c" + visitorV2[16:], "command"},
	{"family", signature + "\x21\x41\x00\x0c" + visitorV2[16:], "family"},
	{"transport", signature + "\x21\x13\x00\x0c" + visitorV2[16:], "transport"},
	{"datagrams", signature + "\x21\x12\x00\x0c" + visitorV2[16:], "DGRAM"},
	{"short block", signature + "\x21\x11\x00\x0b" + visitorV2[16:], "length"},
	{"TLV past the end", signature + "\x21\x11\x00\x10" + visitorV2[16:] + "\xea\x00\x02x", "TLV"},
	{"CRC32c", signature + "\x21\x11\x00\x13" + visitorV2[16:] + "\x03\x00\x04\x00\x00\x00\x00", "CRC32c"},
	{"more than 4 KiB", signature + "\x21\x11\x0f\xf1", "4096"},
	{"LOCAL of more than 4 KiB", signature + "\x20\x00\x0f\xf1", "4096"},
	{"a second header", visitorLine + visitorV2, "behind another header"},
	{"a line behind a header", visitorV2 + "PROXY ", "behind another header"},
}

// A bad header ends the connection with a close, and reaches no route, whatever
// the file says about other clients.
func TestBadHeaders(t *testing.T) {
	testkit.NoLeaks(t)
	for _, how := range []routes.Reject{routes.RejectAlert, routes.RejectReset, routes.RejectSilence} {
		o := testkit.NewOrigin(t)
		x := behindProxies(t, o.Address())
		x.otherwise = routes.Route{Backend: 0, Reject: how}
		e := serve(t, x)
		n := 0
		for _, c := range badHeaders {
			for _, cut := range []int{len(c.bytes), 1, len(c.bytes) - 1} {
				n++
				client := e.dialFrom("127.0.0.1")
				client.Send(c.bytes[:cut])
				client.Write([]byte(c.bytes[cut:])) // may be closed by then
				if b, err := readAll(client); len(b) != 0 || err != nil {
					t.Errorf("%s: client reads %q, %v, want a close", c.name, b, err)
				}
				client.Close()
				r := e.wantRecord(n, BadProxyHeader, relay.PhaseAdmit)
				if r.Server != "" || !strings.Contains(r.Error, c.says) {
					t.Errorf("%s: record %+v, want no server and an error about %q", c.name, r, c.says)
				}
			}
		}
		e.wantNoIntroductions()
	}
}

// A peer that is not listed is a client: its hello is served, its header is
// refused. So is one on a listener without a list, as no TLS.
func TestUninvitedHeaders(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	x := behindProxies(t, o.Address())
	x.otherwise = routes.Route{Backend: 0}
	e := serve(t, x)
	plain := e.listen("other")
	h := hello(t, "shop.example")
	n := 0
	for _, c := range []struct {
		dial   func() *testkit.Peer
		reason Reason
		phase  relay.Phase
	}{
		{func() *testkit.Peer { return e.dialFrom("127.0.0.2") }, BadProxyHeader, relay.PhaseAdmit},
		{func() *testkit.Peer { return testkit.Dial(t, plain) }, NotTLS, relay.PhaseHello},
	} {
		client := c.dial()
		client.SendBytes(h)
		server := o.Accept()
		server.WantBytes(h)
		from := address(client)
		clientEnds(client, server)
		n++
		if r := e.wantRecord(n, ClientClosed, relay.PhaseRelay); r.Client != from || r.Peer.IsValid() {
			t.Errorf("record %+v, want client %v and no peer", r, from)
		}
		for _, header := range []string{visitorLine, visitorV2, visitorLine + string(h), visitorV2 + string(h), "PROXY x"} {
			for _, cut := range []int{len(header), 1, 5} {
				client := c.dial()
				client.Send(header[:cut])
				client.Write([]byte(header[cut:]))
				if b, err := readAll(client); len(b) != 0 || err != nil && c.reason == BadProxyHeader {
					t.Errorf("%.6q: client reads %q, %v, want a close", header, b, err)
				}
				client.Close()
				n++
				if r := e.wantRecord(n, c.reason, c.phase); r.Server != "" || r.Peer.IsValid() {
					t.Errorf("%.6q: record %+v, want no server", header, r)
				}
			}
		}
	}
}

// What a proxy connects for, and then does not need, is no error.
func TestProxiesThatLeave(t *testing.T) {
	testkit.NoLeaks(t)
	x := behindProxies(t, refusing(t))
	x.Timeouts.Hello = 300 * time.Millisecond
	e := serve(t, x)
	for i, c := range []struct {
		sends  string
		leaves bool
		reason Reason
	}{
		{"", true, NoBytes},
		{visitorLine, true, NoBytes},
		{signature + "\x20\x00\x00\x00", true, NoBytes},
		{"PROXY TCP4", true, ClientGone},
		{visitorV2[:14], true, ClientGone},
		{visitorV2 + "\x16\x03", true, ClientGone},
		{"", false, HelloTimeout},
		{"PROXY TCP4", false, HelloTimeout},
		{visitorV2, false, HelloTimeout},
		{visitorV2 + "\x16\x03", false, HelloTimeout},
	} {
		client := e.dialFrom("127.0.0.1")
		client.Send(c.sends)
		if c.leaves {
			client.Close()
		}
		e.wantRecord(i+1, c.reason, relay.PhaseHello)
		client.Close()
	}
	e.wantNoIntroductions()
}

// Whatever goes by the client's address goes by the header's.
func TestRulesGoByTheHeader(t *testing.T) {
	testkit.NoLeaks(t)
	all, inside := testkit.NewOrigin(t), testkit.NewOrigin(t)
	x := behindProxies(t, all.Address())
	x.backends = append(x.backends, one("", inside.Address()).backends[0])
	networks := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	x.routes = append(x.routes,
		routes.Route{SNI: []string{"shop.example"}, When: &routes.Conditions{From: networks("192.0.2.0/24")}, Backend: 1},
		routes.Route{SNI: []string{"fence.example"}, Access: access(t, networks("192.0.2.7/32"))},
	)
	x.Listeners[0].Access = access(t, networks("192.0.2.0/25"))
	e := serve(t, x)
	h, fence := hello(t, "shop.example"), hello(t, "fence.example")
	e.served(1, inside, h, visitorLine+string(h)) // by `from`
	e.served(2, all, fence, visitorLine+string(fence))
	for i, c := range []struct {
		header string
		reason Reason
		phase  relay.Phase
	}{
		{"PROXY TCP4 192.0.2.8 198.51.100.1 1 443\r\n", DeniedAddress, relay.PhaseDecide}, // by the route
		{"PROXY TCP4 192.0.2.200 198.51.100.1 1 443\r\n", DeniedAddress, relay.PhaseAdmit},
		{"PROXY UNKNOWN\r\n", DeniedAddress, relay.PhaseAdmit}, // the peer itself is on no list
	} {
		client := e.dialFrom("127.0.0.1")
		client.Send(c.header)
		client.Write(fence)
		readAll(client)
		client.Close()
		e.wantRecord(i+3, c.reason, c.phase)
	}
	client := e.dialFrom("127.0.0.2") // is no proxy, and shut out at once
	readAll(client)
	client.Close()
	e.wantRecord(6, DeniedAddress, relay.PhaseAdmit)
}

// client_hash goes by the header's address.
func TestHashGoesByTheHeader(t *testing.T) {
	testkit.NoLeaks(t)
	x := behindProxies(t, "192.0.2.1:443", "192.0.2.2:443", "192.0.2.3:443", "192.0.2.4:443")
	x.backends[0].Balance = backend.ClientHash
	pool := x.config(t).Pools[0]
	s := newSession(t, x)
	for i := range 50 {
		client := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		s.Open()
		s.meet(proxyproto.Header{Source: netip.AddrPortFrom(client, 1)})
		v := s.Hello(hello(t, "shop.example"))
		if want := pool.Pick(client, nil); v.Target.Addr != want.AddrPort {
			t.Errorf("client %v goes to %v, want %v", client, v.Target.Addr, want.AddrPort)
		}
		s.Closed(relay.Summary{})
	}
}

// The setting is the listener's own, and a reload changes it.
func TestProxiesOfAListener(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	x := behindProxies(t, o.Address())
	e := serve(t, x)
	other := e.listen("other")
	e.reach(other, "shop.example", o)
	x.Listeners = nil
	x.own = nil
	e.Reload(x.config(t))
	e.reach(e.addr, "shop.example", o)
}

// A header that came in goes out with the client, where it connected to, and
// the TLVs that are not the edge's to say.
func TestHeadersInAndOut(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	x := behindProxies(t, o.Address())
	x.backends[0].ProxyProtocol = backend.ProxyV2
	e := serve(t, x)
	h := hello(t, "shop.example", "h2")
	vpce := "\x01vpce-08d2bf15fac5001c9"
	large := strings.Repeat("x", 3000)
	var w proxyproto.V2
	w.Begin(visitor, door)
	for _, v := range []struct {
		kind  byte
		value string
	}{
		{proxyproto.TypeAuthority, "evil.example"}, {proxyproto.TypeALPN, "evil"}, {proxyproto.TypeUniqueID, "evil"},
		{proxyproto.TypeNoOp, "padding"}, {0xea, vpce}, {0xe0, ""}, {0xf0, large}, {0xf1, strings.Repeat("y", 980)}, {0xee, "z"},
	} {
		if !w.Add(v.kind, []byte(v.value)) {
			t.Fatalf("no room for TLV %#x", v.kind)
		}
	}
	for i, header := range []string{string(w.End()), visitorV2, visitorLine, "PROXY UNKNOWN\r\n"} {
		client := e.dialFrom("127.0.0.1")
		client.Send(header + string(h))
		server := o.Accept()
		got := wantHeader(t, server, h)
		all := tlvs(t, got)
		peer := address(client)
		clientEnds(client, server)
		r := e.record(i + 1)
		source, destination := visitor, door
		if i == 3 {
			source, destination = peer, netip.MustParseAddrPort(e.addr)
		}
		if got.Source != source || got.Destination != destination {
			t.Errorf("header of %v to %v, want %v to %v", got.Source, got.Destination, source, destination)
		}
		if all[proxyproto.TypeAuthority] != "shop.example" || all[proxyproto.TypeALPN] != "h2" || all[proxyproto.TypeUniqueID] != r.ID {
			t.Errorf("TLVs %.40q, want the edge's own name, protocol and id", all)
		}
		switch {
		case i > 0 && len(all) != 4:
			t.Errorf("TLVs %.40q, want the edge's four", all)
		case i > 0:
		case all[0xea] != vpce || all[0xf0] != large || all[0xee] != "z" || len(all) != 8:
			// What has no room is left out, and what follows it is not.
			t.Errorf("TLVs %.40q, want 0xea, 0xe0, 0xf0 and 0xee as they came", all)
		}
	}
	e.wantNoIntroductions()
}

// What one header said never shows in another's.
func TestIntroductionsKeepApart(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	x := behindProxies(t, o.Address())
	x.backends[0].ProxyProtocol = backend.ProxyV2
	e := serve(t, x)
	h := hello(t, "shop.example")
	var clients []*testkit.Peer
	for i := range 20 {
		var w proxyproto.V2
		w.Begin(netip.AddrPortFrom(visitor.Addr(), uint16(i)), door)
		w.Add(0xea, bytes.Repeat([]byte{byte(i)}, 1+i*50))
		client := e.dialFrom("127.0.0.1")
		client.SendBytes(w.End())
		clients = append(clients, client)
	}
	for i, client := range clients {
		client.SendBytes(h)
		server := o.Accept()
		got := wantHeader(t, server, h)
		if want := strings.Repeat(string(rune(i)), 1+i*50); got.Source.Port() != uint16(i) || tlvs(t, got)[0xea] != want {
			t.Errorf("header %d says %v and %d bytes", i, got.Source, len(tlvs(t, got)[0xea]))
		}
		clientEnds(client, server)
	}
	testkit.Eventually(t, "all have ended", func() bool { return e.log.count() == 20 })
	e.wantNoIntroductions()
}

func TestHeaderInDoesNotAllocate(t *testing.T) {
	x := behindProxies(t, "192.0.2.1:443")
	x.backends[0].ProxyProtocol = backend.ProxyV2
	x.Listeners[0].ProxyFrom = access(t, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")})
	s := newSession(t, x)
	h := hello(t, "shop.example")
	if n := testing.AllocsPerRun(100, func() {
		s.Open()
		s.owes = true // the zero Conn has no address to be listed
		if v := s.Hello([]byte(visitorV2)); v.Op != relay.More || v.Skip != len(visitorV2) {
			t.Fatalf("verdict %+v, want the header skipped", v)
		}
		if v := s.Hello(h); v.Op != relay.Dial {
			t.Fatalf("verdict %+v, want a dial", v)
		}
		s.Closed(relay.Summary{})
	}); n > 1 { // the bytes of visitorV2
		t.Errorf("a connection with a header allocates %v times, want none", n)
	}
}
