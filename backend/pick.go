package backend

import (
	"math/bits"
	"net/netip"
	"slices"
)

// Pick chooses an endpoint for a connection of client and counts the connection on it, until
// Release. It passes over the endpoints in tried, in the order in which they were, and those that
// have MaxConnections already. It returns nil when there is none left. The client matters to
// ClientHash only.
//
// Endpoints whose last dial timed out come last (see [Endpoint.TimedOut]), and backups after the
// servers of a lower rank. Among servers of one rank, an endpoint of the address family that the last in
// tried has comes after the others: a machine without a route to one family fails on all of it.
//
// Pick costs time in proportion to the number of endpoints, but for RoundRobin, which as a rule
// takes the next in turn.
func (p *Pool) Pick(client netip.Addr, tried []*Endpoint) *Endpoint {
	if len(tried) > 0 || p.mark.Load() != 0 {
		return p.pickFiltered(client, tried)
	}
	s := *p.current.Load()
	for i := range s {
		if e := p.pickFrom(&s[i], client, nil); e != nil {
			return e
		}
	}
	return nil
}

// pickFiltered is Pick when not every endpoint is as good as another.
func (p *Pool) pickFiltered(client netip.Addr, tried []*Endpoint) *Endpoint {
	f := filter{tried: tried, passDoubted: p.doubts()}
	s := *p.current.Load()
	e := p.pickInOrder(s, client, &f)
	if e == nil && f.passDoubted {
		f.passDoubted = false
		e = p.pickInOrder(s, client, &f)
	}
	if e != nil {
		e.probe()
	}
	return e
}

// pickInOrder goes through the tiers, and in each takes the family of the endpoint tried last after
// the others.
func (p *Pool) pickInOrder(s snapshot, client netip.Addr, f *filter) *Endpoint {
	for i := range s {
		t := &s[i]
		if t.mixed && f.avoidLast() {
			e := p.pickFrom(t, client, f)
			f.avoid = NoFamily
			if e != nil {
				return e
			}
		}
		if e := p.pickFrom(t, client, f); e != nil {
			return e
		}
	}
	return nil
}

// PickAgain is Pick for a connection that has tried every endpoint there is. It takes the last one
// tried only when there is no other.
func (p *Pool) PickAgain(client netip.Addr, tried []*Endpoint) *Endpoint {
	if len(tried) > 0 {
		if e := p.Pick(client, tried[len(tried)-1:]); e != nil {
			return e
		}
	}
	return p.Pick(client, nil)
}

// HasOther reports whether Pick has an endpoint for a connection that has tried those in tried and
// is dialing current, so that waiting long for current is no use. An endpoint whose last dial timed
// out is no alternative to one that is well.
func (p *Pool) HasOther(tried []*Endpoint, current *Endpoint) bool {
	f := filter{tried: tried, passDoubted: !current.doubted()}
	for _, t := range *p.current.Load() {
		for _, w := range t.endpoints {
			if w.Endpoint != current && open(w.Endpoint, p.limit, &f) {
				return true
			}
		}
	}
	return false
}

func (p *Pool) pickFrom(t *tier, client netip.Addr, f *filter) *Endpoint {
	for {
		var e *Endpoint
		switch p.balance {
		case LeastConnections:
			e = p.leastLoaded(t, f)
		case RandomTwo:
			e = p.lighterOfTwo(t, f)
		case ClientHash:
			e = p.rendezvous(t, clientKey(client), f)
		default:
			if f == nil || f.avoid == NoFamily {
				return p.nextInTurn(t, f)
			}
			e = p.anyByWeight(t, f) // the family that is passed over would lose its turns
		}
		// If acquire fails, other connections took the last places after the choice; the next
		// choice sees that.
		if e == nil || e.acquire(p.limit) {
			return e
		}
	}
}

// A filter says which endpoints a choice may take. Nil takes all of them.
type filter struct {
	tried       []*Endpoint
	avoid       Family // NoFamily: none
	passDoubted bool
}

// avoidLast makes the filter pass over the family of the endpoint tried last. It reports false if
// that has none.
func (f *filter) avoidLast() bool {
	if n := len(f.tried); n > 0 {
		f.avoid = f.tried[n-1].family()
	}
	return f.avoid != NoFamily
}

func (f *filter) allows(e *Endpoint) bool {
	return !slices.Contains(f.tried, e) && (f.avoid == NoFamily || e.family() != f.avoid) && !(f.passDoubted && e.doubted())
}

// open reports whether e may be picked as things stand. It is just short enough for the compiler to
// inline it.
func open(e *Endpoint, limit int64, f *filter) bool {
	return (limit == 0 || e.active.Load() < limit) && (f == nil || f.allows(e))
}

// maxTurns is how many turns of a round robin a Pick gives up before it takes whatever is left.
const maxTurns = 16

// nextInTurn takes the next turn, and further turns while their endpoints cannot be had. If it went
// on to the neighbour instead, the server after a full one would get the whole load of that; this
// way the others share it by weight.
func (p *Pool) nextInTurn(t *tier, f *filter) *Endpoint {
	for range min(len(t.slots), maxTurns) {
		e := t.turn(t.turns.Add(1) - 1)
		if (f == nil || f.allows(e)) && e.acquire(p.limit) {
			return e
		}
	}
	d := p.roll()
	n := uint64(len(t.endpoints))
	start := d.below(n)
	for i := range n {
		e := t.endpoints[(start+i)%n].Endpoint
		if (f == nil || f.allows(e)) && e.acquire(p.limit) {
			return e
		}
	}
	return nil
}

// anyByWeight returns an open endpoint at random, or nil.
func (p *Pool) anyByWeight(t *tier, f *filter) *Endpoint {
	d := p.roll()
	return p.draw(t, &d, f, nil).Endpoint
}

// leastLoaded returns the least loaded open endpoint, a random one among equals, or nil.
func (p *Pool) leastLoaded(t *tier, f *filter) *Endpoint {
	var best candidate
	var ties uint64
	d := p.roll()
	for _, w := range t.endpoints {
		if !open(w.Endpoint, p.limit, f) {
			continue
		}
		c := w.candidate()
		switch {
		case best.Endpoint == nil || c.lighter(best):
			best, ties = c, 1
		case !best.lighter(c):
			// Each of n equals remains with probability 1/n.
			if ties++; d.below(ties) == 0 {
				best = c
			}
		}
	}
	return best.Endpoint
}

// lighterOfTwo draws two open endpoints and returns the less loaded, or the first if they are
// equal.
func (p *Pool) lighterOfTwo(t *tier, f *filter) *Endpoint {
	d := p.roll()
	a := p.draw(t, &d, f, nil)
	if a.Endpoint == nil {
		return nil
	}
	b := p.draw(t, &d, f, a.Endpoint)
	if b.Endpoint != nil && b.candidate().lighter(a.candidate()) {
		return b.Endpoint
	}
	return a.Endpoint
}

// draw picks an open endpoint other than except at random, by weight. It takes one pass, so that no
// total can change meanwhile: each endpoint replaces the one drawn before it with the probability
// of its weight in the total so far.
func (p *Pool) draw(t *tier, d *dice, f *filter, except *Endpoint) (drawn weighted) {
	var total uint64
	for _, w := range t.endpoints {
		if w.Endpoint == except || !open(w.Endpoint, p.limit, f) {
			continue
		}
		total += uint64(w.weight)
		if d.below(total) < uint64(w.weight) {
			drawn = w
		}
	}
	return drawn
}

// candidate is an endpoint with its load as it was when it was looked at: a later read may differ,
// and an endpoint could seem lighter than itself.
type candidate struct {
	weighted
	connections int64 // the new one included
}

func (w weighted) candidate() candidate { return candidate{w, w.active.Load() + 1} }

// lighter reports whether c has fewer connections for its weight than o. The two fractions are
// compared crosswise.
func (c candidate) lighter(o candidate) bool {
	return c.connections*o.weight < o.connections*c.weight
}

// dice is a stream of random numbers, SplitMix64 (Steele, Lea, Flood 2014). Each Pick has its own
// on its stack.
type dice uint64

const splitMix = 0x9e3779b97f4a7c15

// roll starts a stream with one atomic addition. It takes no lock, and tests can set where it
// begins.
func (p *Pool) roll() dice { return dice(mix(p.dice.Add(splitMix))) }

// below returns a number from 0 to n-1. As n is small against 2^64, the bias of the multiplication
// does not matter.
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
