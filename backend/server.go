package backend

import (
	"fmt"
	"net/netip"
	"slices"

	"keyhole/address"
)

// server is one entry of a pool's list. The pool's mutex guards its lists of endpoints.
type server struct {
	key        string // the address in its one spelling
	configured string // the address as configured
	host       string // to be resolved; empty for an IP address and a Unix socket
	path       string // of a Unix socket
	port       uint16
	listen     bool   // the port is that of the client's listener, and port is 0
	hash       uint64 // of key
	weight     int
	tier       int // where the backup rank stands among those of its pool

	endpoints []*Endpoint // in order of address
	gone      []*Endpoint // whose address left the answers while connections were open; used again if it returns
}

func newServer(c ServerConfig) (*server, error) {
	a, err := address.ParseServer(c.Address)
	if err != nil {
		return nil, err
	}
	if c.Weight < 0 || c.Weight > MaxWeight {
		return nil, fmt.Errorf("weight %d is out of range, want 1 to %d", c.Weight, MaxWeight)
	}
	if c.Backup < 0 || c.Backup > MaxBackup {
		return nil, fmt.Errorf("backup %d is out of range, want 0 to %d", c.Backup, MaxBackup)
	}
	s := &server{
		key:        a.String(),
		configured: c.Address,
		host:       a.Name,
		path:       a.Path,
		port:       a.Port,
		listen:     a.Listen,
		hash:       hashString(a.String()),
		weight:     max(c.Weight, 1),
	}
	if a.Name == "" {
		s.set([]netip.AddrPort{netip.AddrPortFrom(a.IP, a.Port)}) // zero for a Unix socket
	}
	return s, nil
}

// set replaces the addresses with aps, sorting it, and reports whether they changed. An address
// that stays keeps its endpoint. So does one that returns while connections to it are open:
// otherwise a name server that answers with a changing part of a long list would defeat
// MaxConnections.
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

// adopt takes over the endpoints that old has at the addresses of s. If s has none yet, it takes
// over the addresses.
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

// checkIP reports an address in the answer of a name server that no server can have.
func checkIP(ip netip.Addr) error { return address.CheckServer(ip) }
