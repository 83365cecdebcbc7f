package backend

import (
	"fmt"
	"net/netip"
	"slices"
)

// server is one entry of a pool's list. Its lists of endpoints are guarded by the pool's mutex.
type server struct {
	address
	key        string
	configured string
	hash       uint64 // of key
	weight     int
	backup     bool

	endpoints []*Endpoint // in order of address
	gone      []*Endpoint // left the answers with connections open; back in use should the address return
}

func newServer(c ServerConfig) (*server, error) {
	a, err := parseAddress(c.Address)
	if err != nil {
		return nil, err
	}
	if c.Weight < 0 || c.Weight > maxWeight {
		return nil, fmt.Errorf("weight %d is out of range, want 1 to %d", c.Weight, maxWeight)
	}
	s := &server{
		address:    a,
		key:        a.key(),
		configured: c.Address,
		hash:       hashString(a.key()),
		weight:     max(c.Weight, 1),
		backup:     c.Backup,
	}
	switch {
	case a.path != "":
		s.set([]netip.AddrPort{{}})
	case a.host == "":
		s.set([]netip.AddrPort{netip.AddrPortFrom(a.ip, a.port)})
	}
	return s, nil
}

// set makes aps, which set may reorder, the server's addresses, and reports whether they are others than before. An
// address that stays keeps its endpoint. So does one that comes back while connections to it are open: a name server
// that answers with a changing part of a long list would defeat MaxConnections otherwise.
func (s *server) set(aps []netip.AddrPort) (changed bool) {
	slices.SortFunc(aps, netip.AddrPort.Compare)
	aps = slices.Compact(aps)
	known := slices.Concat(s.endpoints, s.gone)
	endpoints := make([]*Endpoint, len(aps))
	for i, ap := range aps {
		at := func(e *Endpoint) bool { return e.AddrPort == ap }
		if k := slices.IndexFunc(known, at); k >= 0 {
			endpoints[i] = known[k]
		} else {
			endpoints[i] = newEndpoint(s, ap)
		}
	}
	changed = !slices.Equal(endpoints, s.endpoints)
	s.endpoints = endpoints
	s.gone = slices.DeleteFunc(known, func(e *Endpoint) bool {
		return e.active.Load() == 0 || slices.Contains(endpoints, e)
	})
	return changed
}

// adopt takes over the endpoints that old has at the same addresses, and the addresses themselves if s has none yet.
func (s *server) adopt(old *server) {
	from := s.endpoints
	if len(from) == 0 {
		from = old.endpoints
	}
	aps := make([]netip.AddrPort, len(from))
	for i, e := range from {
		aps[i] = e.AddrPort
	}
	s.endpoints, s.gone = old.endpoints, slices.Concat(old.gone, s.endpoints) // where set looks, in this order
	s.set(aps)
}
