package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// listen opens the listeners of the configuration.
func (e *edge) listen() error {
	for _, l := range e.config.Listen {
		at, err := e.server.Listen(l.Address)
		if err != nil {
			return listenError(err)
		}
		e.bound = append(e.bound, at)
	}
	return nil
}

// listenError adds the remedy to what the kernel says.
func listenError(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another process listens there; `ss -ltnp` shows which", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: a port below 1024 needs root, CAP_NET_BIND_SERVICE or a lower net.ipv4.ip_unprivileged_port_start", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: no interface of this machine has that address; `ip address` shows those that there are", err)
	}
	return err
}

// isOwn reports whether a connection to a would come back to this edge.
func (e *edge) isOwn(a netip.AddrPort) bool {
	for _, b := range e.bound {
		if a.Port() == b.Port() && reaches(a.Addr(), b.Addr()) {
			return true
		}
	}
	return false
}

// reaches reports whether a connection to a arrives at a listener on b, for
// one port. The unspecified address means every one of this machine's to
// listen on, and loopback to connect to.
func reaches(a, b netip.Addr) bool {
	switch {
	case a.IsUnspecified():
		return b.IsUnspecified() || b.IsLoopback()
	case b.IsUnspecified():
		return isLocal(a)
	}
	return a == b
}

// isLocal reports whether a is an address of this machine.
func isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, i := range addrs {
		if n, ok := i.(*net.IPNet); ok {
			if x, _ := netip.AddrFromSlice(n.IP); x.Unmap() == a {
				return true
			}
		}
	}
	return false
}
