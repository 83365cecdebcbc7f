package routes

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"keyhole/sni"
)

// reference is a look-up written from the definition: every pattern of every route is asked whether
// it takes the client, and those that do are sorted by precedence.
func reference(c Config, q Query) Match {
	own := Own{}
	if q.Listener >= 0 {
		own = c.Listeners[q.Listener]
	}
	reject := RejectAlert
	for _, r := range []*Route{c.Default, own.Default} {
		if r != nil && r.Reject != RejectInherit {
			reject = r.Reject
		}
	}
	if !c.JA4.Admits(q.JA4) {
		return Match{Outcome: DeniedJA4, Reject: reject}
	}
	normal, err := Normalize(nil, q.Name)
	literal := err == ErrIPLiteral && isASCII(q.Name)
	m := Match{Outcome: NoRoute, Literal: literal}
	var candidates []*Route
	switch {
	case q.Name == nil || literal:
		m.Outcome = NoName
		candidates = []*Route{own.NoName, own.Default, c.NoName, c.Default}
	case err != nil || !isASCII(q.Name):
		return Match{Outcome: BadName, Reject: reject}
	default:
		candidates = append(candidates, best(c.Routes, string(normal), q), own.Default, c.Default)
	}
	for _, r := range candidates {
		if r == nil || preference(r, q.ALPN.Strings(), true) < 0 {
			continue
		}
		m.Route = r
		switch {
		case !r.Access.Admits(q.Client):
			m.Outcome = Denied
		case !r.JA4.Admits(q.JA4):
			m.Outcome = DeniedJA4
		case len(r.SNI) > 0 && r.Backend < 0:
			m.Outcome = Rejected
		case len(r.SNI) > 0:
			m.Outcome = Matched
		case r.Backend < 0:
		case r == own.NoName || r == c.NoName:
			m.Outcome = MatchedNoName
		default:
			m.Outcome = MatchedDefault
		}
		break
	}
	m.Reject = reject
	if m.Route != nil && m.Route.Reject != RejectInherit {
		m.Reject = m.Route.Reject
	}
	return m
}

// best returns the route that a pattern gives to a client.
func best(rs []Route, name string, q Query) *Route {
	if r := bestOf(rs, name, q, true); r != nil {
		return r
	}
	return bestOf(rs, name, q, false)
}

// bestOf is best, of the routes that name acme-tls/1 for a client that offers nothing else, or of
// all.
func bestOf(rs []Route, name string, q Query, named bool) *Route {
	alpn := q.ALPN.Strings()
	if named && !slices.Equal(alpn, []string{"acme-tls/1"}) {
		return nil
	}
	type claim struct {
		route                                  *Route
		narrow, shared, place, preferred, bits int
	}
	var claims []claim
	for i := range rs {
		r := &rs[i]
		w := cmp.Or(r.When, &Conditions{})
		if named && !slices.Contains(w.ALPN, "acme-tls/1") || w.Listen != nil && !slices.Contains(w.Listen, q.Listener) {
			continue
		}
		preferred, bits := preference(r, alpn, !named), -1
		for _, p := range w.From {
			if q.Client.IsValid() && p.Contains(q.Client.Unmap()) {
				bits = max(bits, p.Bits())
			}
		}
		if preferred < 0 || len(w.From) > 0 && bits < 0 {
			continue
		}
		for _, s := range r.SNI {
			narrow, star := narrowness(s, name)
			if narrow == 0 || w.Matching != nil && !regexp.MustCompile("^("+w.Matching.String()+")$").MatchString(star) {
				continue
			}
			x := claim{r, narrow, 1, len(rs), preferred, bits}
			if w.Listen != nil {
				x.shared = 0
			}
			if w.Matching != nil {
				x.place = i
			}
			claims = append(claims, x)
		}
	}
	if len(claims) == 0 {
		return nil
	}
	return slices.MinFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(b.narrow, a.narrow), cmp.Compare(a.shared, b.shared), cmp.Compare(a.place, b.place),
			cmp.Compare(a.preferred, b.preferred), cmp.Compare(b.bits, a.bits))
	}).route
}

// preference orders the routes that a client's protocols fit; -1 if they do not.
func preference(r *Route, alpn []string, acme bool) int {
	if r.When == nil || len(r.When.ALPN) == 0 {
		return 1000
	}
	i := slices.IndexFunc(alpn, func(p string) bool { return slices.Contains(r.When.ALPN, p) })
	if i < 0 && acme && slices.Equal(alpn, []string{"acme-tls/1"}) {
		return 1001
	}
	return i
}

// narrowness orders the patterns that take a name; 0 if this one does not. It also returns what the
// stars stand for.
func narrowness(pattern, name string) (int, string) {
	pattern, _ = ParsePattern(pattern)
	if pattern == "**" {
		return 1, name
	}
	if pattern == name {
		return 1000, ""
	}
	if suffix, ok := strings.CutPrefix(pattern, "**"); ok && strings.HasSuffix(name, suffix) {
		return len(suffix), strings.TrimSuffix(name, suffix)
	}
	suffix, ok := strings.CutPrefix(pattern, "*.")
	if label, parent, _ := strings.Cut(name, "."); ok && parent == suffix {
		return 500, label
	}
	return 0, ""
}

// random makes tables of few labels and conditions, so that they meet.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 0))} }

// config returns a Config without conflicts.
func (r random) config() Config {
	c := Config{Routes: make([]Route, r.IntN(20)), Listeners: []Own{{Label: "web"}, {Label: "mail"}}}
	for i := range c.Routes {
		c.Routes[i] = r.route(i)
	}
	c.Routes = withoutConflicts(c)
	if r.IntN(4) == 0 {
		c.JA4 = r.fingerprints()
	}
	for i, at := range []**Route{&c.Default, &c.NoName, &c.Listeners[1].Default, &c.Listeners[1].NoName} {
		if r.IntN(2) == 0 {
			*at = &Route{Backend: r.IntN(3) - 1, Reject: Reject(r.IntN(5)), Line: 90 + i, When: r.conditions(false), Access: r.access(), JA4: r.fingerprints()}
		}
	}
	return c
}

func (r random) route(i int) Route {
	x := Route{Backend: i, Line: 10 + i, Access: r.access(), JA4: r.fingerprints()}
	if r.IntN(4) == 0 {
		x.Backend = -1
	}
	exact := false
	for range 1 + r.IntN(3) {
		p := []string{"", "*.", "**."}[r.IntN(3)] + r.name()
		if r.IntN(10) == 0 {
			p = "**"
		}
		exact = exact || !strings.HasPrefix(p, "*")
		x.SNI = append(x.SNI, p)
	}
	x.When = r.conditions(!exact)
	if x.When != nil && r.IntN(4) == 0 {
		x.When.Listen = [][]int{{0}, {1}, {0, 1}}[r.IntN(3)]
	}
	if x.When != nil && r.IntN(3) == 0 {
		x.When.From = r.networks()
	}
	return x
}

func (r random) conditions(matching bool) *Conditions {
	if r.IntN(2) == 0 {
		return nil
	}
	w := &Conditions{ALPN: r.some("h2", "http/1.1", "h3", "acme-tls/1")}
	if matching && r.IntN(3) == 0 {
		w.Matching = match([]string{"a|b", "[a-c]+", ".*-1", "shop|.*[.]a"}[r.IntN(4)])
	}
	return w
}

func (r random) access() *Access {
	if r.IntN(3) > 0 {
		return nil
	}
	return access(r.networks())
}

// fingerprints are two, so that clients have them.
func (r random) fingerprints() *Fingerprints {
	if r.IntN(4) > 0 {
		return nil
	}
	f, err := NewFingerprints([][]sni.JA4{nil, {{'a'}}}[r.IntN(2)], [][]sni.JA4{nil, {{'b'}}}[r.IntN(2)])
	if err != nil {
		panic(err)
	}
	return f
}

func (r random) ja4() *sni.JA4 { return []*sni.JA4{nil, {'a'}, {'b'}, {'c'}}[r.IntN(4)] }

func (r random) networks() []netip.Prefix {
	return prefixes(r.some("192.0.0.0/8", "192.0.2.0/24", "192.0.2.9/32", "198.51.100.7/32", "2001:db8::/32", "::/0")...)
}

// some is nil two times in three, else some of all in any order.
func (r random) some(all ...string) []string {
	if r.IntN(3) > 0 {
		return nil
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+r.IntN(len(all))]
}

func (r random) name() string {
	labels := make([]string, 1+r.IntN(4))
	for i := range labels {
		labels[i] = []string{"a", "b", "C", "shop-1"}[r.IntN(4)]
	}
	return strings.Join(labels, ".")
}

func (r random) client() netip.Addr {
	all := []string{"192.0.2.1", "::ffff:192.0.2.9", "198.51.100.7", "198.51.100.8", "2001:db8::5", "::1"}
	if i := r.IntN(len(all) + 1); i < len(all) {
		return netip.MustParseAddr(all[i])
	}
	return netip.Addr{}
}

func (r random) query() Query {
	q := Query{Name: []byte(r.name()), Client: r.client(), Listener: r.IntN(3) - 1, JA4: r.ja4()}
	if r.IntN(5) == 0 {
		q.Name = [][]byte{nil, []byte("192.0.2.1")}[r.IntN(2)]
	}
	q.ALPN = sni.MakeProtocols(r.some("h2", "http/1.1", "h3", "acme-tls/1"))
	if r.IntN(6) == 0 {
		q.ALPN = sni.MakeProtocols([]string{"acme-tls/1"})
	}
	return q
}

// withoutConflicts leaves out the routes that New finds to contradict one before them. TestNewConflicts
// is about which those are.
func withoutConflicts(c Config) []Route {
	for {
		_, err := New(c)
		conflicts, ok := errors.AsType[Conflicts](err)
		if !ok {
			return c.Routes
		}
		i := conflicts[0].Second
		c.Routes = slices.Delete(c.Routes, i, i+1)
	}
}

// agree fails unless Lookup, Explain and the reference choose alike.
func agree(t *testing.T, c Config, q Query) {
	t.Helper()
	table, err := New(c)
	if err != nil {
		t.Fatalf("New(%+v) = %v, want a table", c, err)
	}
	want := reference(c, q)
	hello := fmt.Sprintf("(%q, %q, %v, %d, %v)", q.Name, q.ALPN, q.Client, q.Listener, q.JA4)
	got := table.Lookup(q)
	if describe(got) != describe(want) {
		t.Fatalf("Lookup%s = %s, want %s, in %+v", hello, describe(got), describe(want), c)
	}
	if q.Name != nil && len(q.Name) == 0 {
		return // Explain has no word for a name of no bytes
	}
	e := table.Explain(string(q.Name), q.ALPN.Strings(), q.Client, q.Listener, q.JA4)
	if !isASCII(q.Name) && e.Outcome != BadName && !e.Literal {
		q.Name = []byte(e.Name) // Explain takes an operator's spelling
		got = table.Lookup(q)
	}
	if e.Match != got && (isASCII(q.Name) || !e.Literal) {
		t.Fatalf("Explain%s = %s, want Lookup's %s, in %+v", hello, describe(e.Match), describe(got), c)
	}
	checkVerdicts(t, hello, e)
}

// checkVerdicts fails unless the candidates tell the same story as the match.
func checkVerdicts(t *testing.T, hello string, e Explanation) {
	t.Helper()
	if e.Outcome == DeniedJA4 && e.Route == nil {
		return // before any candidate
	}
	decided := slices.DeleteFunc(slices.Clone(e.Candidates), func(c Candidate) bool {
		return c.Verdict != Taken && c.Verdict != Refused && c.Verdict != Rejecting
	})
	if e.Route == nil {
		if len(decided) != 0 {
			t.Fatalf("Explain%s has %v decide and no route", hello, decided)
		}
		return
	}
	verdict := map[Outcome]Verdict{Denied: Refused, DeniedJA4: Refused, Rejected: Rejecting, NoName: Rejecting, NoRoute: Rejecting}[e.Outcome]
	if len(decided) != 1 || !slices.Contains(decided[0].Routes, e.Route) || decided[0].Verdict != cmp.Or(verdict, Taken) {
		t.Fatalf("Explain%s has %v decide, want one with the route of %s", hello, decided, describe(e.Match))
	}
	for _, c := range e.Candidates {
		if c.Because == "" || strings.HasSuffix(c.Because, " ") {
			t.Fatalf("Explain%s gives %q as the reason of %s", hello, c.Because, c.Pattern)
		}
	}
}

func describe(m Match) string {
	outcome := m.Outcome.String()
	if m.Literal {
		outcome += " for a literal"
	}
	if m.Route == nil {
		return fmt.Sprintf("%s, reject %v", outcome, m.Reject)
	}
	return fmt.Sprintf("%s, line %d, backend %d, reject %v", outcome, m.Route.Line, m.Route.Backend, m.Reject)
}

func TestLookupAgreesWithReference(t *testing.T) {
	outcomes, conditions := map[Outcome]int{}, 0
	for seed := range uint64(2000) {
		r := newRandom(seed)
		c := r.config()
		for range 10 {
			q := r.query()
			agree(t, c, q)
			m := reference(c, q)
			outcomes[m.Outcome]++
			if m.Route != nil && m.Route.When != nil {
				conditions++
			}
		}
	}
	for _, o := range []Outcome{Matched, MatchedDefault, MatchedNoName, NoRoute, NoName, Denied, Rejected, DeniedJA4} {
		if outcomes[o] < 100 {
			t.Errorf("%d of 20000 look-ups are %q, want 100 or the test shows little", outcomes[o], o)
		}
	}
	if conditions < 1000 {
		t.Errorf("%d of 20000 look-ups end at a route with conditions, want 1000", conditions)
	}
}

func FuzzLookup(f *testing.F) {
	f.Add(uint64(1), []byte("a.b"), "h2,http/1.1", uint8(0), uint8(0))
	f.Add(uint64(2), []byte("A.b.C."), "", uint8(1), uint8(1))
	f.Add(uint64(3), []byte("shop-1.a.a.a.a.b"), "h3", uint8(2), uint8(2))
	f.Add(uint64(4), []byte("192.0.2.1"), "acme-tls/1", uint8(3), uint8(0))
	f.Add(uint64(4), []byte("[::1]"), "h2", uint8(3), uint8(1))
	f.Add(uint64(4), []byte("ü.b"), "h2", uint8(3), uint8(2))
	f.Add(uint64(5), []byte{}, ",", uint8(4), uint8(0))
	f.Add(uint64(6), []byte(strings.Repeat("a.", 126)+"b"), "h2", uint8(5), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, name []byte, protocols string, from, listener uint8) {
		alpn := strings.Split(protocols, ",")
		alpn = slices.DeleteFunc(alpn, func(p string) bool { return p == "" || len(p) > sni.MaxProtocol })
		agree(t, newRandom(seed).config(), Query{
			Name: name, ALPN: sni.MakeProtocols(alpn), Client: newRandom(uint64(from)).client(), Listener: int(listener%3) - 1,
		})
	})
}
