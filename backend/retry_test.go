package backend

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func TestRetryTakesTheOtherFamily(t *testing.T) {
	const a4, b4, a6, b6, socket = "10.0.0.1:443", "10.0.0.2:443", "[2001:db8::1]:443", "[2001:db8::2]:443", "unix:/run/x.sock"
	for _, b := range allBalances {
		p := newPool(t, Config{Balance: b, Servers: servers(a4, b4, a6, b6)})
		withSocket := newPool(t, Config{Balance: b, Servers: servers(a4, a6, socket)})
		for _, tc := range []struct {
			p     *Pool
			tried []string
			want  []string
		}{
			{p, []string{a6}, []string{a4, b4}},
			{p, []string{b4}, []string{a6, b6}},
			{p, []string{a6, a4}, []string{b6}},
			{p, []string{a6, b4}, []string{b6}},
			{p, []string{a6, b6, a4}, []string{b4}}, // of the same family, when the other has none left
			{withSocket, []string{a6}, []string{a4, socket}},
			{withSocket, []string{socket}, []string{a4, a6}},
			{withSocket, []string{a4, socket}, []string{a6}},
		} {
			var tried []*Endpoint
			for _, name := range tc.tried {
				tried = append(tried, endpoint(t, tc.p, name))
			}
			for range 20 { // a choice may be one of chance
				e := tc.p.Pick(client, tried)
				if !slices.Contains(tc.want, e.String()) {
					t.Errorf("%s: Pick(%v, %v) = %v, want one of %v", b, client, tried, e, tc.want)
				}
				e.Release()
			}
		}
	}
}

// A retry of another family takes no turn from the servers that it passes over.
func TestFamilyCostsNoTurn(t *testing.T) {
	p := newPool(t, Config{Servers: servers("10.0.0.1:443", "[2001:db8::1]:443", "10.0.0.2:443")})
	failed := wantPick(t, p, nil, "10.0.0.1:443")
	wantPick(t, p, []*Endpoint{failed}, "[2001:db8::1]:443")
	wantPick(t, p, nil, "[2001:db8::1]:443")
	wantPick(t, p, nil, "10.0.0.2:443")
}

// The addresses of the other family are drawn by weight.
func TestFamilyFollowsWeights(t *testing.T) {
	p := newPool(t, Config{Servers: append(weights(1, 3), servers("[2001:db8::1]:443")...)})
	tried := []*Endpoint{endpoint(t, p, "[2001:db8::1]:443")}
	got := map[string]int{}
	for range 4000 {
		e := p.Pick(client, tried)
		got[e.String()]++
		e.Release()
	}
	wantAbout(t, "weight 1", got["10.0.0.1:443"], 1000)
	wantAbout(t, "weight 3", got["10.0.0.2:443"], 3000)
}

func TestPickAgain(t *testing.T) {
	for _, b := range allBalances {
		one := newPool(t, Config{Balance: b, Servers: servers("10.0.0.1:443"), MaxConnections: 1})
		first := wantPick(t, one, nil, "10.0.0.1:443")
		first.Release()
		tried := []*Endpoint{first}
		wantPick(t, one, tried, "")
		if e := one.PickAgain(client, tried); e != first {
			t.Errorf("%s: PickAgain(%v) = %v, want the only server", b, tried, e)
		}
		if e := one.PickAgain(client, tried); e != nil {
			t.Errorf("%s: PickAgain(%v) = %v with the only server full, want none", b, tried, e)
		}
		wantActive(t, first, 1)

		two := newPool(t, Config{Balance: b, Servers: servers("10.0.0.1:443", "10.0.0.2:443"), MaxConnections: 1})
		tried = []*Endpoint{endpoint(t, two, "10.0.0.1:443"), endpoint(t, two, "10.0.0.2:443")}
		for i, want := range []*Endpoint{tried[0], tried[1], nil} { // the last tried only when the other is full
			if e := two.PickAgain(client, tried); e != want {
				t.Errorf("%s: PickAgain(%v) = %v, want %v as pick %d", b, tried, e, want, i+1)
			}
		}
		if e := newPool(t, Config{Balance: b, Servers: servers("a.internal:443")}).PickAgain(client, nil); e != nil {
			t.Errorf("%s: PickAgain from a pool without an address = %v, want none", b, e)
		}
	}
}

func TestHasOther(t *testing.T) {
	list := append(servers("10.0.0.1:443", "10.0.0.2:443"), ServerConfig{Address: "10.9.0.1:443", Backup: 1})
	p := newPool(t, Config{Servers: list, MaxConnections: 1})
	one, two, spare := endpoint(t, p, "10.0.0.1:443"), endpoint(t, p, "10.0.0.2:443"), endpoint(t, p, "10.9.0.1:443")
	want := func(when string, tried []*Endpoint, current *Endpoint, want bool) {
		t.Helper()
		if got := p.HasOther(tried, current); got != want {
			t.Errorf("%s: HasOther(%v, %v) = %v, want %v", when, tried, current, got, want)
		}
	}
	want("at first", nil, one, true)
	want("a backup is left", []*Endpoint{one}, two, true)
	want("none is left", []*Endpoint{one, spare}, two, false)
	two.acquire(1)
	want("one is full", []*Endpoint{spare}, one, false)
	two.Release()
	p.TimedOut(two, minPatience)
	want("the other timed out", []*Endpoint{spare}, one, false)
	p.TimedOut(one, minPatience)
	want("both timed out", []*Endpoint{spare}, one, true)
	two.Connected(0)
	want("the other is well again", []*Endpoint{spare}, one, true)
	alone := newPool(t, Config{Servers: servers("10.0.0.1:443")})
	if e := endpoint(t, alone, "10.0.0.1:443"); alone.HasOther(nil, e) {
		t.Errorf("HasOther(nil, %v) = true in a pool of one, want false", e)
	}
}

// rank is what Pick goes by before it balances: the lowest goes first. It is below 0 for what Pick
// may not take.
func rank(p *Pool, e *Endpoint, backup int, tried []*Endpoint) int {
	if slices.Contains(tried, e) || p.limit > 0 && e.active.Load() >= p.limit {
		return -1
	}
	r := 0
	if e.doubted() {
		r += 2 * (MaxBackup + 1)
	}
	r += 2 * backup
	if len(tried) > 0 {
		last := tried[len(tried)-1].AddrPort.Addr()
		if a := e.AddrPort.Addr(); last.IsValid() && a.IsValid() && last.Is4() == a.Is4() {
			r++
		}
	}
	return r
}

// TestPickAgreesWithModel picks from random pools in random states: what is picked has the lowest
// rank there is.
func TestPickAgreesWithModel(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := randomConfig(r)
		p := newPool(t, c)
		var all, tried []*Endpoint
		for _, tier := range *p.current.Load() {
			for _, w := range tier.endpoints {
				all = append(all, w.Endpoint)
			}
		}
		for _, e := range all {
			switch r.IntN(5) {
			case 0:
				p.TimedOut(e, minPatience)
			case 1:
				tried = append(tried, e)
			case 2:
				e.active.Store(r.Int64N(3))
			}
		}
		ranks := map[*Endpoint]int{}
		best := -1
		for _, e := range all {
			i := slices.IndexFunc(c.Servers, func(s ServerConfig) bool { return s.Address == e.Server })
			n := rank(p, e, c.Servers[i].Backup, tried)
			ranks[e] = n
			if n >= 0 && (best < 0 || n < best) {
				best = n
			}
		}
		e := p.Pick(netip.AddrFrom4([4]byte{192, 0, 2, byte(seed)}), tried)
		if e == nil && best >= 0 || e != nil && ranks[e] != best {
			t.Errorf("seed %d: Pick(%v) = %v of rank %d, want one of rank %d among %v", seed, tried, e, ranks[e], best, ranks)
		}
	}
}

func randomConfig(r *rand.Rand) Config {
	c := Config{Balance: allBalances[r.IntN(len(allBalances))], MaxConnections: r.IntN(3)}
	for i := range 1 + r.IntN(5) {
		s := ServerConfig{Weight: 1 + r.IntN(3), Backup: []int{0, 0, 1, 2, 7, MaxBackup}[r.IntN(6)]}
		s.Address = []string{"10.0.0.%d:443", "[2001:db8::%d]:443", "unix:/run/%d.sock"}[r.IntN(3)]
		s.Address = fmt.Sprintf(s.Address, i+1)
		c.Servers = append(c.Servers, s)
	}
	return c
}
