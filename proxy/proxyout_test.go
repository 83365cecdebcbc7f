package proxy

import (
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/backend"
	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
	"keyhole/proxyproto"
	"keyhole/routes"
)

// introducing is the setup of one route to one server that wants a header.
func introducing(p backend.ProxyProtocol, servers ...string) setup {
	s := one("shop.example", servers...)
	s.backends[0].ProxyProtocol = p
	return s
}

// firstBytes reads what came in the first segment.
func firstBytes(t *testing.T, p *testkit.Peer) []byte {
	t.Helper()
	b := make([]byte, 64<<10)
	n, err := p.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// wantHeader reads a header and the hello from one segment.
func wantHeader(t *testing.T, server *testkit.Peer, hello []byte) proxyproto.Header {
	t.Helper()
	b := firstBytes(t, server)
	h, n, err := proxyproto.Parse(b)
	if err != nil {
		t.Fatalf("Parse(%q) = %v", b, err)
	}
	if string(b[n:]) != string(hello) {
		t.Errorf("%d bytes follow the header in its segment, want the %d of the hello", len(b)-n, len(hello))
	}
	return h
}

// tlvs are a header's further fields by their types, each of which must be there once.
func tlvs(t *testing.T, h proxyproto.Header) map[byte]string {
	t.Helper()
	all := map[byte]string{}
	for kind, value := range h.TLVs.All() {
		if _, twice := all[kind]; twice {
			t.Errorf("TLV %#x is there twice", kind)
		}
		all[kind] = string(value)
	}
	return all
}

// address is that of one end of a connection.
func address(p *testkit.Peer) netip.AddrPort { return netip.MustParseAddrPort(p.LocalAddr().String()) }

// A header and the hello come in one segment, whatever kind of server there is;
// the header counts as nobody's bytes.
func TestHeadersToServers(t *testing.T) {
	testkit.NoLeaks(t)
	path := filepath.Join(t.TempDir(), "origin.sock")
	tcp, local := testkit.NewOrigin(t), testkit.ListenOrigin(t, "unix", path)
	for _, c := range []struct {
		name    string
		version backend.ProxyProtocol
		origin  *testkit.Origin
		server  string
	}{
		{"v1 to an address", backend.ProxyV1, tcp, tcp.Address()},
		{"v2 to an address", backend.ProxyV2, tcp, tcp.Address()},
		{"v1 to a unix socket", backend.ProxyV1, local, "unix:" + path},
		{"v2 to a unix socket", backend.ProxyV2, local, "unix:" + path},
	} {
		e := serve(t, introducing(c.version, c.server))
		client := e.dial()
		b := hello(t, "shop.example", "h2", "http/1.1")
		client.SendBytes(b)
		server := c.origin.Accept()
		h := wantHeader(t, server, b)
		want := proxyproto.Header{Version: uint8(c.version), Source: address(client), Destination: netip.MustParseAddrPort(e.addr), TLVs: h.TLVs}
		if h.Version != want.Version || h.Local || h.Source != want.Source || h.Destination != want.Destination {
			t.Errorf("%s: header %+v, want %+v", c.name, h, want)
		}
		server.Send("answer")
		client.Want("answer")
		clientEnds(client, server)
		r := e.wantRecord(1, ClientClosed, relay.PhaseRelay)
		if r.Up != uint64(len(b)) || r.Down != 6 {
			t.Errorf("%s: record says %d bytes up, want the %d of the hello", c.name, r.Up, len(b))
		}
		if c.version == backend.ProxyV1 {
			if r.ID != "" {
				t.Errorf("%s: record has the id %q, want none", c.name, r.ID)
			}
			continue
		}
		all := tlvs(t, h)
		if all[proxyproto.TypeAuthority] != "shop.example" || all[proxyproto.TypeALPN] != "h2" ||
			all[proxyproto.TypeUniqueID] != r.ID || len(r.ID) != idSize || len(all) != 4 {
			t.Errorf("%s: TLVs %q, want shop.example, h2, the record's id %q and a CRC32c", c.name, all, r.ID)
		}
	}
}

// A hello without a name or protocols has no TLV for them. Ids differ.
func TestHeaderOfANamelessHello(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	x := introducing(backend.ProxyV2, o.Address())
	x.noName = &routes.Route{}
	e := serve(t, x)
	ids := map[string]bool{}
	for i, name := range []string{"", "192.0.2.1", ""} {
		client := e.dial()
		b := hello(t, "")
		if name != "" {
			b = named(name)
		}
		client.SendBytes(b)
		server := o.Accept()
		all := tlvs(t, wantHeader(t, server, b))
		if len(all) != 2 || all[proxyproto.TypeUniqueID] == "" {
			t.Errorf("TLVs of a hello for %q are %q, want an id and a CRC32c", name, all)
		}
		ids[all[proxyproto.TypeUniqueID]] = true
		clientEnds(client, server)
		e.record(i + 1)
	}
	if len(ids) != 3 {
		t.Errorf("three connections have the ids %v", ids)
	}
}

// A client that came over IPv6 to a listener of both kinds has the address that
// it has: one of IPv4 as IPv4.
func TestHeaderOfAMappedClient(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	e := serve(t, introducing(backend.ProxyV1, o.Address()))
	ln, err := e.Listen(netip.MustParseAddrPort("[::]:0"), ListenOptions{Name: "both"})
	if err != nil {
		t.Fatal(err)
	}
	for i, host := range []string{"127.0.0.1", "::1"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(host), ln.Addr().Port())
		client := testkit.Dial(t, to.String())
		b := hello(t, "shop.example")
		client.SendBytes(b)
		server := o.Accept()
		if h := wantHeader(t, server, b); h.Source != address(client) || h.Destination != to {
			t.Errorf("header %+v, want %v to %v", h, address(client), to)
		}
		clientEnds(client, server)
		e.record(i + 1)
	}
}

// A server that refuses is followed by one that gets the whole header, with the
// same id.
func TestHeaderIsWrittenAgain(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	e := serve(t, introducing(backend.ProxyV2, refusing(t), o.Address()))
	for i := range 4 { // either server may be the first
		client := e.dial()
		b := hello(t, "shop.example")
		client.SendBytes(b)
		server := o.Accept()
		id := tlvs(t, wantHeader(t, server, b))[proxyproto.TypeUniqueID]
		clientEnds(client, server)
		if r := e.record(i + 1); r.ID != id || id == "" {
			t.Errorf("record has the id %q, want the server's %q", r.ID, id)
		}
	}
}

// Dials of one loop share the buffer that headers are written to. A unix
// server that does not accept yet keeps its header waiting meanwhile.
func TestWaitingHeadersKeepApart(t *testing.T) {
	testkit.NoLeaks(t)
	o, path := fullUnix(t)
	x := introducing(backend.ProxyV2, "unix:"+path)
	x.Timeouts.Connect = testkit.Patience
	e := serve(t, x)
	b := hello(t, "shop.example")
	sources := map[netip.AddrPort]bool{}
	var clients []*testkit.Peer
	for range 8 {
		c := e.dial()
		c.SendBytes(b)
		clients = append(clients, c)
		sources[address(c)] = true
	}
	testkit.Eventually(t, "all have come", func() bool { return e.Accepted() == 8 })
	o.Accept().Close() // the one that filled the backlog
	for range clients {
		server := o.Accept()
		h := wantHeader(t, server, b)
		if !sources[h.Source] {
			t.Errorf("header of %v, want each client's once", h.Source)
		}
		delete(sources, h.Source)
		server.Close()
	}
}

// fullUnix returns a unix server that has no room for another connection before
// it accepts the one that waits.
func fullUnix(t *testing.T) (o *testkit.Origin, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "full.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &testkit.Origin{Listener: l, T: t}, path
}

func TestHeaderDoesNotAllocate(t *testing.T) {
	for _, p := range []backend.ProxyProtocol{backend.ProxyV1, backend.ProxyV2} {
		x := introducing(p, "192.0.2.1:443")
		s := newSession(t, x)
		h := hello(t, "shop.example", "h2")
		if n := testing.AllocsPerRun(100, func() {
			s.Open()
			if v := s.Hello(h); v.Op != relay.Dial || len(v.Prefix) == 0 {
				t.Fatalf("verdict %+v, want a dial with a header", v)
			}
			s.Closed(relay.Summary{})
		}); n != 0 {
			t.Errorf("a connection with a header %s allocates %v times, want none", p, n)
		}
	}
}

func TestIDsOfLoopsDiffer(t *testing.T) {
	s := newSession(t, introducing(backend.ProxyV2, "192.0.2.1:443"))
	seen := map[string]bool{}
	for loop := range 3 {
		d := s.desk.server.desk(loop)
		for range 100 {
			seen[string(s.desk.server.appendID(nil, d.nextID(loop)))] = true
		}
	}
	other := newSession(t, introducing(backend.ProxyV2, "192.0.2.1:443"))
	seen[string(other.desk.server.appendID(nil, other.desk.server.desk(0).nextID(0)))] = true
	for id := range seen {
		if b, err := hex.DecodeString(id); err != nil || len(b) != idSize/2 {
			t.Errorf("id %q, want %d hexadecimal digits", id, idSize)
		}
	}
	if len(seen) != 301 {
		t.Errorf("301 ids are %d different ones", len(seen))
	}
}
