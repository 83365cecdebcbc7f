package routes

import (
	"net/netip"
	"strings"
	"testing"

	"keyhole/sni"
)

// example is the table that most tests ask; the lines are its backends.
func example(t *testing.T) *Table {
	t.Helper()
	table, err := New(Config{Routes: []Route{
		{Line: 1, SNI: []string{"shop.example.com", "Push.Example.com."}},
		{Line: 2, SNI: []string{"*.example.com"}},
		{Line: 3, SNI: []string{"**.example.com"}},
		{Line: 4, SNI: []string{"**.eu.example.com"}, When: &Conditions{ALPN: []string{"h2"}}},
		{Line: 5, SNI: []string{"alpn.test"}, When: &Conditions{ALPN: []string{"h2", "h3"}}},
		{Line: 6, SNI: []string{"alpn.test"}, When: &Conditions{ALPN: []string{"http/1.1"}}},
		{Line: 7, SNI: []string{"alpn.test"}},
		{Line: 8, SNI: []string{"only.test"}, When: &Conditions{ALPN: []string{"h2"}}},
		{Line: 9, SNI: []string{"**.test"}},
		{Line: 10, SNI: []string{"fence.test"}, Access: access([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("fe80::/10")})},
		{Line: 11, SNI: []string{"two.none"}, When: &Conditions{ALPN: []string{"h2"}}},
		{Line: 12, SNI: []string{"two.none"}, When: &Conditions{ALPN: []string{"h3"}}},
		{Line: 13, SNI: []string{"**.shut.test"}, Backend: -1, Reject: RejectReset},
	}, Default: &Route{Backend: -1, Line: 20}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLookup(t *testing.T) {
	table := example(t)
	for _, test := range []struct {
		name, alpn, client string
		want               Outcome
		line               int
	}{
		{"shop.example.com", "", "", Matched, 1},
		{"SHOP.example.COM.", "", "", Matched, 1},
		{"push.example.com", "", "", Matched, 1},
		{"blog.example.com", "", "", Matched, 2},
		{"a.blog.example.com", "", "", Matched, 3},
		{"example.com", "", "", NoRoute, 20},
		{"notexample.com", "", "", NoRoute, 20},
		{"xexample.com", "", "", NoRoute, 20},
		{"a.eu.example.com", "h2", "", Matched, 4},
		{"a.eu.example.com", "h3", "", Matched, 3},
		{"eu.example.com", "h2", "", Matched, 2},
		{"alpn.test", "", "", Matched, 7},
		{"alpn.test", "h3 http/1.1", "", Matched, 5},
		{"alpn.test", "http/1.1 h2", "", Matched, 6},
		{"alpn.test", "acme-tls/1 h2", "", Matched, 5},
		{"alpn.test", "acme-tls/1", "", Matched, 7},
		{"only.test", "h2", "", Matched, 8},
		{"only.test", "h3", "", Matched, 9},
		{"only.test", "acme-tls/1", "", Matched, 8},
		{"two.none", "h3", "", Matched, 12},
		{"two.none", "", "", NoRoute, 20},
		{"fence.test", "", "192.0.2.1", Matched, 10},
		{"fence.test", "", "::ffff:192.0.2.1", Matched, 10},
		{"fence.test", "", "fe80::1%eth0", Matched, 10},
		{"fence.test", "", "192.0.3.1", Denied, 10},
		{"fence.test", "", "", Denied, 10},
		{"a.shut.test", "", "", Rejected, 13},
		{"shut.test", "", "", Matched, 9},
		{"192.0.2.1", "", "", NoName, 20},
		{"1.2.3", "", "", BadName, 0},
		{"bücher.test", "", "", BadName, 0},
		{"b\xfccher.test", "", "", BadName, 0},
		{"*.example.com", "", "", BadName, 0},
		{"", "", "", BadName, 0},
	} {
		client, _ := netip.ParseAddr(test.client)
		m := table.Lookup(Query{[]byte(test.name), sni.MakeProtocols(strings.Fields(test.alpn)), client, NoListener, nil})
		line := 0
		if m.Route != nil {
			line = m.Route.Line
		}
		if m.Outcome != test.want || line != test.line {
			t.Errorf("Lookup(%q, %q, %v) = %v, line %d, want %v, line %d",
				test.name, test.alpn, client, m.Outcome, line, test.want, test.line)
		}
	}
	if m := table.Lookup(Query{nil, nil, netip.Addr{}, NoListener, nil}); m.Outcome != NoName || m.Route.Line != 20 || m.Reject != RejectAlert {
		t.Errorf("Lookup(nil) = %+v, want no name", m)
	}
}

func TestLookupDefault(t *testing.T) {
	table, err := New(Config{Routes: []Route{{SNI: []string{"a.com"}}}, Default: &Route{Backend: 3, Reject: RejectReset, Line: 20}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range [][]byte{nil, []byte("b.com")} {
		m := table.Lookup(Query{name, nil, netip.Addr{}, NoListener, nil})
		if m.Outcome != MatchedDefault || m.Route.Backend != 3 || m.Route.Reject != RejectReset || m.Route.Line != 20 {
			t.Errorf("Lookup(%q) = %+v, want the default with its backend, reject and line", name, m)
		}
	}
	for _, name := range []string{"", "a..com", "1.2.3", "192.0.2.1:443", "\xff", "ü.com", "ａ.com", "fe80::1%\xff", "a b"} {
		if m := table.Lookup(Query{[]byte(name), nil, netip.Addr{}, NoListener, nil}); m != (Match{Outcome: BadName, Reject: RejectReset}) {
			t.Errorf("Lookup(%q) = %+v, want a bad name, which never reaches the default", name, m)
		}
	}
}

// Clients name the host of a URL, be it a name or not. That is no name, and the record must be able
// to say so.
func TestLookupLiteral(t *testing.T) {
	rs := []Route{{SNI: []string{"**.com"}}}
	for _, d := range []Route{{Backend: -1}, {Backend: 3, Line: 20}} {
		table, err := New(Config{Routes: rs, Default: &d})
		if err != nil {
			t.Fatal(err)
		}
		want := table.Lookup(Query{nil, nil, netip.Addr{}, NoListener, nil})
		want.Literal = true
		for _, name := range []string{"192.0.2.1", "192.0.2.1.", "2001:DB8::1", "[2001:db8::1]", "::ffff:192.0.2.1", "fe80::1%eth0"} {
			if got := table.Lookup(Query{[]byte(name), nil, netip.Addr{}, NoListener, nil}); got != want {
				t.Errorf("Lookup(%q) = %+v, want %+v", name, got, want)
			}
		}
	}
}

// A protocol list comes from the network: one that is cut short offers what it has before that.
func TestLookupCutShortProtocols(t *testing.T) {
	table := example(t)
	for alpn, want := range map[string]int{"\x02h2": 5, "\x02h2\x08http": 5, "\x08http/1.": 7, "\x00\x02h2": 5, "\xff": 7} {
		m := table.Lookup(Query{[]byte("alpn.test"), []byte(alpn), netip.Addr{}, NoListener, nil})
		if m.Route == nil || m.Route.Line != want {
			t.Errorf("Lookup(%q, %q) = %+v, want line %d", "alpn.test", alpn, m.Route, want)
		}
	}
}

func TestLookupOfEmptyTable(t *testing.T) {
	table, err := New(Config{Default: &Route{Backend: -1}})
	if err != nil {
		t.Fatal(err)
	}
	if m := table.Lookup(Query{[]byte("a.b.c"), nil, netip.Addr{}, NoListener, nil}); m.Outcome != NoRoute || m.Route.Backend != -1 {
		t.Errorf("Lookup(%q) = %+v, want no route", "a.b.c", m)
	}
	if e := table.Explain("a.b.c", nil, netip.Addr{}, NoListener, nil); e.Outcome != NoRoute || len(e.Candidates) != 5 {
		t.Errorf("Explain(%q) = %+v, want no route among 5 candidates", "a.b.c", e)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	table := example(t)
	client := netip.MustParseAddr("::ffff:192.0.2.1")
	alpn := sni.MakeProtocols([]string{"acme-tls/1", "http/1.1", "h2"})
	for _, name := range []string{
		"Shop.example.com.", "blog.example.com", "a.b.c.example.com", "a.eu.example.com", "alpn.test", "only.test",
		"fence.test", "two.none", "nowhere.org", "192.0.2.1", "1.2.3", "::1", "::1::", "a..b", "",
		"bücher.example", strings.Repeat("ü", 127), strings.Repeat("a.", 126) + "b",
	} {
		raw := []byte(name)
		if n := testing.AllocsPerRun(100, func() { table.Lookup(Query{raw, alpn, client, NoListener, nil}) }); n != 0 {
			t.Errorf("Lookup(%q) allocates %v times, want 0", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { table.Lookup(Query{nil, alpn, client, NoListener, nil}) }); n != 0 {
		t.Errorf("Lookup(nil) allocates %v times, want 0", n)
	}
}

func TestOutcomeStrings(t *testing.T) {
	for o, want := range map[Outcome]string{Matched: "matched", Denied: "denied", 77: "Outcome(77)"} {
		if got := o.String(); got != want {
			t.Errorf("Outcome(%d).String() = %q, want %q", uint8(o), got, want)
		}
	}
}
