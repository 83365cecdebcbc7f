package backend

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// routed returns those of addrs, the answer for n, that this machine has a route to. When none has
// one it returns all: the connection's record then tells the local cause.
func (r *Resolver) routed(n *name, addrs []netip.Addr) []netip.Addr {
	var cut [families]error
	routed := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool {
		err := r.route(a)
		if err != nil {
			cut[familyOf(a)] = err
		}
		return err != nil
	})
	if len(routed) == 0 {
		return addrs
	}
	r.noteCut(n, cut)
	return routed
}

func (r *Resolver) route(a netip.Addr) error {
	if r.Route != nil {
		return r.Route(a)
	}
	return kernelRoute(a)
}

// noteCut logs the first name that loses addresses of a family, and the last one that gets them
// back.
func (r *Resolver) noteCut(n *name, cut [families]error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for f, err := range cut {
		switch {
		case err != nil && !n.cut[f]:
			if r.cutting[f]++; r.cutting[f] == 1 {
				r.log().Warn("no route to "+Family(f).String()+" addresses, they are left out", "name", n.host, "err", err)
			}
		case err == nil && n.cut[f]:
			if r.cutting[f]--; r.cutting[f] == 0 {
				r.log().Info("no " + Family(f).String() + " address is left out any more")
			}
		}
		n.cut[f] = err != nil
	}
}

// noRoute are the kernel's answers for a destination that no packet can be sent to: no route, one
// that is unreachable, prohibited or a blackhole, no such family, and no source address of the
// family.
var noRoute = []error{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EACCES, syscall.EINVAL, syscall.EAFNOSUPPORT,
	syscall.EADDRNOTAVAIL}

// kernelRoute connects a UDP socket to a, which looks up a route and sends nothing. It returns the
// error when there is none. Any other failure, such as a lack of descriptors, says nothing about
// the route.
func kernelRoute(a netip.Addr) error {
	const discard = 9 // any port does
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, discard)))
	if err == nil {
		c.Close()
		return nil
	}
	if slices.ContainsFunc(noRoute, func(e error) bool { return errors.Is(err, e) }) {
		return err
	}
	return nil
}
