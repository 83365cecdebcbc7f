package backend

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
)

// MaxShare is the largest weight of a pool in a Split: a share of one in a thousand is sayable.
const MaxShare = 1000

// FirstSplit is the number of the first Split where pools and splits are numbered together, as by
// the backend of a route.
const FirstSplit = 1 << 30

// A Split shares clients among pools by weight: a canary gets one in ten. It does not look at the
// servers: a client whose pool has none left gets no other pool.
type Split struct {
	parts  []part
	total  uint64
	sticky bool
}

// A part is a pool with its share of a Split.
type part struct {
	pool   *Pool
	weight uint64
	hash   uint64 // of the pool's name
}

// NewSplit returns a Split among pools. The weights, 0 to MaxShare, are in the order of the pools; a
// pool of weight 0 gets no client. A sticky Split sends a client always to the same pool, on every
// edge alike, and a changed weight moves no more clients than it must; any other Split draws a pool
// for each connection.
func NewSplit(pools []*Pool, weights []int, sticky bool) (*Split, error) {
	s := &Split{sticky: sticky}
	for i, p := range pools {
		w := weights[i]
		if w < 0 || w > MaxShare {
			return nil, fmt.Errorf("backend %q: share %d is out of range, want 0 to %d", p.name, w, MaxShare)
		}
		if w > 0 {
			s.parts = append(s.parts, part{p, uint64(w), hashString(p.name)})
			s.total += uint64(w)
		}
	}
	if s.total == 0 {
		return nil, fmt.Errorf("no backend of %d has a share above 0", len(pools))
	}
	return s, nil
}

// Pick chooses the pool of a connection of client. It takes no lock and allocates nothing.
func (s *Split) Pick(client netip.Addr) *Pool {
	if s.sticky {
		return s.rendezvous(clientKey(client))
	}
	n := rand.Uint64N(s.total)
	for _, p := range s.parts[:len(s.parts)-1] {
		if n < p.weight {
			return p.pool
		}
		n -= p.weight
	}
	return s.parts[len(s.parts)-1].pool
}

// rendezvous returns the pool with the highest score for key; see [Pool.rendezvous].
func (s *Split) rendezvous(key uint64) (best *Pool) {
	bestScore := -1.0
	for _, p := range s.parts {
		if score := -float64(p.weight) / math.Log(unit(key, p.hash)); score > bestScore {
			best, bestScore = p.pool, score
		}
	}
	return best
}
