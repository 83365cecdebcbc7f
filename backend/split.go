package backend

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
)

// MaxShare is the largest weight of a Share: one in a thousand can be said.
const MaxShare = 1000

// FirstSplit is the number of the first Split where pools and splits are numbered together, as by
// the backend of a route.
const FirstSplit = 1 << 30

// A Share is what one pool of a Split gets.
type Share struct {
	Name   string // of the pool; a sticky Split hashes it
	Pool   int    // the number that Pick returns
	Weight int    // against the other shares, 0 to MaxShare; zero: no client
}

// A Split shares clients among pools by weight: a canary gets one in ten. It does not look at the
// servers: a client whose pool has none left gets no other pool.
type Split struct {
	shares []weightedShare // those with a weight
	total  uint64
	sticky bool
}

type weightedShare struct {
	pool   int
	weight uint64
	hash   uint64 // of the pool's name
}

// NewSplit returns a Split, of which one weight at least is above 0. A sticky Split sends a client
// always to the same pool, on every edge alike, and a changed weight moves no more clients than it
// must; any other Split draws a pool for each connection.
func NewSplit(shares []Share, sticky bool) (*Split, error) {
	s := &Split{sticky: sticky}
	for _, p := range shares {
		if p.Weight < 0 || p.Weight > MaxShare {
			return nil, fmt.Errorf("backend %q: weight %d is out of range, want 0 to %d", p.Name, p.Weight, MaxShare)
		}
		if p.Weight > 0 {
			s.shares = append(s.shares, weightedShare{p.Pool, uint64(p.Weight), hashString(p.Name)})
			s.total += uint64(p.Weight)
		}
	}
	if s.total == 0 {
		return nil, errors.New("no backend of the split has a weight above 0")
	}
	return s, nil
}

// Pick returns the number of the pool for a connection of client. It takes no lock and allocates
// nothing.
func (s *Split) Pick(client netip.Addr) int {
	if s.sticky {
		return s.rendezvous(clientKey(client))
	}
	n := rand.Uint64N(s.total)
	last := len(s.shares) - 1
	for _, p := range s.shares[:last] {
		if n < p.weight {
			return p.pool
		}
		n -= p.weight
	}
	return s.shares[last].pool
}

// rendezvous returns the pool with the highest score for key; see [Pool.rendezvous].
func (s *Split) rendezvous(key uint64) (best int) {
	bestScore := -1.0
	for _, p := range s.shares {
		if score := -float64(p.weight) / math.Log(unit(key, p.hash)); score > bestScore {
			best, bestScore = p.pool, score
		}
	}
	return best
}
