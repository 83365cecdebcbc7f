package backend

import (
	"net/netip"
	"slices"
	"testing"
)

var (
	client = netip.MustParseAddr("192.0.2.1")

	allBalances = []Balance{RoundRobin, LeastConnections, RandomTwo, ClientHash}
)

// newPool makes a pool whose random choices are the same in every run and whose round robin begins
// with the first turn.
func newPool(t testing.TB, c Config) *Pool {
	t.Helper()
	c.Name = "shop"
	p, err := New(c)
	if err != nil {
		t.Fatalf("New(%+v) = %v, want no error", c, err)
	}
	p.dice.Store(1)
	for i := range p.turns {
		p.turns[i].Store(0)
	}
	return p
}

// servers lists servers of weight 1.
func servers(addresses ...string) []ServerConfig {
	var list []ServerConfig
	for _, a := range addresses {
		list = append(list, ServerConfig{Address: a})
	}
	return list
}

func addrs(list ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// answer makes addresses those of every server of p with that host, as a Resolver does.
func answer(t testing.TB, p *Pool, host string, addresses ...string) {
	t.Helper()
	r := Resolver{Pools: []*Pool{p}}
	r.prepare()
	i := slices.IndexFunc(r.names, func(n *name) bool { return n.host == host })
	if i < 0 {
		t.Fatalf("no server of pool %q has the host %q", p.name, host)
	}
	r.apply(r.names[i], addrs(addresses...))
}

// names returns the endpoints of p in order, primaries first.
func names(p *Pool) []string {
	list := []string{}
	for _, tier := range *p.current.Load() {
		for _, e := range tier.endpoints {
			list = append(list, e.String())
		}
	}
	return list
}

// endpoint returns the endpoint of p with that name.
func endpoint(t testing.TB, p *Pool, name string) *Endpoint {
	t.Helper()
	for _, tier := range *p.current.Load() {
		for _, e := range tier.endpoints {
			if e.String() == name {
				return e.Endpoint
			}
		}
	}
	t.Fatalf("pool has %q, want %q among them", names(p), name)
	return nil
}

// wantPick picks once and checks which endpoint it got; "" is none.
func wantPick(t *testing.T, p *Pool, tried []*Endpoint, want string) *Endpoint {
	t.Helper()
	e := p.Pick(client, tried)
	got := ""
	if e != nil {
		got = e.String()
	}
	if got != want {
		t.Errorf("Pick(%v, %v) = %q, want %q", client, tried, got, want)
	}
	return e
}

func wantNames(t *testing.T, p *Pool, want ...string) {
	t.Helper()
	if got := names(p); !slices.Equal(got, want) {
		t.Errorf("pool has %q, want %q", got, want)
	}
}

func wantActive(t *testing.T, e *Endpoint, want int64) {
	t.Helper()
	if got := e.active.Load(); got != want {
		t.Errorf("%s has %d connections, want %d", e, got, want)
	}
}

func TestNewErrors(t *testing.T) {
	one := servers("10.0.0.1:443")
	for _, tc := range []struct {
		c    Config
		want string
	}{
		{Config{}, `backend "shop": no servers, list one or more`},
		{Config{Servers: one, Balance: 4}, `backend "shop": unknown balance 4, want round_robin, least_connections, random_two or client_hash`},
		{Config{Servers: one, Retries: -1}, `backend "shop": retries -1 is negative, want 0 or more`},
		{Config{Servers: one, MaxConnections: -1}, `backend "shop": max_connections -1 is negative, want 0 (no limit) or more`},
		{Config{Servers: servers("10.0.0.1")}, `backend "shop": server "10.0.0.1": missing port, did you mean 10.0.0.1:443?`},
		{Config{Servers: []ServerConfig{{Address: "a:1", Weight: 257}}}, `backend "shop": server "a:1": weight 257 is out of range, want 1 to 256`},
		{Config{Servers: []ServerConfig{{Address: "a:1", Weight: -1}}}, `backend "shop": server "a:1": weight -1 is out of range, want 1 to 256`},
		{Config{Servers: servers("a:1", "A:1")}, `backend "shop": server "A:1" is listed twice, give it a weight instead`},
		{Config{Servers: servers("10.0.0.1:1", "[::ffff:10.0.0.1]:1")}, `backend "shop": server "[::ffff:10.0.0.1]:1" is listed twice, give it a weight instead`},
	} {
		tc.c.Name = "shop"
		if _, err := New(tc.c); err == nil || err.Error() != tc.want {
			t.Errorf("New(%+v) = %v, want %s", tc.c, err, tc.want)
		}
	}
}

func TestPoolSettings(t *testing.T) {
	p := newPool(t, Config{Servers: servers("10.0.0.1:443"), Retries: 2})
	if p.Name() != "shop" || p.Retries() != 2 {
		t.Errorf("pool has name %q, retries %d, want shop, 2", p.Name(), p.Retries())
	}
}

func TestParseBalance(t *testing.T) {
	if got, want := BalanceWords(), []string{"round_robin", "least_connections", "random_two", "client_hash"}; !slices.Equal(got, want) {
		t.Errorf("BalanceWords() = %q, want %q", got, want)
	}
	for _, b := range allBalances {
		if got, err := ParseBalance(b.String()); got != b || err != nil {
			t.Errorf("ParseBalance(%q) = %v, %v, want %v", b.String(), got, err, b)
		}
	}
	if got, err := ParseBalance(""); got != RoundRobin || err != nil {
		t.Errorf(`ParseBalance("") = %v, %v, want round_robin`, got, err)
	}
	want := `unknown balance "leastconn", want round_robin, least_connections, random_two or client_hash`
	if _, err := ParseBalance("leastconn"); err == nil || err.Error() != want {
		t.Errorf(`ParseBalance("leastconn") = %v, want %s`, err, want)
	}
	if got := Balance(9).String(); got != "Balance(9)" {
		t.Errorf("Balance(9).String() = %q, want Balance(9)", got)
	}
}

func TestEndpointFields(t *testing.T) {
	p := newPool(t, Config{Servers: servers("unix:/run/x.sock", "[::ffff:10.0.0.5]:443", "Origin.internal:443", "[fe80::1%eth0]:1")})
	answer(t, p, "origin.internal", "::ffff:10.0.0.7")
	for _, tc := range []struct{ name, addrPort, path, server string }{
		{"unix:/run/x.sock", "", "/run/x.sock", "unix:/run/x.sock"},
		{"10.0.0.5:443", "10.0.0.5:443", "", "[::ffff:10.0.0.5]:443"},
		{"Origin.internal:443 (10.0.0.7:443)", "10.0.0.7:443", "", "Origin.internal:443"},
		{"[fe80::1%eth0]:1", "[fe80::1%eth0]:1", "", "[fe80::1%eth0]:1"},
	} {
		var ap netip.AddrPort
		if tc.addrPort != "" {
			ap = netip.MustParseAddrPort(tc.addrPort)
		}
		e := endpoint(t, p, tc.name)
		if e.AddrPort != ap || e.Path != tc.path || e.Server != tc.server {
			t.Errorf("%s = {%v %q %q}, want {%v %q %q}", e, e.AddrPort, e.Path, e.Server, ap, tc.path, tc.server)
		}
	}
}
