package relay

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Target is where to connect: an address, or a unix socket's path.
type Target struct {
	Addr netip.AddrPort
	Path string // at most 107 bytes; used when Addr is not valid
}

// sockaddr is a socket address in the kernel's form.
type sockaddr struct {
	raw    unix.RawSockaddrAny
	size   uint32
	family int
}

// set fills sa for t. It reports false for a path that does not fit or a zone
// that names no interface.
func (sa *sockaddr) set(t Target) bool {
	switch a := t.Addr.Addr(); {
	case !a.IsValid():
		return sa.setPath(t.Path)
	case a.Is4():
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa.raw))
		*p = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: bigEndian(t.Addr.Port()), Addr: a.As4()}
		sa.size, sa.family = unix.SizeofSockaddrInet4, unix.AF_INET
		return true
	default:
		p := (*unix.RawSockaddrInet6)(unsafe.Pointer(&sa.raw))
		*p = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: bigEndian(t.Addr.Port()), Addr: a.As16()}
		sa.size, sa.family = unix.SizeofSockaddrInet6, unix.AF_INET6
		return a.Zone() == "" || setZone(p, a.Zone())
	}
}

func (sa *sockaddr) setPath(path string) bool {
	p := (*unix.RawSockaddrUnix)(unsafe.Pointer(&sa.raw))
	*p = unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	if path == "" || len(path) >= len(p.Path) {
		return false
	}
	for i := range len(path) {
		p.Path[i] = int8(path[i])
	}
	sa.size, sa.family = uint32(2+len(path)+1), unix.AF_UNIX
	return true
}

// setZone asks the kernel for the interface's index: a local call, and one
// that only link-local origins cost.
func setZone(p *unix.RawSockaddrInet6, zone string) bool {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		p.Scope_id = uint32(n)
		return true
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return false
	}
	p.Scope_id = uint32(ifi.Index)
	return true
}

// addrPort reads the peer's address as accept(2) wrote it; IPv4-mapped
// addresses come out as IPv4, and zones are dropped.
func addrPort(raw *unix.RawSockaddrAny) netip.AddrPort {
	switch raw.Addr.Family {
	case unix.AF_INET:
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw))
		return netip.AddrPortFrom(netip.AddrFrom4(p.Addr), bigEndian(p.Port))
	case unix.AF_INET6:
		p := (*unix.RawSockaddrInet6)(unsafe.Pointer(raw))
		return netip.AddrPortFrom(netip.AddrFrom16(p.Addr).Unmap(), bigEndian(p.Port))
	}
	return netip.AddrPort{}
}

// bigEndian turns a port between host and network order, either way.
func bigEndian(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

// deferAccept is how long, in seconds, the kernel keeps a connection that has
// sent nothing before it wakes the edge for it.
const deferAccept = 1

// listen opens a listening socket on address ("HOST:PORT"; an empty host is
// every address, IPv6 and IPv4). What it accepts inherits TCP_NODELAY, and
// SO_OOBINLINE, without which the kernel takes an urgent byte out of the stream.
func listen(address string) (fd int32, bound netip.AddrPort, err error) {
	ap, err := listenAddress(address)
	if err != nil {
		return -1, bound, err
	}
	var sa sockaddr
	if !sa.set(Target{Addr: ap}) {
		return -1, bound, fmt.Errorf("listen %s: unknown interface", address)
	}
	fd, e := sysSocket(sa.family)
	if e != 0 {
		return -1, bound, fmt.Errorf("listen %s: %w", address, e)
	}
	if err := bindListen(fd, &sa, ap); err != nil {
		sysClose(fd)
		return -1, bound, fmt.Errorf("listen %s: %w", address, err)
	}
	return fd, localAddr(fd), nil
}

func bindListen(fd int32, sa *sockaddr, ap netip.AddrPort) error {
	options := []struct {
		level, name int
		value       int32
	}{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.SOL_SOCKET, unix.SO_OOBINLINE, 1},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferAccept},
	}
	for _, o := range options {
		if e := setInt(fd, o.level, o.name, o.value); e != 0 {
			return e
		}
	}
	if sa.family == unix.AF_INET6 {
		v6only := int32(0)
		if !ap.Addr().IsUnspecified() {
			v6only = 1
		}
		if e := setInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6only); e != 0 {
			return e
		}
	}
	if _, _, e := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(sa.size)); e != 0 {
		return e
	}
	// The kernel cuts the backlog to net.core.somaxconn.
	if err := unix.Listen(int(fd), 1<<16-1); err != nil {
		return err
	}
	return nil
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

func listenAddress(address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen %s: %w", address, err)
	}
	if host == "" {
		host = "::"
		if !hasIPv6() {
			host = "0.0.0.0"
		}
	}
	a, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen %s: %w", address, err)
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

func hasIPv6() bool {
	fd, e := sysSocket(unix.AF_INET6)
	if e != 0 {
		return false
	}
	sysClose(fd)
	return true
}

func localAddr(fd int32) netip.AddrPort {
	var raw unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&size)))
	return addrPort(&raw)
}

// sysPeer fills sa with the address that fd is connected to.
func sysPeer(fd int32, sa *sockaddr) {
	sa.size = unix.SizeofSockaddrAny
	unix.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(unsafe.Pointer(&sa.size)))
}
