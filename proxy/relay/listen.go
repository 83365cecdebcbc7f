package relay

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ListenOptions are the settings of one listener.
type ListenOptions struct {
	Keepalive time.Duration // until a silent client is asked whether it is still there; 0: never
	OnlyIPv6  bool          // of "[::]": leave IPv4 to another listener
	AtOnce    bool          // take clients that have sent nothing yet; see deferAccept and SetAtOnce
	Value     any           // the caller's own, for Listener.Value
}

// A Listener accepts connections. It comes and goes while the engine runs.
type Listener struct {
	engine    *Engine
	fd        int32
	index     int // in the engine's list
	addr      netip.AddrPort
	value     any
	keepalive atomic.Uint32 // seconds; what its connections inherit
	atOnce    bool          // guarded by engine.mu
}

// Addr returns the address that was bound.
func (ln *Listener) Addr() netip.AddrPort { return ln.addr }

// Value returns ListenOptions.Value. It is nil for a nil listener, which the
// zero Conn has.
func (ln *Listener) Value() any {
	if ln == nil {
		return nil
	}
	return ln.value
}

// Listen opens a listening socket. An address without an IP ("invalid" to
// netip) is every address of the machine, IPv6 and IPv4; so is [::], unless
// OnlyIPv6 is set. Connections are accepted once the engine has started.
func (e *Engine) Listen(at netip.AddrPort, o ListenOptions) (*Listener, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping.Load() {
		return nil, fmt.Errorf("listen %s: engine has stopped", name(at))
	}
	ln := &Listener{engine: e, value: o.Value, atOnce: o.AtOnce}
	ln.keepalive.Store(uint32(keepaliveSeconds(o.Keepalive)))
	if err := ln.bind(at, o); err != nil {
		return nil, fmt.Errorf("listen %s: %w", name(at), err)
	}
	ln.index = e.place(ln)
	for _, l := range e.taking() {
		var err error
		if e.started {
			l.call(func(l *loop) { err = l.watch(ln) })
		} else {
			err = l.watch(ln)
		}
		if err != nil {
			// Not watched by every loop, but by some it may be.
			e.stopAccepting(ln)
			return nil, fmt.Errorf("listen %s: %w", name(at), err)
		}
	}
	return ln, nil
}

// SetKeepalive changes ListenOptions.Keepalive for connections to come.
func (ln *Listener) SetKeepalive(d time.Duration) {
	e := ln.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isOpen(ln) {
		seconds := keepaliveSeconds(d)
		ln.keepalive.Store(uint32(seconds))
		setAll(ln.fd, keepaliveOptions(seconds))
	}
}

// SetAtOnce changes ListenOptions.AtOnce for connections to come.
func (ln *Listener) SetAtOnce(on bool) {
	e := ln.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isOpen(ln) && ln.atOnce != on {
		ln.atOnce = on
		setInt(ln.fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferTime(on))
	}
}

func deferTime(atOnce bool) int32 {
	if atOnce {
		return 0
	}
	return deferAccept
}

// name is how a listener's address is written in messages.
func name(at netip.AddrPort) string {
	if !at.Addr().IsValid() {
		return fmt.Sprintf(":%d", at.Port())
	}
	return at.String()
}

// place puts ln in the first free place of the engine's list.
func (e *Engine) place(ln *Listener) int {
	for i, other := range e.listeners {
		if other == nil {
			e.listeners[i] = ln
			return i
		}
	}
	e.listeners = append(e.listeners, ln)
	return len(e.listeners) - 1
}

// Close takes no new client on the listener, serves for about a second those
// that had connected, also if they have not spoken yet, and then closes the
// socket. Open connections stay. Shutdown does the same for all.
func (ln *Listener) Close() {
	e := ln.engine
	if e.refuse(ln) {
		select {
		case <-time.After(lameDuck):
		case <-e.stopped:
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopAccepting(ln)
}

// deferAccept is how long, in seconds, the kernel keeps a connection that has
// sent nothing before it wakes the edge for it.
const deferAccept = 1

// bind opens the socket. Its connections inherit its options: TCP_NODELAY;
// SO_OOBINLINE, without which the kernel takes an urgent byte out of the
// stream; keep-alive; and TCP_QUICKACK off, so that the hello's ACK leaves with
// the origin's answer.
func (ln *Listener) bind(at netip.AddrPort, o ListenOptions) error {
	all := !at.Addr().IsValid()
	if all {
		at = netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
		if !hasIPv6() {
			at = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
		}
	}
	var sa sockaddr
	if !sa.set(Target{Addr: at}) {
		return fmt.Errorf("no interface %q", at.Addr().Zone())
	}
	fd, e := sysSocket(sa.family)
	if e != 0 {
		return e
	}
	if err := ln.listen(fd, &sa, at, o); err != nil {
		sysClose(fd)
		return err
	}
	ln.fd, ln.addr = fd, localAddr(fd)
	return nil
}

type socketOption struct {
	level, name int
	value       int32
}

func setAll(fd int32, options []socketOption) error {
	for _, o := range options {
		if e := setInt(fd, o.level, o.name, o.value); e != 0 {
			return e
		}
	}
	return nil
}

func (ln *Listener) listen(fd int32, sa *sockaddr, at netip.AddrPort, o ListenOptions) error {
	options := []socketOption{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.SOL_SOCKET, unix.SO_OOBINLINE, 1},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0},
		{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferTime(o.AtOnce)},
	}
	if sa.family == unix.AF_INET6 {
		only := int32(1)
		if at.Addr().IsUnspecified() && !o.OnlyIPv6 {
			only = 0
		}
		options = append(options, socketOption{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only})
	}
	options = append(options, keepaliveOptions(uint16(ln.keepalive.Load()))...)
	if err := setAll(fd, options); err != nil {
		return err
	}
	if _, _, e := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(sa.size)); e != 0 {
		return e
	}
	// The kernel cuts the backlog to net.core.somaxconn.
	return unix.Listen(int(fd), 1<<16-1)
}

// refuseSYN has a listener take no new client, while those whose handshake
// has begun come through: closing it would reset them.
func refuseSYN(fd int32) error {
	const flags, syn = 13, 2 // the TCP header's flags (RFC 9293 section 3.1)
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: syn},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
	}
	if err := unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil {
		return err
	}
	if e := setInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 0); e != 0 {
		return e
	}
	return nil
}

func hasIPv6() bool {
	fd, e := sysSocket(unix.AF_INET6)
	if e != 0 {
		return false
	}
	sysClose(fd)
	return true
}
