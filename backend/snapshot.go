package backend

import (
	"cmp"
	"slices"
)

// A snapshot is the state of a pool that Pick reads. It does not change once it is published. Its
// tiers are in the order of Pick, and each has an endpoint.
type snapshot []tier

// A tier holds the servers of one backup rank that have an address.
type tier struct {
	turns     *turns // of its rank
	groups    []group
	endpoints []weighted // of all groups, those of one group together
	slots     []slot     // a round of turns; for RoundRobin only
	mixed     bool       // endpoints are of several families
}

// A group is the part of a tier that one server has.
type group struct {
	first, size int    // its part of tier.endpoints
	hash        uint64 // of the server's address
	weight      int    // the server's
	turns       int    // in a round: the weight, divided by the greatest common divisor of the tier's weights
}

// weighted is an endpoint with its part of its server's weight, in units of 1/share. The weight is
// not in Endpoint, since pools of two configurations may hold one endpoint with different weights.
type weighted struct {
	*Endpoint
	weight int64
}

// share is a multiple of every number up to 16, so that up to sixteen addresses have exact parts.
// With n addresses the parts are rounded down by less than n/share of them.
const share = 720720

// A slot is one turn of a round: the nth one that a group has in it.
type slot struct{ group, nth int32 }

// newSnapshot takes the counter of turns of each tier.
func newSnapshot(servers []*server, balance Balance, counters []turns) *snapshot {
	s := make(snapshot, len(counters))
	for _, srv := range servers {
		s[srv.tier].add(srv)
	}
	for i := range s {
		s[i].turns = &counters[i]
	}
	s = slices.DeleteFunc(s, func(t tier) bool { return len(t.endpoints) == 0 })
	if balance == RoundRobin {
		for i := range s {
			s[i].schedule()
		}
	}
	return &s
}

func (t *tier) add(s *server) {
	n := len(s.endpoints)
	if n == 0 {
		return
	}
	t.groups = append(t.groups, group{first: len(t.endpoints), size: n, hash: s.hash, weight: s.weight})
	for _, e := range s.endpoints {
		part := max(int64(s.weight)*share/int64(n), 1)
		t.endpoints = append(t.endpoints, weighted{Endpoint: e, weight: part})
		t.mixed = t.mixed || e.family() != t.endpoints[0].family()
	}
}

// schedule lays out a round in which each group has as many turns as its reduced weight says,
// spread evenly. Of n groups, the i-th has its k-th turn of w at the fraction (k + (i+1/2)/n) / w
// of the round. The (i+1/2)/n staggers the groups: without it all would have their middle turn at
// one place, and the heaviest would have the rest of the round in a row.
func (t *tier) schedule() {
	divisor := 0
	for _, g := range t.groups {
		divisor = gcd(g.weight, divisor)
	}
	for i := range t.groups {
		g := &t.groups[i]
		g.turns = g.weight / divisor
		for k := range g.turns {
			t.slots = append(t.slots, slot{group: int32(i), nth: int32(k)})
		}
	}
	n := len(t.groups)
	slices.SortFunc(t.slots, func(a, b slot) int {
		// The fractions, times 2n, compared crosswise: integers keep ties exact and the order the
		// same everywhere.
		at := (int(a.nth)*2*n + 2*int(a.group) + 1) * t.groups[b.group].turns
		bt := (int(b.nth)*2*n + 2*int(b.group) + 1) * t.groups[a.group].turns
		return cmp.Or(cmp.Compare(at, bt), cmp.Compare(a.group, b.group))
	})
}

// turn returns the endpoint that has the nth turn. The addresses of a server take its turns one
// after the other, from one round to the next.
func (t *tier) turn(n uint64) *Endpoint {
	round, at := n/uint64(len(t.slots)), n%uint64(len(t.slots))
	s := t.slots[at]
	g := &t.groups[s.group]
	address := (round*uint64(g.turns) + uint64(s.nth)) % uint64(g.size)
	return t.endpoints[g.first+int(address)].Endpoint
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
