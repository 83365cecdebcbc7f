package relay

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
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

// hasRoute reports whether this machine has a route and an address for sa's
// family to dial from. Connecting a datagram socket asks the kernel for both
// and sends nothing.
func (sa *sockaddr) hasRoute() bool {
	n, _, e := unix.RawSyscall(unix.SYS_SOCKET, uintptr(sa.family), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if e != 0 {
		return false
	}
	defer sysClose(int32(n))
	return sysConnect(int32(n), sa) == 0
}

// localAddr and peerAddr return a socket's own address and that of its other
// end; neither is valid for a unix socket or one that is not connected.
func localAddr(fd int32) netip.AddrPort { return socketName(unix.SYS_GETSOCKNAME, fd) }
func peerAddr(fd int32) netip.AddrPort  { return socketName(unix.SYS_GETPEERNAME, fd) }

func socketName(call uintptr, fd int32) netip.AddrPort {
	var raw unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	if _, _, e := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&size))); e != 0 {
		return netip.AddrPort{}
	}
	return addrPort(&raw)
}

// ports is a range of port numbers.
type ports struct{ low, high uint16 }

func (p ports) has(port uint16) bool { return p.low <= port && port <= p.high }

// ephemeralPorts returns the range that the kernel takes local ports from.
func ephemeralPorts() ports {
	b, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var p ports
	if n, _ := fmt.Sscan(string(b), &p.low, &p.high); n != 2 {
		return ports{1024, 65535}
	}
	return p
}
