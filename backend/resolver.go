package backend

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	defaultRefresh  = 30 * time.Second
	firstRetry      = time.Second      // after a failed look-up; doubled up to Refresh by each further one
	lookupTimeout   = 11 * time.Second // of one look-up: Go gives each name server 5 s, so a second one can answer
	parallelLookups = 32               // at one time
)

var errNoAddress = errors.New("no usable address in the answer")

// Resolver looks up the names of host:port servers and gives their pools the addresses. A name that
// several servers share is looked up once, even across pools. Set the fields, call Resolve once or
// not at all, then Run; the fields must not change after that.
//
// A look-up that fails, or whose answer has no usable address, changes nothing: the servers keep
// their addresses. The log tells when a name begins to fail and when it resolves again. The order
// of an answer does not matter.
//
// Addresses that this machine has no route to are left out while the answer has others. Each
// refresh tries them again, so they come back with the route.
type Resolver struct {
	Pools []*Pool

	// Lookup returns the addresses of a host. It must return when ctx ends. Nil:
	// net.DefaultResolver.LookupNetIP.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// Family is that of the addresses which are taken from answers. Zero: any.
	Family Family

	// Route returns an error when this machine has no route to an address. Nil: the kernel is
	// asked; nothing is sent.
	Route func(netip.Addr) error

	// Refresh is the time between two look-ups of a name, give or take a fifth at random. After a
	// failure it is 1 s, and twice as long after each further one, up to Refresh. Zero or less: 30
	// s.
	Refresh time.Duration

	// Forbidden reports the addresses that no server may have: those of the edge's own listeners,
	// since a connection to them goes round in circles. They are dropped from answers, and from the
	// servers that Pools start with, and logged. Port 0 stands for that of each listener. Nil: none is
	// forbidden.
	Forbidden func(netip.AddrPort) bool

	Log *slog.Logger // nil: slog.Default()

	start sync.Once
	names []*name

	mu      sync.Mutex
	cutting [families]int // by family: how many names have addresses of it left out
}

// name is a host name and the servers that have it. It belongs to one goroutine at a time.
type name struct {
	host     string
	uses     []use
	due      time.Time        // of the next look-up; zero: at once
	failures int              // since the last good answer
	dropped  []netip.AddrPort // forbidden addresses of the last answer
	cut      [families]bool   // by family: addresses of the last answer were left out for want of a route
}

type use struct {
	pool   *Pool
	server *server
}

// known reports whether a server of n has an address.
func (n *name) known() bool {
	return slices.ContainsFunc(n.uses, func(u use) bool { return u.pool.resolved(u.server) })
}

// missing reports whether a server of n has no address.
func (n *name) missing() bool {
	return slices.ContainsFunc(n.uses, func(u use) bool { return !u.pool.resolved(u.server) })
}

// Resolve looks up, once and many at a time, the names of servers that have no address yet. It
// returns after the last answer or when ctx ends. Run looks up the names that Resolve did not
// finish, the untried ones first.
func (r *Resolver) Resolve(ctx context.Context) {
	r.start.Do(r.prepare)
	work := make(chan *name)
	wait := r.work(ctx, work, func(*name) {})
	defer wait()
	defer close(work)
	for _, n := range r.names {
		if !n.missing() {
			continue
		}
		select {
		case work <- n:
		case <-ctx.Done():
			return
		}
	}
}

// Run looks up every name time and again until ctx ends. It returns ctx.Err(), after the last
// look-up has returned.
func (r *Resolver) Run(ctx context.Context) error {
	r.start.Do(r.prepare)
	queue := byDue(slices.Clone(r.names))
	heap.Init(&queue)
	work := make(chan *name)
	done := make(chan *name, len(r.names)) // room for all: nobody receives after the end
	wait := r.work(ctx, work, func(n *name) { done <- n })
	defer wait()
	defer close(work)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var next *name
		var out chan *name // nil unless next is due
		if len(queue) > 0 {
			next = queue[0]
			if early := time.Until(next.due); early > 0 {
				timer.Reset(early)
			} else {
				out = work
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case out <- next:
			heap.Pop(&queue)
		case n := <-done:
			heap.Push(&queue, n)
		case <-timer.C:
		}
	}
}

// prepare drops what is forbidden from the start and collects the names.
func (r *Resolver) prepare() {
	byHost := make(map[string]*name)
	for _, p := range r.Pools {
		if r.Forbidden != nil {
			for _, e := range p.drop(r.Forbidden) {
				r.logDropped(p.name, e.Server, e.AddrPort)
			}
		}
		for _, s := range p.servers {
			if s.host == "" {
				continue
			}
			n := byHost[s.host]
			if n == nil {
				n = &name{host: s.host}
				byHost[s.host] = n
				r.names = append(r.names, n)
			}
			n.uses = append(n.uses, use{p, s})
		}
	}
}

// work starts the workers that refresh the names sent to them. The returned function waits for the
// workers, which exit when names is closed.
func (r *Resolver) work(ctx context.Context, names <-chan *name, done func(*name)) (wait func()) {
	var wg sync.WaitGroup
	for range min(parallelLookups, len(r.names)) {
		wg.Go(func() {
			for n := range names {
				r.refresh(ctx, n)
				done(n)
			}
		})
	}
	return wg.Wait
}

// refresh looks n up and sets when it is due again.
func (r *Resolver) refresh(ctx context.Context, n *name) {
	addrs, err := r.lookup(ctx, n.host)
	if err != nil && ctx.Err() != nil {
		n.due = time.Now() // cut short, which says nothing about the name
		return
	}
	if err == nil && !r.apply(n, addrs) {
		err = errNoAddress
	}
	r.note(n, err)
	n.due = time.Now().Add(r.interval(n.failures))
}

func (r *Resolver) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if r.Lookup != nil {
		return r.Lookup(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, r.Family.Network(), host)
}

// apply gives the servers of n the usable ones of addrs, and reports whether any server got one. A
// server that gets none keeps its addresses.
func (r *Resolver) apply(n *name, addrs []netip.Addr) (ok bool) {
	addrs = r.routed(n, r.usable(addrs))
	var dropped []netip.AddrPort
	for _, u := range n.uses {
		var aps []netip.AddrPort
		for _, a := range addrs {
			ap := netip.AddrPortFrom(a, u.server.port)
			if r.Forbidden == nil || !r.Forbidden(ap) {
				aps = append(aps, ap)
				continue
			}
			if !slices.Contains(n.dropped, ap) && !slices.Contains(dropped, ap) {
				r.logDropped(u.pool.name, u.server.configured, ap)
			}
			dropped = append(dropped, ap)
		}
		if len(aps) > 0 {
			u.pool.update(u.server, aps)
			ok = true
		}
	}
	n.dropped = dropped
	return ok
}

// usable returns the addresses that a server can be at, none of them IPv4-mapped.
func (r *Resolver) usable(addrs []netip.Addr) []netip.Addr {
	var all []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.IsValid() && checkIP(a) == nil && r.Family.allows(a) {
			all = append(all, a)
		}
	}
	return all
}

// note counts failures, and logs the first of several and the end of them.
func (r *Resolver) note(n *name, err error) {
	switch {
	case err == nil:
		if n.failures > 0 {
			r.log().Info("name resolves again", "name", n.host)
		}
		n.failures = 0
		return
	case n.failures > 0:
	case n.known():
		r.log().Warn("name does not resolve, its servers keep their addresses", "name", n.host, "err", err)
	default:
		r.log().Warn("name does not resolve, its servers have no address yet", "name", n.host, "err", err)
	}
	n.failures++
}

// interval returns the time to the next look-up: Refresh, or less after a failure, give or take a
// fifth.
func (r *Resolver) interval(failures int) time.Duration {
	d := r.Refresh
	if d <= 0 {
		d = defaultRefresh
	}
	if failures > 0 {
		d = min(d, firstRetry<<min(failures-1, 16))
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func (r *Resolver) logDropped(pool, server string, ap netip.AddrPort) {
	r.log().Warn("server address is a listener of this edge, dropped; name the origin's own address or another port",
		"backend", pool, "server", server, "address", ap)
}

func (r *Resolver) log() *slog.Logger {
	if r.Log != nil {
		return r.Log
	}
	return slog.Default()
}

// byDue is a heap of names, the one due first on top.
type byDue []*name

func (q byDue) Len() int           { return len(q) }
func (q byDue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q byDue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *byDue) Push(x any)        { *q = append(*q, x.(*name)) }
func (q *byDue) Pop() any {
	last := len(*q) - 1
	n := (*q)[last]
	*q = (*q)[:last]
	return n
}
