package routes

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"keyhole/sni"
)

// reference is a look-up written from the definition: every pattern of every route is asked whether
// it takes the name, and those that do are sorted by precedence.
func reference(rs []Route, d Default, name []byte, alpn []string, client netip.Addr) Match {
	takesDefault := Match{Route: &Route{Backend: d.Backend, Reject: max(d.Reject, RejectAlert), Line: d.Line}, Outcome: MatchedDefault}
	if n := d.NoName; name == nil && n != nil {
		m := Match{Route: &Route{Backend: n.Backend, Reject: n.Reject, Line: n.Line}, Outcome: MatchedNoName}
		if n.Backend < 0 {
			m.Outcome = NoName
		}
		return m
	}
	if name == nil {
		if d.Backend < 0 {
			return Match{Outcome: NoName}
		}
		return takesDefault
	}
	normal, err := Normalize(nil, name)
	if err == ErrIPLiteral && isASCII(name) {
		m := reference(rs, d, nil, alpn, client)
		m.Literal = true
		return m
	}
	if err != nil || !isASCII(name) {
		return Match{Outcome: BadName}
	}
	type claim struct {
		route             *Route
		narrow, preferred int
	}
	var claims []claim
	for i := range rs {
		r := &rs[i]
		preferred := len(alpn)
		if len(r.ALPN) > 0 {
			preferred = slices.IndexFunc(alpn, func(p string) bool { return slices.Contains(r.ALPN, p) })
		}
		for _, s := range r.SNI {
			if narrow := narrowness(s, string(normal)); narrow > 0 && preferred >= 0 {
				claims = append(claims, claim{r, narrow, preferred})
			}
		}
	}
	if len(claims) == 0 {
		if d.Backend < 0 {
			return Match{Outcome: NoRoute}
		}
		return takesDefault
	}
	best := slices.MinFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(b.narrow, a.narrow), cmp.Compare(a.preferred, b.preferred))
	})
	in := func(p netip.Prefix) bool { return p.Contains(client.Unmap()) }
	if len(best.route.Allow) > 0 && !slices.ContainsFunc(best.route.Allow, in) {
		return Match{Route: best.route, Outcome: Denied}
	}
	if best.route.Backend < 0 {
		return Match{Route: best.route, Outcome: Rejected}
	}
	return Match{Route: best.route, Outcome: Matched}
}

// narrowness orders the patterns that take a name; 0 if this one does not.
func narrowness(pattern, name string) int {
	pattern, _ = ParsePattern(pattern)
	if pattern == name {
		return 1000
	}
	if suffix, ok := strings.CutPrefix(pattern, "**"); ok && strings.HasSuffix(name, suffix) {
		return len(suffix)
	}
	suffix, ok := strings.CutPrefix(pattern, "*.")
	if _, parent, _ := strings.Cut(name, "."); ok && parent == suffix {
		return 500
	}
	return 0
}

// randomRoutes has few labels, so that patterns meet, and no conflicts.
func randomRoutes(random *rand.Rand) ([]Route, Default) {
	rs := make([]Route, random.IntN(20))
	for i := range rs {
		rs[i] = Route{Backend: i, Line: 10 + i, ALPN: some(random, "h2", "http/1.1", "h3")}
		if random.IntN(4) == 0 {
			rs[i].Backend = -1
		}
		for range 1 + random.IntN(3) {
			prefix := []string{"", "*.", "**."}[random.IntN(3)]
			rs[i].SNI = append(rs[i].SNI, prefix+randomName(random))
		}
		for _, p := range some(random, "192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32") {
			rs[i].Allow = append(rs[i].Allow, netip.MustParsePrefix(p))
		}
	}
	d := Default{Backend: random.IntN(3) - 1, Reject: Reject(random.IntN(5)), Line: 90}
	if random.IntN(2) == 0 {
		d.NoName = &Default{Backend: random.IntN(3) - 1, Reject: Reject(random.IntN(5)), Line: 91}
	}
	return withoutConflicts(rs), d
}

func withoutConflicts(rs []Route) []Route {
	type key struct{ pattern, protocol string }
	taken := map[key]bool{}
	return slices.DeleteFunc(rs, func(r Route) bool {
		mine := map[key]bool{}
		for _, s := range r.SNI {
			pattern, _ := ParsePattern(s)
			for _, protocol := range append(slices.Clone(r.ALPN), "")[:max(1, len(r.ALPN))] {
				if k := (key{pattern, protocol}); taken[k] || mine[k] {
					return true
				} else {
					mine[k] = true
				}
			}
		}
		for k := range mine {
			taken[k] = true
		}
		return false
	})
}

// some is nil two times in three, else some of all in any order.
func some(random *rand.Rand, all ...string) []string {
	if random.IntN(3) > 0 {
		return nil
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+random.IntN(len(all))]
}

func randomName(random *rand.Rand) string {
	labels := make([]string, 1+random.IntN(4))
	for i := range labels {
		labels[i] = []string{"a", "b", "C", "shop-1"}[random.IntN(4)]
	}
	return strings.Join(labels, ".")
}

func randomClient(random *rand.Rand) netip.Addr {
	all := []string{"192.0.2.1", "::ffff:192.0.2.9", "198.51.100.7", "198.51.100.8", "2001:db8::5", "::1"}
	if i := random.IntN(len(all) + 1); i < len(all) {
		return netip.MustParseAddr(all[i])
	}
	return netip.Addr{}
}

// agree fails unless Lookup, Explain and the reference choose alike.
func agree(t *testing.T, rs []Route, d Default, name []byte, alpn []string, client netip.Addr) {
	t.Helper()
	table, err := New(rs, d)
	if err != nil {
		t.Fatalf("New(%+v) = %v, want a table", rs, err)
	}
	want := reference(rs, d, name, alpn, client)
	hello := fmt.Sprintf("(%q, %q, %v)", name, alpn, client)
	got := table.Lookup(name, sni.MakeProtocols(alpn), client)
	if describe(got) != describe(want) {
		t.Fatalf("Lookup%s = %s, want %s, in %+v", hello, describe(got), describe(want), rs)
	}
	if name != nil && len(name) == 0 {
		return // Explain has no word for a name of no bytes
	}
	e := table.Explain(string(name), alpn, client)
	if !isASCII(name) && e.Outcome != BadName && !e.Literal {
		got = table.Lookup([]byte(e.Name), sni.MakeProtocols(alpn), client) // Explain takes an operator's spelling
	}
	if e.Match != got && (isASCII(name) || !e.Literal) {
		t.Fatalf("Explain%s = %s, want Lookup's %s, in %+v", hello, describe(e.Match), describe(got), rs)
	}
	checkVerdicts(t, hello, e)
}

// checkVerdicts fails unless the candidates tell the same story as the match.
func checkVerdicts(t *testing.T, hello string, e Explanation) {
	t.Helper()
	decided := slices.DeleteFunc(slices.Clone(e.Candidates), func(c Candidate) bool {
		return c.Verdict != Taken && c.Verdict != Refused && c.Verdict != Rejecting
	})
	if e.Route == nil {
		if len(decided) != 0 {
			t.Fatalf("Explain%s has %v decide and no route", hello, decided)
		}
		return
	}
	verdict := map[Outcome]Verdict{Denied: Refused, Rejected: Rejecting, NoName: Rejecting}[e.Outcome]
	if len(decided) != 1 || !slices.Contains(decided[0].Routes, e.Route) || decided[0].Verdict != cmp.Or(verdict, Taken) {
		t.Fatalf("Explain%s has %v decide, want one with the route of %s", hello, decided, describe(e.Match))
	}
}

func describe(m Match) string {
	outcome := m.Outcome.String()
	if m.Literal {
		outcome += " for a literal"
	}
	if m.Route == nil {
		return outcome
	}
	return fmt.Sprintf("%s, line %d, backend %d, reject %v", outcome, m.Route.Line, m.Route.Backend, m.Route.Reject)
}

func TestLookupAgreesWithReference(t *testing.T) {
	outcomes := map[Outcome]int{}
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 0))
		rs, d := randomRoutes(random)
		for range 10 {
			name := []byte(randomName(random))
			if random.IntN(5) == 0 {
				name = [][]byte{nil, []byte("192.0.2.1")}[random.IntN(2)]
			}
			alpn, client := some(random, "h2", "http/1.1", "h3", "acme-tls/1"), randomClient(random)
			agree(t, rs, d, name, alpn, client)
			outcomes[reference(rs, d, name, alpn, client).Outcome]++
		}
	}
	for _, o := range []Outcome{Matched, MatchedDefault, MatchedNoName, NoRoute, NoName, Denied, Rejected} {
		if outcomes[o] < 100 {
			t.Errorf("%d of 20000 look-ups are %q, want 100 or the test shows little", outcomes[o], o)
		}
	}
}

func FuzzLookup(f *testing.F) {
	f.Add(uint64(1), []byte("a.b"), "h2,http/1.1", uint8(0))
	f.Add(uint64(2), []byte("A.b.C."), "", uint8(1))
	f.Add(uint64(3), []byte("shop-1.a.a.a.a.b"), "h3", uint8(2))
	f.Add(uint64(4), []byte("192.0.2.1"), "acme-tls/1", uint8(3))
	f.Add(uint64(4), []byte("[::1]"), "h2", uint8(3))
	f.Add(uint64(4), []byte("ü.b"), "h2", uint8(3))
	f.Add(uint64(5), []byte{}, ",", uint8(4))
	f.Add(uint64(6), []byte(strings.Repeat("a.", 126)+"b"), "h2", uint8(5))
	f.Fuzz(func(t *testing.T, seed uint64, name []byte, protocols string, from uint8) {
		rs, d := randomRoutes(rand.New(rand.NewPCG(seed, 0)))
		alpn := strings.Split(protocols, ",")
		alpn = slices.DeleteFunc(alpn, func(p string) bool { return p == "" || len(p) > sni.MaxProtocol })
		agree(t, rs, d, name, alpn, randomClient(rand.New(rand.NewPCG(uint64(from), 0))))
	})
}
