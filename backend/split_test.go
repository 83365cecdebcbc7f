package backend

import (
	"net/netip"
	"testing"
)

// splitPools makes pools of those names, each with one server.
func splitPools(t testing.TB, names ...string) []*Pool {
	t.Helper()
	var all []*Pool
	for _, n := range names {
		p, err := New(Config{Name: n, Servers: servers("10.0.0.1:443")})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func newSplit(t testing.TB, pools []*Pool, weights []int, sticky bool) *Split {
	t.Helper()
	s, err := NewSplit(pools, weights, sticky)
	if err != nil {
		t.Fatalf("NewSplit(%v, %v) = %v, want no error", weights, sticky, err)
	}
	return s
}

const splitClients = 40000

// spread returns the name of the pool that each of the clients 10.1.0.0 and on gets.
func spread(s *Split) []string {
	to := make([]string, splitClients)
	for i := range to {
		to[i] = s.Pick(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})).Name()
	}
	return to
}

func tally(names []string) map[string]int {
	n := map[string]int{}
	for _, s := range names {
		n[s]++
	}
	return n
}

// wantShare allows a tenth more or less: more than ten standard deviations of the shares that are
// drawn at random. The sticky ones are the same in every run.
func wantShare(t *testing.T, what string, got, want int) {
	t.Helper()
	if got < want*9/10 || got > want*11/10 {
		t.Errorf("%s gets %d clients of %d, want %d give or take a tenth", what, got, splitClients, want)
	}
}

func TestSplitFollowsWeights(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		s := newSplit(t, splitPools(t, "a", "b", "c", "d"), []int{6, 3, 0, 1}, sticky)
		got := map[string]int{}
		for range 5 {
			for name, n := range tally(spread(s)) {
				got[name] += n
			}
		}
		wantShare(t, "a of weight 6", got["a"]/5, splitClients*6/10)
		wantShare(t, "b of weight 3", got["b"]/5, splitClients*3/10)
		wantShare(t, "d of weight 1", got["d"]/5, splitClients/10)
		if got["c"] != 0 {
			t.Errorf("sticky %v: c of weight 0 gets %d clients, want none", sticky, got["c"])
		}
	}
}

func TestSplitOfOne(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		s := newSplit(t, splitPools(t, "a", "b"), []int{0, MaxShare}, sticky)
		if got := tally(spread(s)); got["b"] != splitClients {
			t.Errorf("sticky %v: the clients get %v, want b alone", sticky, got)
		}
	}
}

// A split without sticky spreads the connections of one client too.
func TestSplitDrawsForEachConnection(t *testing.T) {
	s := newSplit(t, splitPools(t, "a", "b"), []int{1, 1}, false)
	var got []string
	for range splitClients {
		got = append(got, s.Pick(client).Name())
	}
	wantShare(t, "a", tally(got)["a"], splitClients/2)
}

func TestStickySplitIsTheSameEverywhere(t *testing.T) {
	one := spread(newSplit(t, splitPools(t, "a", "b", "c"), []int{1, 2, 3}, true))
	two := spread(newSplit(t, splitPools(t, "c", "a", "b"), []int{3, 1, 2}, true))
	for i := range one {
		if one[i] != two[i] {
			t.Fatalf("client %d gets %s, and with the list in another order %s", i, one[i], two[i])
		}
	}
	s := newSplit(t, splitPools(t, "a", "b"), []int{1, 1}, true)
	same := func(a, b string) bool {
		return s.Pick(netip.MustParseAddr(a)) == s.Pick(netip.MustParseAddr(b))
	}
	for _, host := range []string{"::2", "::ffff:1:2:3", "::dead:beef"} {
		if !same("2001:db8::1", "2001:db8"+host) {
			t.Errorf("2001:db8::1 and 2001:db8%s get different pools, want one for a /64", host)
		}
	}
	if !same("192.0.2.1", "::ffff:192.0.2.1") {
		t.Error("192.0.2.1 gets another pool when it is mapped into IPv6")
	}
}

// More weight for the canary moves clients to it, and no client from it or between the others.
func TestStickySplitMovesOnlyWhatItMust(t *testing.T) {
	pools := splitPools(t, "a", "b", "canary")
	before := spread(newSplit(t, pools, []int{45, 45, 10}, true))
	after := spread(newSplit(t, pools, []int{45, 45, 30}, true))
	moved := 0
	for i := range before {
		if before[i] == after[i] {
			continue
		}
		if moved++; after[i] != "canary" {
			t.Fatalf("client %d moved from %s to %s, want it to stay or to move to the canary", i, before[i], after[i])
		}
	}
	wantShare(t, "the canary's rise", moved, splitClients*(30*100-10*120)/(100*120))
}

// The pool that a client gets says nothing about the server that it gets there.
func TestStickySplitAndClientHash(t *testing.T) {
	a := newPool(t, Config{Servers: weights(1, 1), Balance: ClientHash})
	s := newSplit(t, append(splitPools(t, "a"), a), []int{1, 1}, true)
	got := map[string]int{}
	for i := range splitClients {
		c := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		if s.Pick(c) == a {
			e := a.Pick(c, nil)
			e.Release()
			got[e.String()]++
		}
	}
	wantShare(t, "10.0.0.1", got["10.0.0.1:443"], splitClients/4)
	wantShare(t, "10.0.0.2", got["10.0.0.2:443"], splitClients/4)
}

func TestSplitRefuses(t *testing.T) {
	pools := splitPools(t, "a", "b")
	for _, weights := range [][]int{{0, 0}, {-1, 1}, {1, MaxShare + 1}} {
		if s, err := NewSplit(pools, weights, false); err == nil {
			t.Errorf("NewSplit(%v) = %v, want an error", weights, s)
		}
	}
	if s, err := NewSplit(nil, nil, false); err == nil {
		t.Errorf("NewSplit of no pool = %v, want an error", s)
	}
}

func TestSplitDoesNotAllocate(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		s := newSplit(t, splitPools(t, "a", "b", "c"), []int{1, 2, 3}, sticky)
		if n := testing.AllocsPerRun(100, func() { s.Pick(client) }); n != 0 {
			t.Errorf("sticky %v: Pick allocates %v times, want 0", sticky, n)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	for _, sticky := range []bool{false, true} {
		s := newSplit(b, splitPools(b, "a", "b"), []int{9, 1}, sticky)
		b.Run(map[bool]string{false: "random", true: "sticky"}[sticky], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Pick(client)
			}
		})
	}
}
