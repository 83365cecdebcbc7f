package backend

import (
	"net/netip"
	"runtime"
	"sync"
	"weak"
)

// endpoints has the endpoint of each address for as long as a pool or a connection has it: a name
// that was forgotten while connections to it are open comes back with their count. Several names may
// have one address. The zero value works.
type endpoints struct {
	mu  sync.Mutex
	all map[netip.AddrPort]weak.Pointer[Endpoint]
}

// endpoint returns that of s at ap, which it makes if there is none.
func (x *endpoints) endpoint(s *server, ap netip.AddrPort) *Endpoint {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.all[ap].Value(); e != nil {
		return e
	}
	if x.all == nil {
		x.all = map[netip.AddrPort]weak.Pointer[Endpoint]{}
	}
	e := newEndpoint(s, ap)
	x.all[ap] = weak.Make(e)
	runtime.AddCleanup(e, x.forget, ap)
	return e
}

// forget follows the collection of an endpoint of ap, which may have another by now.
func (x *endpoints) forget(ap netip.AddrPort) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all[ap].Value() == nil {
		delete(x.all, ap)
	}
}

func (x *endpoints) len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.all)
}
