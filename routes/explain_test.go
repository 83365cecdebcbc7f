package routes

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestExplainString(t *testing.T) {
	table := example(t)
	for _, test := range []struct {
		name, alpn, client string
		want               string
	}{
		{"Shop.example.com.", "h2 http/1.1", "192.0.2.1", `
shop.example.com (from "Shop.example.com."), alpn h2, http/1.1, from 192.0.2.1
matched: line 1
  shop.example.com  line 1   taken: is the name itself
  *.example.com     line 2   beaten: an exact name goes before *. and **.
  **.example.com    line 3   beaten: an exact name goes before *. and **.
  **.com            -        absent: no route has it
  default           line 20  absent: has no backend
`},
		{"a.eu.example.com", "h3", "", `
a.eu.example.com, alpn h3, from an unknown address
matched: line 3
  a.eu.example.com   -        absent: no route has it
  *.eu.example.com   -        absent: no route has it
  **.eu.example.com  line 4   passed over: wants alpn h2, the client offers h3
  **.example.com     line 3   taken: is the longest ** suffix that fits, and nothing narrower does
  **.com             -        absent: no route has it
  default            line 20  absent: has no backend
`},
		{"alpn.test", "acme-tls/1 h2", "", `
alpn.test, alpn acme-tls/1, h2, from an unknown address
matched: line 5
  alpn.test  lines 5, 6, 7  taken: is the name itself, and the client offers alpn of h2, h3: line 5
  *.test     -              absent: no route has it
  **.test    line 9         beaten: an exact name goes before *. and **.
  default    line 20        absent: has no backend
`},
		{"fence.test", "", "198.51.100.1", `
fence.test, alpn none, from 198.51.100.1
denied: line 10
  fence.test  line 10  denied: is the name itself, but allow has 192.0.2.0/24, fe80::/10 and not 198.51.100.1
  *.test      -        absent: no route has it
  **.test     line 9   beaten: an exact name goes before *. and **.
  default     line 20  absent: has no backend
`},
		{"a.shut.test", "", "", `
a.shut.test, alpn none, from an unknown address
route rejects: line 13
  a.shut.test   -        absent: no route has it
  *.shut.test   -        absent: no route has it
  **.shut.test  line 13  rejects: is the longest ** suffix that fits, and nothing narrower does
  **.test       line 9   beaten: a longer ** suffix goes before a shorter
  default       line 20  absent: has no backend
`},
		{"", "", "", `
no name, alpn none, from an unknown address
no name: line 20
  default  line 20  rejects: the hello has no name, and default has no backend
`},
		{"192.0.2.1", "", "", `
no name ("192.0.2.1" is an IP address), alpn none, from an unknown address
no name: line 20
  default  line 20  rejects: an IP address is no name (RFC 6066 section 3), and default has no backend
`},
		{"Bücher.test", "", "", `
xn--bcher-kva.test (clients send this for "Bücher.test"), alpn none, from an unknown address
matched: line 9
  xn--bcher-kva.test  -        absent: no route has it
  *.test              -        absent: no route has it
  **.test             line 9   taken: is the longest ** suffix that fits, and nothing narrower does
  default             line 20  absent: has no backend
`},
		{"a\x1b[2Jb", "h2\x07", "fe80::1%\x1b", `
"a\x1b[2Jb", alpn "h2\a", from "fe80::1%\x1b"
bad name: name has a character that no host name has, and such a hello never reaches the default
`},
	} {
		client, _ := netip.ParseAddr(test.client)
		got := "\n" + table.Explain(test.name, strings.Fields(test.alpn), client, NoListener, nil).String()
		if got != test.want {
			t.Errorf("Explain(%q, %q, %v) = %s\nwant %s", test.name, test.alpn, client, got, test.want)
		}
	}
}

func TestExplainDefault(t *testing.T) {
	table, err := New(Config{Routes: []Route{{SNI: []string{"a.com"}}}, Default: &Route{Backend: 2, Line: 9}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		outcome Outcome
		verdict Verdict
		because string
	}{
		{"a.com", Matched, Beaten, "takes only what no pattern takes"},
		{"b.com", MatchedDefault, Taken, "no pattern takes the name"},
		{"", MatchedDefault, Taken, "the hello has no name"},
		{"[::1]", MatchedDefault, Taken, "an IP address is no name (RFC 6066 section 3)"},
	} {
		e := table.Explain(test.name, nil, netip.Addr{}, NoListener, nil)
		last := e.Candidates[len(e.Candidates)-1]
		if e.Outcome != test.outcome || last.Verdict != test.verdict || last.Because != test.because {
			t.Errorf("Explain(%q) = %v, default %v: %s, want %v, default %v: %s",
				test.name, e.Outcome, last.Verdict, last.Because, test.outcome, test.verdict, test.because)
		}
	}
}

func TestExplainNoName(t *testing.T) {
	for _, test := range []struct {
		noName Route
		want   string
	}{
		{Route{Backend: 1, Line: 8}, `
no name, alpn none, from an unknown address
matched no_sni: line 8
  no_sni   line 8  taken: the hello has no name
  default  line 9  beaten: no_sni goes before it
`},
		{Route{Backend: -1, Line: 8}, `
no name, alpn none, from an unknown address
no name: line 8
  no_sni   line 8  rejects: the hello has no name, and no_sni has no backend
  default  line 9  beaten: no_sni goes before it
`},
	} {
		table, err := New(Config{Default: &Route{Backend: 2, Line: 9}, NoName: &test.noName})
		if err != nil {
			t.Fatal(err)
		}
		if got := "\n" + table.Explain("", nil, netip.Addr{}, NoListener, nil).String(); got != test.want {
			t.Errorf("Explain(\"\") = %s\nwant %s", got, test.want)
		}
	}
}

func TestExplainBadName(t *testing.T) {
	e := example(t).Explain("1.2.3", nil, netip.Addr{}, NoListener, nil)
	if e.Outcome != BadName || !errors.Is(e.Err, ErrNumber) || len(e.Candidates) != 0 {
		t.Errorf("Explain(%q) = %+v, want a bad name, %v", "1.2.3", e, ErrNumber)
	}
}
