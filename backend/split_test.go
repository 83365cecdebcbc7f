package backend

import (
	"net/netip"
	"testing"
)

// shares lists pools a, b, c and on, numbered from 0, with those weights.
func shares(weights ...int) []Share {
	var all []Share
	for i, w := range weights {
		all = append(all, Share{Name: string(rune('a' + i)), Pool: i, Weight: w})
	}
	return all
}

func newSplit(t testing.TB, shares []Share, sticky bool) *Split {
	t.Helper()
	s, err := NewSplit(shares, sticky)
	if err != nil {
		t.Fatalf("NewSplit(%v, %v) = %v, want no error", shares, sticky, err)
	}
	return s
}

const splitClients = 40000

// spread returns the pool that each of the clients 10.1.0.0 and on gets.
func spread(s *Split) []int {
	to := make([]int, splitClients)
	for i := range to {
		to[i] = s.Pick(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
	}
	return to
}

func tally(pools []int) map[int]int {
	n := map[int]int{}
	for _, p := range pools {
		n[p]++
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
		s := newSplit(t, shares(6, 3, 0, 1), sticky)
		got := map[int]int{}
		for range 5 {
			for pool, n := range tally(spread(s)) {
				got[pool] += n
			}
		}
		wantShare(t, "a of weight 6", got[0]/5, splitClients*6/10)
		wantShare(t, "b of weight 3", got[1]/5, splitClients*3/10)
		wantShare(t, "d of weight 1", got[3]/5, splitClients/10)
		if got[2] != 0 {
			t.Errorf("sticky %v: c of weight 0 gets %d clients, want none", sticky, got[2])
		}
	}
}

func TestSplitOfOne(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		s := newSplit(t, shares(0, MaxShare), sticky)
		if got := tally(spread(s)); got[1] != splitClients {
			t.Errorf("sticky %v: the clients get %v, want b alone", sticky, got)
		}
	}
}

// A split without sticky spreads the connections of one client too.
func TestSplitDrawsForEachConnection(t *testing.T) {
	s := newSplit(t, shares(1, 1), false)
	var got []int
	for range splitClients {
		got = append(got, s.Pick(client))
	}
	wantShare(t, "a", tally(got)[0], splitClients/2)
}

func TestStickySplitIsTheSameEverywhere(t *testing.T) {
	one := spread(newSplit(t, shares(1, 2, 3), true))
	two := spread(newSplit(t, []Share{{"c", 2, 3}, {"a", 0, 1}, {"b", 1, 2}}, true))
	for i := range one {
		if one[i] != two[i] {
			t.Fatalf("client %d gets pool %d, and with the list in another order %d", i, one[i], two[i])
		}
	}
	s := newSplit(t, shares(1, 1), true)
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
	before := spread(newSplit(t, shares(45, 45, 10), true))
	after := spread(newSplit(t, shares(45, 45, 30), true))
	moved := 0
	for i := range before {
		if before[i] == after[i] {
			continue
		}
		if moved++; after[i] != 2 {
			t.Fatalf("client %d moved from pool %d to %d, want it to stay or to move to pool 2", i, before[i], after[i])
		}
	}
	wantShare(t, "the canary's rise", moved, splitClients*(30*100-10*120)/(100*120))
}

// The pool that a client gets says nothing about the server that it gets there.
func TestStickySplitAndClientHash(t *testing.T) {
	a := newPool(t, Config{Servers: weights(1, 1), Balance: ClientHash})
	s := newSplit(t, shares(1, 1), true)
	got := map[string]int{}
	for i := range splitClients {
		c := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		if s.Pick(c) == 0 {
			e := a.Pick(c, nil)
			e.Release()
			got[e.String()]++
		}
	}
	wantShare(t, "10.0.0.1", got["10.0.0.1:443"], splitClients/4)
	wantShare(t, "10.0.0.2", got["10.0.0.2:443"], splitClients/4)
}

func TestSplitRefuses(t *testing.T) {
	for _, all := range [][]Share{nil, shares(0, 0), shares(-1, 1), shares(1, MaxShare+1)} {
		if s, err := NewSplit(all, false); err == nil {
			t.Errorf("NewSplit(%v) = %v, want an error", all, s)
		}
	}
}

func TestSplitDoesNotAllocate(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		s := newSplit(t, shares(1, 2, 3), sticky)
		if n := testing.AllocsPerRun(100, func() { s.Pick(client) }); n != 0 {
			t.Errorf("sticky %v: Pick allocates %v times, want 0", sticky, n)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	for _, sticky := range []bool{false, true} {
		s := newSplit(b, shares(9, 1), sticky)
		b.Run(map[bool]string{false: "random", true: "sticky"}[sticky], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Pick(client)
			}
		})
	}
}
