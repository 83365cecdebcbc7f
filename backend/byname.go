package backend

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"keyhole/address"
)

const (
	maxNames     = 10_000 // that a pool knows the addresses of
	maxAddresses = 16     // of a name; more than a connection tries

	minTTL = time.Second
	maxTTL = time.Hour

	missingFor = 10 * time.Second // how long a name without an address counts as one
	failedFor  = 2 * time.Second  // until a name whose look-up failed is looked up again
)

// A Waker is told that a Wait is over. It may be called from any goroutine, and must not block.
type Waker interface{ Wake() }

// byName is what a pool has whose server is {sni}: a pool for each name that clients have asked for,
// of which it keeps the last maxNames. The cache holds apart those that were asked for once from
// the others (2Q, Johnson and Shasha 1994), so that names made up by one client do not push out
// those that many ask for.
//
// A name's pool is an ordinary one. Its server has the addresses of the name as endpoints, which the
// pools of all names share, with their counts.
type byName struct {
	made
	to      Fence
	lookups *Lookups
	seed    maphash.Seed

	mu    sync.Mutex
	known *lru.TwoQueueCache[uint64, *known] // by the hash of the host: a look-up by string would allocate
	asked map[string]*question               // by host
	at    *endpoints
}

// made says how the pools of names are made.
type made struct {
	name       string
	retries    int
	balance    Balance
	limit      int64
	proxy      ProxyProtocol
	configured string
	suffix     string // with its dot
	port       uint16
	listen     bool
	family     Family
}

// known is what is known of a host: its pool, or why there is none.
type known struct {
	host  string
	pool  *Pool
	err   error
	until time.Time
}

// newByName returns nil for a pool of ordinary servers.
func newByName(c *Config) (*byName, error) {
	i := slices.IndexFunc(c.Servers, func(s ServerConfig) bool { return address.IsSNI(s.Address) })
	if i < 0 {
		return nil, nil
	}
	server := c.Servers[i].Address
	if len(c.Servers) > 1 {
		return nil, fmt.Errorf("server %q must be the only one, since it is every name", server)
	}
	a, err := address.ParseServer(server)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", server, err)
	}
	n := &byName{
		made: made{
			name: c.Name, retries: c.Retries, balance: c.Balance, limit: int64(c.MaxConnections), proxy: c.ProxyProtocol,
			configured: a.String(), port: a.Port, listen: a.Listen, family: c.Family,
		},
		to:      c.To,
		lookups: c.Lookups,
		seed:    maphash.MakeSeed(),
		asked:   map[string]*question{},
		at:      &endpoints{},
	}
	if a.Name != "" {
		n.suffix = "." + a.Name
	}
	if n.lookups == nil {
		n.lookups = &Lookups{}
	}
	n.forget()
	return n, nil
}

// ByName reports whether the pool has no servers of its own, but finds them by the name that a
// client asks for.
func (p *Pool) ByName() bool { return p.byName != nil }

// Find returns the pool of a host, which is in the normal form of routes.Normalize. p is one by
// name. The error is one of ErrNoAddress to ErrLookups, or wraps it, or ErrUnknown: then Ask.
//
// Find takes one lock, for some 100 ns, and allocates nothing.
func (p *Pool) Find(host []byte) (*Pool, error) {
	n := p.byName
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.get(n.hash(host), host)
	if k == nil || !time.Now().Before(k.until) {
		return nil, ErrUnknown
	}
	return k.pool, k.err
}

// Ask has a host resolved that Find does not know. Either it returns a Wait, and calls w once when
// that has a result, or it returns as Find does.
func (p *Pool) Ask(host []byte, w Waker) (*Wait, *Pool, error) {
	n := p.byName
	h := n.hash(host)
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.get(h, host)
	if k != nil && time.Now().Before(k.until) {
		return nil, k.pool, k.err // resolved since
	}
	wait := n.ask(h, host, w)
	switch had := k != nil && k.pool != nil; { // what it had last is better than nothing
	case had && wait != nil:
		wait.pool, wait.err = k.pool, nil
	case had:
		return nil, k.pool, nil
	case wait == nil:
		return nil, nil, ErrLookups
	}
	return wait, nil, nil
}

func (n *byName) hash(host []byte) uint64 { return maphash.Bytes(n.seed, host) }

// get returns what is known of a host, nil for nothing. The caller holds n.mu.
func (n *byName) get(h uint64, host []byte) *known {
	if k, ok := n.known.Get(h); ok && k.host == string(host) {
		return k
	}
	return nil
}

// Forget has every host resolved again: what may be reached has changed. Connections stay.
func (p *Pool) Forget() {
	if n := p.byName; n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.forget()
	}
}

func (n *byName) forget() {
	n.known, _ = lru.New2Q[uint64, *known](maxNames) // fails for a size below 1 only
}

// adopt takes over what old knows, if nothing has changed between the two, or else the endpoints of
// connections that are open.
func (p *Pool) adoptByName(old *byName) {
	n := p.byName
	switch {
	case n == nil || old == nil || n.lookups != old.lookups:
	case n.made == old.made && n.to.equal(&old.to):
		p.byName = old
	case n.configured == old.configured:
		n.at = old.at
	}
}

// A question is a host that is being resolved. The mutex of its names guards it.
type question struct {
	of    *byName
	hash  uint64
	host  string // without the suffix
	waits map[*Wait]struct{}
}

// A Wait is a connection's part in a look-up.
type Wait struct {
	q    *question
	w    Waker
	pool *Pool
	err  error
}

// ask has somebody wait for the answer to a question, new or not. It returns nil when there are too
// many. The caller holds n.mu.
func (n *byName) ask(h uint64, host []byte, w Waker) *Wait {
	q := n.asked[string(host)]
	if q == nil {
		q = &question{of: n, hash: h, host: string(host), waits: map[*Wait]struct{}{}}
		if !n.lookups.add(q) {
			return nil
		}
		n.asked[q.host] = q
	}
	wait := &Wait{q: q, w: w, err: ErrLookupTimeout}
	q.waits[wait] = struct{}{}
	return wait
}

// host returns the name that is looked up.
func (n *byName) host(q *question) string { return q.host + n.suffix }

// Result ends the wait, and returns as Find does. Before the answer that is the pool which the host
// had last, or ErrLookupTimeout.
func (w *Wait) Result() (*Pool, error) {
	n := w.q.of
	n.mu.Lock()
	defer n.mu.Unlock()
	w.leave()
	return w.pool, w.err
}

// Leave ends the wait of a connection that has ended.
func (w *Wait) Leave() {
	n := w.q.of
	n.mu.Lock()
	defer n.mu.Unlock()
	w.leave()
}

// leave forgets the question with its last wait, unless it is being answered: then its answer is of
// use to the next who asks.
func (w *Wait) leave() {
	q := w.q
	if _, waits := q.waits[w]; !waits {
		return
	}
	delete(q.waits, w)
	if len(q.waits) == 0 && q.of.lookups.drop(q) {
		delete(q.of.asked, q.host)
	}
}

// answer keeps the outcome of a look-up and wakes those who wait for it.
func (q *question) answer(a Answer, err error) {
	n := q.of
	k := &known{host: q.host, until: time.Now().Add(min(max(a.TTL, minTTL), maxTTL))}
	if err == nil {
		k.pool, k.err = n.admit(a.Addrs)
	} else {
		k.err = err
		k.until = time.Now().Add(failedFor)
		if err == ErrNoAddress {
			k.until = time.Now().Add(missingFor)
		}
	}
	n.mu.Lock()
	if err != nil && err != ErrNoAddress {
		n.keep(q, k)
	}
	n.known.Add(q.hash, k)
	delete(n.asked, q.host)
	waits := q.waits
	q.waits = nil
	for w := range waits {
		w.pool, w.err = k.pool, k.err
	}
	n.mu.Unlock()
	for w := range waits { // unlocked: there may be thousands, and the loops take the mutex
		w.w.Wake()
	}
}

// keep gives k, whose look-up failed, the pool that the host had before.
func (n *byName) keep(q *question, k *known) {
	if before := n.get(q.hash, []byte(q.host)); before != nil && before.pool != nil {
		k.pool, k.err = before.pool, nil
	}
}

// admit returns the pool of those addresses that a client may be sent to.
func (n *byName) admit(addrs []netip.Addr) (*Pool, error) {
	var aps []netip.AddrPort
	err := ErrNoAddress // of the family, if there is none
	for _, a := range addrs {
		a = a.Unmap()
		if !n.family.allows(a) {
			continue
		}
		ap := netip.AddrPortFrom(a, n.port)
		denied := n.to.check(a, n.lookups.Own)
		if denied == nil && n.lookups.Forbidden != nil && n.lookups.Forbidden(ap) {
			denied = fmt.Errorf("%s is a listener of this edge", a)
		}
		if denied != nil {
			err = &deniedError{denied}
			continue
		}
		aps = append(aps, ap)
	}
	if len(aps) == 0 {
		return nil, err
	}
	aps = aps[:min(len(aps), maxAddresses)]
	routed := slices.DeleteFunc(slices.Clone(aps), func(ap netip.AddrPort) bool { return n.lookups.Route(ap.Addr()) != nil })
	if len(routed) > 0 {
		aps = routed // else the record tells the local cause
	}
	slices.SortFunc(aps, netip.AddrPort.Compare)
	return n.pool(slices.Compact(aps)), nil
}

// A deniedError is ErrDenied with the address.
type deniedError struct{ cause error }

func (e *deniedError) Error() string        { return e.cause.Error() }
func (e *deniedError) Is(target error) bool { return target == ErrDenied }

// pool makes a pool of one server at aps.
func (n *byName) pool(aps []netip.AddrPort) *Pool {
	s := &server{key: n.configured, configured: n.configured, hash: hashString(n.configured), port: n.port, listen: n.listen, weight: 1}
	for _, ap := range aps {
		s.endpoints = append(s.endpoints, n.at.endpoint(s, ap))
	}
	p := &Pool{name: n.name, retries: n.retries, balance: n.balance, limit: n.limit, proxy: n.proxy, servers: []*server{s}}
	p.rank(make([]ServerConfig, len(p.servers)))
	p.dice.Store(rand.Uint64())
	p.publish()
	return p
}
