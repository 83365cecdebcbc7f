package routes

import (
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestNewConflicts(t *testing.T) {
	route := func(alpn string, sni ...string) Route {
		return Route{SNI: sni, When: &Conditions{ALPN: strings.Fields(alpn)}}
	}
	on := func(r Route, listeners ...int) Route { r.When.Listen = listeners; return r }
	from := func(r Route, networks ...string) Route { r.When.From = prefixes(networks...); return r }
	matching := func(r Route, expression string) Route { r.When.Matching = match(expression); return r }
	for _, test := range []struct {
		name   string
		routes []Route
		want   Conflicts
	}{
		{"different patterns", []Route{route("", "a.com", "*.a.com", "**.a.com"), route("", "b.com")}, nil},
		{"disjoint alpn", []Route{route("h2", "a.com"), route("h3 http/1.1", "a.com"), route("", "a.com")}, nil},
		{"one protocol twice in a route", []Route{route("h2 h2", "a.com")}, nil},
		{"same name, other spelling", []Route{route("", "a.com"), route("", "b.com", "A.com.")}, Conflicts{{Pattern: "a.com", First: 0, Second: 1}}},
		{"the first is named", []Route{route("", "*.a.com"), route("", "*.a.com"), route("", "*.A.com")},
			Conflicts{{Pattern: "*.a.com", First: 0, Second: 1}, {Pattern: "*.a.com", First: 0, Second: 2}}},
		{"twice in a route", []Route{route("", "a.com", "A.com")}, Conflicts{{Pattern: "a.com", First: 0, Second: 0}}},
		{"common protocols", []Route{route("h2 h3", "**.a.com"), route("http/1.1 h3 h2", "**.a.com")},
			Conflicts{{Pattern: "**.a.com", First: 0, Second: 1, ALPN: "h3"}, {Pattern: "**.a.com", First: 0, Second: 1, ALPN: "h2"}}},
		{"third meets second", []Route{route("h2", "a.com"), route("h3", "a.com"), route("h3", "a.com"), route("", "a.com")},
			Conflicts{{Pattern: "a.com", First: 1, Second: 2, ALPN: "h3"}}},
		{"any name", []Route{route("", "**"), route("", "**")}, Conflicts{{Pattern: "**", First: 0, Second: 1}}},
		{"two listeners", []Route{on(route("", "a.com"), 0), on(route("", "a.com"), 1), route("", "a.com")}, nil},
		{"a common listener", []Route{on(route("", "a.com"), 0, 1), on(route("", "a.com"), 1)},
			Conflicts{{Pattern: "a.com", First: 0, Second: 1, Listener: "mail"}}},
		{"nested networks", []Route{from(route("", "a.com"), "10.0.0.0/8"), from(route("", "a.com"), "10.1.0.0/16"), route("", "a.com")}, nil},
		{"a common network", []Route{from(route("h2", "a.com"), "10.0.0.0/8", "::/0"), from(route("h2", "a.com"), "10.1.2.3/8")},
			Conflicts{{Pattern: "a.com", First: 0, Second: 1, ALPN: "h2", From: netip.MustParsePrefix("10.0.0.0/8")}}},
		{"other expressions", []Route{matching(route("", "*.a.com"), "x.*"), matching(route("", "*.a.com"), ".*x"), route("", "*.a.com")}, nil},
		{"a common expression", []Route{matching(route("", "*.a.com"), "x"), matching(route("", "*.a.com"), "x")},
			Conflicts{{Pattern: "*.a.com", First: 0, Second: 1, Matching: "x"}}},
	} {
		table, err := New(Config{Routes: test.routes, Listeners: []Own{{Label: "web"}, {Label: "mail"}}})
		var got Conflicts
		if err != nil && !errors.As(err, &got) {
			t.Errorf("%s: New = %v, want Conflicts", test.name, err)
		}
		if !slices.Equal(got, test.want) || (table == nil) != (err != nil) {
			t.Errorf("%s: New = %v, %v, want %v", test.name, table, got, test.want)
		}
	}
}

func TestConflictsError(t *testing.T) {
	got := Conflicts{
		{Pattern: "a.com", First: 0, Second: 1},
		{Pattern: "*.a.com", First: 2, Second: 2, ALPN: "h2"},
		{Pattern: "**", First: 0, Second: 1, Listener: "web", Matching: "x", From: netip.MustParsePrefix("10.0.0.0/8")},
	}.Error()
	want := "pattern \"a.com\" is in route 0 and in route 1\npattern \"*.a.com\" with alpn \"h2\" is in route 2 twice" +
		"\npattern \"**\" on listener web matching \"x\" from 10.0.0.0/8 is in route 0 and in route 1"
	if got != want {
		t.Errorf("Conflicts.Error() = %q, want %q", got, want)
	}
}

func TestNewErrors(t *testing.T) {
	good := []string{"a.com"}
	for _, test := range []struct {
		route Route
		want  string
	}{
		{Route{}, "route 1: sni lists no pattern"},
		{Route{SNI: []string{"b.com", "*"}}, `route 1: pattern "*" takes no part of a name`},
		{Route{SNI: good, When: &Conditions{ALPN: []string{""}}}, `route 1: alpn "" has 0 bytes`},
		{Route{SNI: good, When: &Conditions{ALPN: []string{strings.Repeat("h", 256)}}}, "has 256 bytes, and a protocol name has 1 to 255"},
		{Route{SNI: good, When: &Conditions{From: []netip.Prefix{{}}}}, "route 1: from has an invalid prefix"},
		{Route{SNI: good, When: &Conditions{From: prefixes("::ffff:10.1.2.0/120")}}, "write 10.1.2.0/24"},
		{Route{SNI: good, When: &Conditions{Listen: []int{0}}}, "route 1: listener 0 is none of 0"},
		{Route{SNI: good, When: &Conditions{Matching: match("x")}}, `route 1: pattern "a.com" has no star`},
	} {
		_, err := New(Config{Routes: []Route{{SNI: []string{"z.com"}}, test.route}})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("New(%+v) = %v, want an error with %q", test.route, err, test.want)
		}
	}
}

func TestNewAccess(t *testing.T) {
	for _, test := range []struct {
		allow, deny []netip.Prefix
		in, out     []string // clients
	}{
		{nil, nil, []string{"192.0.2.1", "::1", ""}, nil},
		{prefixes("192.0.2.0/24"), nil, []string{"192.0.2.1", "::ffff:192.0.2.1"}, []string{"192.0.3.1", "::1", ""}},
		{nil, prefixes("192.0.2.0/24"), []string{"192.0.3.1", "::1", ""}, []string{"192.0.2.1", "::ffff:192.0.2.1"}},
		{prefixes("10.0.0.0/8", "10.1.2.0/24"), prefixes("10.1.0.0/16"), []string{"10.0.0.1", "10.1.2.3"}, []string{"10.1.3.1", "11.0.0.1"}},
		{prefixes("10.1.0.0/16"), prefixes("0.0.0.0/0"), []string{"10.1.0.1"}, []string{"10.2.0.1", "::1"}},
		{prefixes("fe80::/10"), nil, []string{"fe80::1%eth0"}, []string{"fec0::1"}},
		{[]netip.Prefix{}, nil, nil, []string{"192.0.2.1", ""}},
	} {
		a, err := NewAccess(test.allow, test.deny)
		if err != nil {
			t.Fatal(err)
		}
		for want, clients := range map[bool][]string{true: test.in, false: test.out} {
			for _, s := range clients {
				client, _ := netip.ParseAddr(s)
				if got := a.Admits(client); got != want {
					t.Errorf("allow %v, deny %v: Admits(%q) = %v, want %v", test.allow, test.deny, s, got, want)
				}
			}
		}
	}
	for _, test := range []struct {
		allow, deny []netip.Prefix
		want        string
	}{
		{[]netip.Prefix{{}}, nil, "allow has an invalid prefix"},
		{nil, prefixes("::ffff:10.1.2.0/120"), "deny ::ffff:10.1.2.0/120 is IPv4 in IPv6 form, write 10.1.2.0/24"},
		{prefixes("10.0.0.0/8"), prefixes("10.0.0.0/8"), "deny 10.0.0.0/8 is in allow too"},
	} {
		if _, err := NewAccess(test.allow, test.deny); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("NewAccess(%v, %v) = %v, want an error with %q", test.allow, test.deny, err, test.want)
		}
	}
}

func TestNewRefusesTooManyPatterns(t *testing.T) {
	rs := slices.Repeat([]Route{{SNI: make([]string, MaxPatterns/1000)}}, 1001)
	if _, err := New(Config{Routes: rs}); err == nil || !strings.Contains(err.Error(), "16016000 patterns") {
		t.Errorf("New = %v, want an error that counts 16016000 patterns", err)
	}
}

func TestTableReject(t *testing.T) {
	for _, test := range []struct{ top, own, want Reject }{
		{RejectInherit, RejectInherit, RejectAlert},
		{RejectReset, RejectInherit, RejectReset},
		{RejectReset, RejectClose, RejectClose},
		{RejectInherit, RejectClose, RejectClose},
	} {
		table, err := New(Config{
			Default:   &Route{Backend: -1, Reject: test.top},
			Listeners: []Own{{Label: "web"}, {Label: "mail", Default: &Route{Backend: -1, Reject: test.own}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		top := max(test.top, RejectAlert)
		if got := []Reject{table.Reject(NoListener), table.Reject(0), table.Reject(1), table.Reject(2)}; !slices.Equal(got, []Reject{top, top, test.want, top}) {
			t.Errorf("%+v: Reject = %v, want %v for the second listener alone", test, got, test.want)
		}
	}
}

// TestTableSize holds a table of a million routes, Route structs and their strings included, to 200
// bytes a route.
func TestTableSize(t *testing.T) {
	const n = 1_000_000
	before := heap()
	table, err := New(Config{Routes: shops(n), Default: &Route{Backend: -1}})
	if err != nil {
		t.Fatal(err)
	}
	each := float64(heap()-before) / n
	t.Logf("%.1f bytes a route", each)
	if each > 200 || each < 136 {
		t.Errorf("a table of %d routes holds %.1f bytes a route, want 136 (Route and strings) to 200", n, each)
	}
	for i := 0; i < n; i += 97 {
		name := shop(i)
		if m := table.Lookup(Query{[]byte(name), nil, netip.Addr{}, NoListener, nil}); m.Route == nil || m.Route.Line != i+1 {
			t.Fatalf("Lookup(%q) = %+v, want line %d", name, m, i+1)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // twice: what the first one leaves to sweep is gone after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestNewGarbage holds what a reload allocates to what it keeps: the index, which is two arrays.
func TestNewGarbage(t *testing.T) {
	rs := shops(10_000)
	allocs := testing.AllocsPerRun(3, func() {
		if _, err := New(Config{Routes: rs}); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 10 {
		t.Errorf("New with %d routes allocates %v times, want 10 or fewer", len(rs), allocs)
	}
}

func TestReject(t *testing.T) {
	want := RejectAlert
	for _, word := range RejectWords() {
		if got, err := ParseReject(word); err != nil || got != want || got.String() != word {
			t.Errorf("ParseReject(%q) = %v, %v, want %v", word, got, err, want)
		}
		want++
	}
	if want != RejectSilence+1 {
		t.Errorf("RejectWords() = %q, want a word up to %v", RejectWords(), RejectSilence)
	}
	for _, s := range []string{"", "inherit", "Alert", "drop"} {
		if got, err := ParseReject(s); err == nil || !strings.Contains(err.Error(), "alert, close, reset or silence") {
			t.Errorf("ParseReject(%q) = %v, %v, want an error that lists the words", s, got, err)
		}
	}
	if got, want := Reject(9).String(), "Reject(9)"; got != want {
		t.Errorf("Reject(9).String() = %q, want %q", got, want)
	}
}
