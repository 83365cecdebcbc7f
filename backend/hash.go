package backend

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"net/netip"
)

// rendezvous returns the open endpoint with the highest score for key, or nil (highest random
// weight hashing, Thaler and Ravishankar 1998). A server's score does not depend on the other
// servers, so a server that goes leaves the clients of the others where they are, and a server that
// comes takes only its share.
//
// The score of a server of weight w is -w/ln(u), where u in (0, 1) is hashed from key and server. A
// server has the largest score with the probability of its w in the sum of all (weighted rendezvous
// hashing).
//
// It chooses the server first, by weight, then the address in it. If all addresses were in one
// draw, a name whose address changes would scatter its clients over the pool.
func (p *Pool) rendezvous(t *tier, key uint64, f *filter) (best *Endpoint) {
	var bestScore float64
	for _, g := range t.groups {
		u, weight := unit(key, g.hash), float64(g.weight)
		// -ln(u) is never less than 1-u, which is quicker to compute and excludes most servers.
		if best != nil && weight/(1-u) <= bestScore {
			continue
		}
		score := -weight / math.Log(u)
		if best != nil && score <= bestScore {
			continue
		}
		if e := p.rendezvousIn(t.endpoints[g.first:g.first+g.size], key, f); e != nil {
			best, bestScore = e, score
		}
	}
	return best
}

// rendezvousIn chooses among the addresses of one server, which have equal weights.
func (p *Pool) rendezvousIn(ws []weighted, key uint64, f *filter) (best *Endpoint) {
	var bestHash uint64
	for _, w := range ws {
		h := mix(key ^ w.hash)
		if (best == nil || h > bestHash) && open(w.Endpoint, p.limit, f) {
			best, bestHash = w.Endpoint, h
		}
	}
	return best
}

// unit hashes the keys of a client and of a choice to a number between 0 and 1, neither included:
// 52 bits and the half are exact in a float.
func unit(client, choice uint64) float64 {
	return (float64(mix(client^choice)>>12) + 0.5) / (1 << 52)
}

// clientKey hashes an IPv4 address, which may be mapped into IPv6, or the /64 network of an IPv6
// address. It is the same in every process, so that all edges send a client to the same server.
func clientKey(client netip.Addr) uint64 {
	client = client.Unmap()
	if client.Is4() {
		b := client.As4()
		return mix(uint64(binary.BigEndian.Uint32(b[:])))
	}
	b := client.As16()
	return mix(binary.BigEndian.Uint64(b[:8]))
}

// hashString is FNV-1a, mixed because similar strings have similar sums.
func hashString(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return mix(h.Sum64())
}
