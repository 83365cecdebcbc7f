package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"keyhole/address"
	"keyhole/config"
	"keyhole/proxy"
)

const (
	lookupTime  = 11 * time.Second // of one look-up: Go gives each name server 5 s
	listenTime  = 10 * time.Second // until the first listener is open, when all are given by names
	firstSearch = time.Second      // from a failure to the next look-up; doubled up to lastSearch
	lastSearch  = 30 * time.Second
)

// An answer tells what became of a listener that is given by a name: its address, or its first
// failure.
type answer struct {
	listener string
	at       netip.AddrPort
	err      error
	first    bool // the listener has not answered before
}

// listen opens the listeners, and starts a task for each that is given by a name. It returns the
// latter.
func (e *edge) listen(all []config.Listener) (named []string, err error) {
	for _, l := range all {
		a, err := address.ParseListener(l.Address)
		if err != nil {
			return named, fmt.Errorf("listen %s: %w", l.Address, err)
		}
		if a.Name != "" {
			named = append(named, l.Address)
			e.tasks.Go("listener "+l.Address, func(ctx context.Context) error { return e.search(ctx, a) })
			continue
		}
		at, err := e.open(netip.AddrPortFrom(a.IP, a.Port), proxy.ListenOptions{Name: l.Address, OnlyIPv6: l.IPv6Only})
		if err != nil {
			return named, err
		}
		e.ready = append(e.ready, at)
	}
	return named, nil
}

// await waits for the answers of the named listeners: until grace when another is open, or for
// listenTime. The error is that of opening a listener, or of finding one when none is open.
func (e *edge) await(ctx context.Context, named []string, grace <-chan time.Time) (err error) {
	limit := time.After(listenTime)
	for waiting, late := len(named), false; waiting > 0 && !(late && len(e.ready) > 0); {
		select {
		case a := <-e.answers:
			if a.first {
				waiting--
			}
			switch {
			case a.err == nil:
				e.ready = append(e.ready, a.at)
			case isUnknown(a.err):
				err = a.err
				e.noteListener(a)
			default:
				return a.err
			}
		case <-grace:
			late = true
		case <-limit:
			return fmt.Errorf("listen %s: no address after %v; /etc/resolv.conf names the name servers",
				strings.Join(named, ", "), listenTime)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if len(e.ready) > 0 {
		return nil
	}
	return err
}

// search looks up the name of a listener until it can be opened. It answers when it can, at the first
// failure, and when the name has got an address that cannot be listened on, or has lost it.
func (e *edge) search(ctx context.Context, listener address.Address) error {
	pause, before := firstSearch, false
	for first := true; ; first = false {
		at, err := e.find(ctx, listener)
		unknown := isUnknown(err)
		if err == nil || first || unknown != before {
			select {
			case e.answers <- answer{listener.String(), at, err, first}:
			case <-ctx.Done():
			}
		}
		if err == nil {
			return nil
		}
		before = unknown
		select {
		case <-time.After(pause):
			pause = min(2*pause, lastSearch)
		case <-ctx.Done():
			return nil
		}
	}
}

// find opens a listener at the first address of its name, IPv4 first.
func (e *edge) find(ctx context.Context, listener address.Address) (at netip.AddrPort, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addrs, err := e.lookup(ctx, "ip", listener.Name)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no address", Name: listener.Name}
	}
	if err != nil {
		return at, fmt.Errorf("listen %s: %w", listener, err)
	}
	i := max(slices.IndexFunc(addrs, func(a netip.Addr) bool { return a.Unmap().Is4() }), 0)
	return e.open(netip.AddrPortFrom(addrs[i].Unmap(), listener.Port), proxy.ListenOptions{Name: listener.String()})
}

// noteListener logs the answer of a listener that the start did not wait for.
func (e *edge) noteListener(a answer) {
	if a.err != nil {
		e.log.Warn("listener is not open; tried again until it is", "listener", a.listener, "error", a.err)
		return
	}
	e.log.Info("listening", "address", a.at.String())
}

// open opens a listener at its address, which is resolved.
func (e *edge) open(at netip.AddrPort, o proxy.ListenOptions) (netip.AddrPort, error) {
	e.own.mu.Lock()
	defer e.own.mu.Unlock()
	ln, err := e.server.Listen(at, o)
	if err != nil {
		return at, listenError(err)
	}
	e.own.bound = append(e.own.bound, bound{ln.Addr(), o.OnlyIPv6})
	return ln.Addr(), nil
}

// isUnknown reports whether err is that of looking up a name.
func isUnknown(err error) bool {
	_, ok := errors.AsType[*net.DNSError](err)
	return ok
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

// interfaceTime is how long the addresses of this machine's interfaces are remembered: a table of
// 100,000 servers asks for each.
const interfaceTime = time.Second

// bound is an address that the edge listens on.
type bound struct {
	netip.AddrPort
	onlyIPv6 bool
}

// addresses are those that the edge listens on. Any goroutine may ask.
type addresses struct {
	mu     sync.Mutex
	bound  []bound
	local  map[netip.Addr]bool // of this machine's interfaces
	looked time.Time           // when local was read
}

func (o *addresses) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.bound)
}

// isOwn reports whether a is an address of this machine.
func (o *addresses) isOwn(a netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.isLocal(a)
}

// reachedBy reports whether a connection to a would come back to this edge. Port 0 is that of each
// listener.
func (o *addresses) reachedBy(a netip.AddrPort) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.bound {
		if (a.Port() == b.Port() || a.Port() == 0) && address.Reaches(a.Addr(), b.Addr(), b.onlyIPv6, o.isLocal) {
			return true
		}
	}
	return false
}

// isLocal is isOwn for a caller that holds o.mu.
func (o *addresses) isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	if time.Since(o.looked) > interfaceTime {
		o.local, o.looked = interfaces(), time.Now()
	}
	return o.local[a.WithZone("")]
}

func interfaces() map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	addrs, _ := net.InterfaceAddrs() // none known is none found
	for _, i := range addrs {
		if n, ok := i.(*net.IPNet); ok {
			a, _ := netip.AddrFromSlice(n.IP)
			all[a.Unmap()] = true
		}
	}
	return all
}
