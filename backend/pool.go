package backend

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Pool is a set of servers that can replace each other. New makes one. Any goroutine may call its
// methods.
type Pool struct {
	name    string
	retries int
	balance Balance
	limit   int64 // of connections to one endpoint; zero: none
	proxy   ProxyProtocol

	current atomic.Pointer[snapshot]
	mark    atomic.Uint64 // not 0: an endpoint may be doubted; see doubts
	marks   atomic.Uint64 // the last one stored

	mu      sync.Mutex // guards the servers and the order of stores to current; Pick does not lock it
	servers []*server  // the slice itself never changes

	byName *byName // nil for ordinary servers; then the only one, and set before the first Pick

	turns []turns // for each tier

	// Every Pick writes the counter. The padding keeps it off the cache line that every Pick reads.
	_    [64]byte
	dice atomic.Uint64 // see roll
}

// turns counts the turns of a round robin. Every Pick writes it, so it fills a cache line.
type turns struct {
	atomic.Uint64
	_ [56]byte
}

// New makes a pool. A Resolver or Adopt adds the endpoints of host:port servers later. The error
// names the pool, the server and the remedy.
func New(c Config) (*Pool, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("backend %q: %w", c.Name, err)
	}
	p := &Pool{name: c.Name, retries: c.Retries, balance: c.Balance, limit: int64(c.MaxConnections), proxy: c.ProxyProtocol}
	var err error
	if p.byName, err = newByName(&c); err != nil {
		return nil, fmt.Errorf("backend %q: %w", c.Name, err)
	}
	if p.byName != nil {
		c.Servers = nil
	}
	for _, sc := range c.Servers {
		s, err := newServer(sc)
		if err != nil {
			return nil, fmt.Errorf("backend %q: server %q: %w", c.Name, sc.Address, err)
		}
		if p.server(s.key) != nil {
			return nil, fmt.Errorf("backend %q: server %q is listed twice, give it a weight instead", c.Name, sc.Address)
		}
		p.servers = append(p.servers, s)
	}
	p.rank(c.Servers)
	p.dice.Store(rand.Uint64())
	p.publish()
	return p, nil
}

// rank gives each server its tier: that of its backup rank among those there are.
func (p *Pool) rank(configured []ServerConfig) {
	var ranks []int
	for _, c := range configured {
		ranks = append(ranks, c.Backup)
	}
	slices.Sort(ranks)
	ranks = slices.Compact(ranks)
	for i, c := range configured {
		p.servers[i].tier, _ = slices.BinarySearch(ranks, c.Backup)
	}
	p.turns = make([]turns, len(ranks))
	for i := range p.turns {
		p.turns[i].Store(uint64(rand.Uint32()))
	}
}

// Name returns the pool's name as configured.
func (p *Pool) Name() string { return p.name }

// Retries returns how many more servers a connection should try after the first.
func (p *Pool) Retries() int { return p.retries }

// ProxyProtocol returns the header that the servers expect before a client's bytes.
func (p *Pool) ProxyProtocol() ProxyProtocol { return p.proxy }

// Adopt takes over the endpoints that the pool has in common with old, a pool of the previous
// configuration. Both pools then share the endpoint of a server at an address, with its count of
// connections. A name that is not resolved yet gets the addresses that it has in old. Weights and
// limits are the new pool's own. Of a pool by name the new one takes over all that old knows, if
// both are configured alike. Nil has nothing in common.
//
// Call it before Resolver.Resolve and before the first Pick: a connection picked earlier stays
// counted on the endpoint that Adopt replaces. Old may stay in use until its last connection is
// released.
func (p *Pool) Adopt(old *Pool) {
	if old == nil || old == p {
		return
	}
	p.adoptByName(old.byName)
	before := old.copyServers()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.servers {
		i := slices.IndexFunc(before, func(o server) bool { return o.key == s.key })
		if i >= 0 {
			s.adopt(&before[i])
		}
	}
	p.publish()
}

// copyServers returns a copy of the servers, so that Adopt need not hold two mutexes at once.
func (p *Pool) copyServers() []server {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]server, len(p.servers))
	for i, s := range p.servers {
		all[i] = *s
	}
	return all
}

// server returns the server with that key, or nil.
func (p *Pool) server(key string) *server {
	for _, s := range p.servers {
		if s.key == key {
			return s
		}
	}
	return nil
}

// update gives s, a server of p, the addresses aps.
func (p *Pool) update(s *server, aps []netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.set(aps) {
		p.publish()
	}
}

// drop removes every forbidden endpoint from the pool, and returns them.
func (p *Pool) drop(forbidden func(netip.AddrPort) bool) (dropped []*Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.servers {
		var keep []netip.AddrPort
		for _, e := range s.endpoints {
			if e.Path == "" && forbidden(e.AddrPort) {
				dropped = append(dropped, e)
			} else {
				keep = append(keep, e.AddrPort)
			}
		}
		s.set(keep)
	}
	if len(dropped) > 0 {
		p.publish()
	}
	return dropped
}

// resolved reports whether s, a server of p, has an address.
func (p *Pool) resolved(s *server) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(s.endpoints) > 0
}

// publish shows Pick the present servers. The caller holds p.mu, or p is not shared yet.
func (p *Pool) publish() {
	p.current.Store(newSnapshot(p.servers, p.balance, p.turns))
	p.doubt() // an endpoint that comes from another pool, or returns, may have timed out
}
