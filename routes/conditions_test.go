package routes

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"keyhole/internal/testkit"
	"keyhole/sni"
)

// conditional is a table with every condition; the lines are its backends.
func conditional(t testing.TB) *Table {
	t.Helper()
	table, err := New(Config{
		Routes: []Route{
			{Line: 1, SNI: []string{"mail.test"}},
			{Line: 2, SNI: []string{"mail.test"}, When: &Conditions{Listen: []int{1}}},
			{Line: 3, SNI: []string{"mail.test"}, When: &Conditions{Listen: []int{1}, ALPN: []string{"h2"}}},
			{Line: 4, SNI: []string{"**.test"}, When: &Conditions{Listen: []int{1}}},
			{Line: 5, SNI: []string{"split.test"}, When: &Conditions{From: prefixes("10.0.0.0/8", "2001:db8::/32")}},
			{Line: 6, SNI: []string{"split.test"}, When: &Conditions{From: prefixes("10.1.0.0/16")}},
			{Line: 7, SNI: []string{"split.test"}, When: &Conditions{From: prefixes("10.1.0.0/16"), ALPN: []string{"h2"}}},
			{Line: 8, SNI: []string{"split.test"}},
			{Line: 9, SNI: []string{"*.box.test"}, When: &Conditions{Matching: match("sbx-[0-9a-f]{4}")}},
			{Line: 10, SNI: []string{"*.box.test"}, When: &Conditions{Matching: match("(?s:s.*)|x")}},
			{Line: 11, SNI: []string{"**.deep.test"}, When: &Conditions{Matching: match(`v[0-9]+\.api`), ALPN: []string{"h2"}}},
			{Line: 12, SNI: []string{"only.from"}, When: &Conditions{From: prefixes("192.0.2.0/24")}},
			{Line: 13, SNI: []string{"**"}, When: &Conditions{ALPN: []string{"acme-tls/1"}}},
			{Line: 14, SNI: []string{"own.acme"}, When: &Conditions{ALPN: []string{"acme-tls/1", "h2"}}},
			{Line: 15, SNI: []string{"narrow.acme"}, When: &Conditions{ALPN: []string{"h2"}}},
		},
		Default:   &Route{Line: 90, When: &Conditions{ALPN: []string{"h2", "h3"}}},
		NoName:    &Route{Line: 91, Access: access(prefixes("192.0.2.0/24"))},
		Listeners: []Own{{Label: "web"}, {Label: "mail", Default: &Route{Line: 92, Backend: -1, Reject: RejectReset}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestConditions(t *testing.T) {
	table := conditional(t)
	for _, test := range []struct {
		name, alpn, client string
		listener           int
		want               Outcome
		line               int
	}{
		{"mail.test", "", "", NoListener, Matched, 1},
		{"mail.test", "h2", "", 0, Matched, 1},
		{"mail.test", "", "", 1, Matched, 2},
		{"mail.test", "h3 h2", "", 1, Matched, 3},
		{"a.mail.test", "", "", 0, NoRoute, 0},
		{"a.mail.test", "", "", 1, Matched, 4},
		{"split.test", "", "", 0, Matched, 8},
		{"split.test", "", "10.2.0.1", 0, Matched, 5},
		{"split.test", "", "2001:db8::1", 0, Matched, 5},
		{"split.test", "", "::ffff:10.1.0.1", 0, Matched, 6},
		{"split.test", "h2", "10.1.0.1", 0, Matched, 7},
		{"split.test", "h2", "10.2.0.1", 0, Matched, 5},
		{"split.test", "h2", "192.0.2.1", 1, Matched, 8},
		{"SBX-00ff.box.test", "", "", 0, Matched, 9},
		{"sbx-00ff0.box.test", "", "", 0, Matched, 10},
		{"xx.box.test", "", "", 1, Matched, 4},
		{"v1.api.deep.test", "h2", "", 0, Matched, 11},
		{"v1.api.deep.test", "h3", "", 0, MatchedDefault, 90},
		{"v1.apis.deep.test", "h2", "", 0, MatchedDefault, 90},
		{"only.from", "", "192.0.2.1", 0, Matched, 12},
		{"only.from", "", "192.0.3.1", 0, NoRoute, 0},
		{"only.from", "h3", "", 0, MatchedDefault, 90},
		{"any.name", "acme-tls/1", "", 0, Matched, 13},
		{"any.name", "http/1.1 acme-tls/1", "", 0, Matched, 13},
		{"mail.test", "acme-tls/1", "", 1, Matched, 13},
		{"mail.test", "acme-tls/1 h2", "", 1, Matched, 3},
		{"own.acme", "acme-tls/1", "", 0, Matched, 14},
		{"", "", "192.0.2.1", 0, MatchedNoName, 91},
		{"", "", "192.0.3.1", 0, Denied, 91},
		{"", "", "192.0.2.1", 1, NoName, 92},
		{"un.known", "h2", "", 1, NoRoute, 92},
	} {
		client, _ := netip.ParseAddr(test.client)
		q := Query{ALPN: sni.MakeProtocols(strings.Fields(test.alpn)), Client: client, Listener: test.listener}
		if test.name != "" {
			q.Name = []byte(test.name)
		}
		m := table.Lookup(q)
		line := 0
		if m.Route != nil {
			line = m.Route.Line
		}
		if m.Outcome != test.want || line != test.line {
			t.Errorf("Lookup(%q, %q, %v, %d) = %v, line %d, want %v, line %d",
				test.name, test.alpn, client, test.listener, m.Outcome, line, test.want, test.line)
		}
		if testkit.RaceEnabled {
			continue // the race detector has pools lose what they hold
		}
		if n := testing.AllocsPerRun(100, func() { table.Lookup(q) }); n != 0 {
			t.Errorf("Lookup(%q, %q, %v, %d) allocates %v times, want 0", test.name, test.alpn, client, test.listener, n)
		}
	}
}

// Without a route for acme-tls/1 a validation goes where the name goes, whatever alpn narrows that.
func TestACMEGoesWhereTheNameGoes(t *testing.T) {
	table, err := New(Config{
		Routes: []Route{
			{Line: 1, SNI: []string{"narrow.test"}, When: &Conditions{ALPN: []string{"h2"}}},
			{Line: 2, SNI: []string{"narrow.test"}, When: &Conditions{ALPN: []string{"h3"}}},
			{Line: 3, SNI: []string{"both.test"}, When: &Conditions{ALPN: []string{"h2"}}},
			{Line: 4, SNI: []string{"both.test"}},
			{Line: 5, SNI: []string{"mail.test"}, When: &Conditions{Listen: []int{0}, ALPN: []string{"h2"}}},
			{Line: 6, SNI: []string{"**.test"}},
		},
		Default:   &Route{Line: 90, When: &Conditions{ALPN: []string{"h2"}}},
		Listeners: []Own{{Label: "mail"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"narrow.test": 1, "both.test": 4, "mail.test": 6, "un.known": 90} {
		q := Query{Name: []byte(name), ALPN: sni.MakeProtocols([]string{"acme-tls/1"}), Listener: NoListener}
		if m := table.Lookup(q); m.Route == nil || m.Route.Line != want {
			t.Errorf("Lookup(%q) = %+v, want line %d", name, m, want)
		}
	}
}

func TestExplainConditions(t *testing.T) {
	table := conditional(t)
	for _, test := range []struct {
		name, alpn, client string
		listener           int
		want               string
	}{
		{"mail.test", "h2", "", 1, `
mail.test, alpn h2, from an unknown address, on mail
matched: line 3
  mail.test        lines 1, 2, 3  taken: is the name itself, and it is for listener mail, and the client offers alpn of h2: line 3
  *.test           -              absent: no route has it
  **.test          line 4         beaten: an exact name goes before *. and **.
  **               line 13        beaten: an exact name goes before *. and **.
  default of mail  line 92        absent: has no backend
  default          line 90        beaten: takes only what no pattern takes
`},
		{"sbx.box.test", "", "", NoListener, `
sbx.box.test, alpn none, from an unknown address
matched: line 10
  sbx.box.test  -             absent: no route has it
  *.box.test    lines 9, 10   taken: no exact name fits, and it is one label before this suffix, and what the star stands for matches (?s:s.*)|x: line 10
  **.box.test   -             absent: no route has it
  **.test       line 4        beaten: *. goes before **.
  **            line 13       beaten: *. goes before **.
  default       line 90       beaten: takes only what no pattern takes
`},
		{"y.box.test", "", "", 0, `
y.box.test, alpn none, from an unknown address, on web
no route
  y.box.test   -            absent: no route has it
  *.box.test   lines 9, 10  passed over: y does not match sbx-[0-9a-f]{4}; y does not match (?s:s.*)|x
  **.box.test  -            absent: no route has it
  **.test      line 4       passed over: is for listener mail
  **           line 13      passed over: wants alpn acme-tls/1, the client offers none
  default      line 90      passed over: wants alpn h2, h3, the client offers none
`},
		{"split.test", "acme-tls/1", "10.1.0.1", 0, `
split.test, alpn acme-tls/1, from 10.1.0.1, on web
matched: line 13
  split.test  lines 5, 6, 7, 8  passed over: a route with alpn acme-tls/1 goes first
  *.test      -                 absent: no route has it
  **.test     line 4            passed over: a route with alpn acme-tls/1 goes first
  **          line 13           taken: takes any name, and nothing narrower does, and the client offers alpn of acme-tls/1
  default     line 90           beaten: takes only what no pattern takes
`},
		{"only.from", "h2", "10.1.0.1", 0, `
only.from, alpn h2, from 10.1.0.1, on web
matched default: line 90
  only.from  line 12  passed over: wants a client from 192.0.2.0/24, not 10.1.0.1
  *.from     -        absent: no route has it
  **.from    -        absent: no route has it
  **         line 13  passed over: wants alpn acme-tls/1, the client offers h2
  default    line 90  taken: no pattern takes the name
`},
		{"", "", "", 1, `
no name, alpn none, from an unknown address, on mail
no name: line 92
  default of mail  line 92  rejects: the hello has no name, and default of mail has no backend
  no_sni           line 91  beaten: default of mail goes before it
  default          line 90  beaten: default of mail goes before it
`},
	} {
		client, _ := netip.ParseAddr(test.client)
		got := "\n" + table.Explain(test.name, strings.Fields(test.alpn), client, test.listener, nil).String()
		if squeeze(got) != squeeze(test.want) {
			t.Errorf("Explain(%q, %q, %v, %d) = %s\nwant %s", test.name, test.alpn, client, test.listener, got, test.want)
		}
	}
}

// squeeze leaves out the widths of columns.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	return strings.Join(lines, "\n")
}

// A pattern with thousands of networks takes as long as one with ten.
func BenchmarkLookupFrom(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		rs := make([]Route, n)
		for i := range rs {
			network := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
			rs[i] = Route{SNI: []string{"**"}, Line: i + 1, When: &Conditions{From: []netip.Prefix{network}}}
		}
		table, err := New(Config{Routes: rs})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			q := Query{Name: []byte("shop.example.com"), Client: netip.MustParseAddr("10.0.9.1"), Listener: NoListener}
			for b.Loop() {
				if m := table.Lookup(q); m.Route == nil || m.Route.Line != 10 {
					b.Fatalf("Lookup = %+v, want line 10", m)
				}
			}
		})
	}
}
