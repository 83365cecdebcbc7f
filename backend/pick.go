package backend

import (
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"
)

// Pick chooses an endpoint for a connection of client and counts the connection on it, until Release. It passes over
// the endpoints in tried and those that have MaxConnections already, and takes a backup only when there is no other
// endpoint left. It returns nil when there is none at all. The client matters to ClientHash only.
//
// Pick costs time in proportion to the number of endpoints, but for RoundRobin, which as a rule takes the next in turn.
func (p *Pool) Pick(client netip.Addr, tried []*Endpoint) *Endpoint {
	s := p.current.Load()
	for i := range s {
		t := &s[i]
		if len(t.endpoints) == 0 {
			continue
		}
		if e := p.pickFrom(t, &p.turns[i], client, tried); e != nil {
			return e
		}
	}
	return nil
}

func (p *Pool) pickFrom(t *tier, turns *atomic.Uint64, client netip.Addr, tried []*Endpoint) *Endpoint {
	for {
		var e *Endpoint
		switch p.balance {
		case LeastConnections:
			e = p.leastLoaded(t, tried)
		case RandomTwo:
			e = p.lighterOfTwo(t, tried)
		case ClientHash:
			e = p.rendezvous(t, clientKey(client), tried)
		default:
			return p.nextInTurn(t, turns, tried)
		}
		// When acquire fails, others took the last places since the choice was made, and the next choice sees that.
		if e == nil || e.acquire(p.limit) {
			return e
		}
	}
}

// open reports whether e may be picked as things stand.
func (p *Pool) open(e *Endpoint, tried []*Endpoint) bool {
	return (p.limit == 0 || e.active.Load() < p.limit) && !slices.Contains(tried, e)
}

// maxTurns is how many turns of a round robin a Pick gives up before it takes whatever is left.
const maxTurns = 16

// nextInTurn takes the next turn, and another if its endpoint cannot be had. Going on from there without taking turns
// would leave the whole load of a full server to the one after it; this way the others share it by weight.
func (p *Pool) nextInTurn(t *tier, turns *atomic.Uint64, tried []*Endpoint) *Endpoint {
	for range min(len(t.slots), maxTurns) {
		e := t.turn(turns.Add(1) - 1)
		if !slices.Contains(tried, e) && e.acquire(p.limit) {
			return e
		}
	}
	d := p.roll()
	n := uint64(len(t.endpoints))
	start := d.below(n)
	for i := range n {
		e := t.endpoints[(start+i)%n].Endpoint
		if !slices.Contains(tried, e) && e.acquire(p.limit) {
			return e
		}
	}
	return nil
}

// leastLoaded returns the least loaded of the open endpoints, by chance among equals, or nil.
func (p *Pool) leastLoaded(t *tier, tried []*Endpoint) *Endpoint {
	var best candidate
	var ties uint64
	d := p.roll()
	for _, w := range t.endpoints {
		if !p.open(w.Endpoint, tried) {
			continue
		}
		c := w.candidate()
		switch {
		case best.Endpoint == nil || c.lighter(best):
			best, ties = c, 1
		case !best.lighter(c):
			// Each of n equals is left standing with probability 1/n.
			if ties++; d.below(ties) == 0 {
				best = c
			}
		}
	}
	return best.Endpoint
}

// lighterOfTwo draws two of the open endpoints and returns the less loaded, or the first if they are equal.
func (p *Pool) lighterOfTwo(t *tier, tried []*Endpoint) *Endpoint {
	d := p.roll()
	a := p.draw(t, &d, tried, nil)
	if a.Endpoint == nil {
		return nil
	}
	b := p.draw(t, &d, tried, a.Endpoint)
	if b.Endpoint != nil && b.candidate().lighter(a.candidate()) {
		return b.Endpoint
	}
	return a.Endpoint
}

// draw returns one of the open endpoints but not, each with a probability in proportion to its weight. One pass does
// for that, with no total that could change meanwhile: each replaces what was drawn before it with the probability of
// its weight in the total so far.
func (p *Pool) draw(t *tier, d *dice, tried []*Endpoint, not *Endpoint) (drawn weighted) {
	var total uint64
	for _, w := range t.endpoints {
		if w.Endpoint == not || !p.open(w.Endpoint, tried) {
			continue
		}
		total += uint64(w.weight)
		if d.below(total) < uint64(w.weight) {
			drawn = w
		}
	}
	return drawn
}

// candidate is an endpoint with its load as it was when looked at: later reads may differ, and a comparison with the
// same endpoint would not be one.
type candidate struct {
	weighted
	connections int64 // the new one included
}

func (w weighted) candidate() candidate { return candidate{w, w.active.Load() + 1} }

// lighter reports whether c has fewer connections for its weight than o. The two fractions are compared crosswise.
func (c candidate) lighter(o candidate) bool {
	return c.connections*o.weight < o.connections*c.weight
}

// dice is a stream of random numbers, SplitMix64 (Steele, Lea, Flood 2014). Each Pick has its own on its stack.
type dice uint64

const splitMix = 0x9e3779b97f4a7c15

// roll starts a stream. It is one atomic addition, so that it takes no lock, and tests can fix where it begins.
func (p *Pool) roll() dice { return dice(mix(p.dice.Add(splitMix))) }

// below returns a number from 0 to n-1. n is small against 2^64, which makes the bias of the multiplication nothing.
func (d *dice) below(n uint64) uint64 {
	*d += splitMix
	hi, _ := bits.Mul64(mix(uint64(*d)), n)
	return hi
}

// mix is a bijection in which every bit of x changes about half of the bits of the result.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
