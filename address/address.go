// Package address reads the addresses of a configuration: those of the servers that an edge
// connects to, and those of its listeners.
//
//	a, err := address.ParseServer("Origin.internal:0443")
//	fmt.Println(a) // origin.internal:443
//
// Every part of the edge reads addresses here, so that they all accept the same ones. An error says
// what to write instead, and leaves it to the caller to name the address. The package resolves no
// name and asks nothing of the machine.
package address

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"keyhole/routes"
)

// Address is a place to connect to or to listen on. Exactly one of IP, Name and Path is set, or
// none for a listener on every address of the machine, ":443". With SNI only Name may be set.
type Address struct {
	IP     netip.Addr // unmapped; with a zone if it is link-local IPv6
	Name   string     // of a host, in the normal form of routes.Normalize; may end in a dot
	Path   string     // of a Unix socket, absolute
	Port   uint16     // 0 with Path and Listen, and on a listener for any free one
	SNI    bool       // of a server: at the name that the client asks for, with Name behind it
	Listen bool       // of a server: at the port of the listener that the client came in by
}

// String spells an address in one way only, by which duplicates are found. It parses to the same
// address.
func (a Address) String() string {
	host, port := a.Name, strconv.Itoa(int(a.Port))
	if a.Listen {
		port = listenPort
	}
	switch {
	case a.Path != "":
		return "unix:" + a.Path
	case a.IP.IsValid():
		return net.JoinHostPort(a.IP.String(), port)
	case a.SNI && a.Name != "":
		host = sniHost + "." + a.Name
	case a.SNI:
		host = sniHost
	}
	return host + ":" + port
}

// isAny reports whether the address names no host: ":443".
func (a Address) isAny() bool { return a.Path == "" && a.Name == "" && !a.IP.IsValid() }

// ParseServer reads IP:port, [IPv6]:port, host:port, unix:PATH, {sni}:port or {sni}.suffix:port. The
// port may be the word "listen".
func ParseServer(s string) (Address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return parsePath(path)
	}
	if strings.HasPrefix(s, "/") {
		return Address{}, errors.New("a path is no address, write unix: before it for a Unix socket")
	}
	if port, ok := anyHost(s); ok {
		return Address{}, fmt.Errorf("* is no server's address, write 127.0.0.1:%s for this machine", port)
	}
	if strings.ContainsAny(s, "{$") && !strings.HasPrefix(s, "[") { // the name of a zone may hold both
		return parseSNI(s)
	}
	a, err := parse(s)
	switch {
	case err != nil:
	case a.isAny() && a.Listen:
		err = errors.New("missing host, the port of the listener on this machine is the edge itself")
	case a.isAny():
		err = fmt.Errorf("missing host, write 127.0.0.1:%d for this machine", a.Port)
	case a.Port == 0 && !a.Listen:
		err = errors.New("port 0 cannot be connected to, want 1 to 65535")
	case a.IP.IsValid():
		err = CheckServer(a.IP)
	}
	if err != nil {
		return Address{}, err
	}
	return a, nil
}

// ParseListener reads IP:port, [IPv6]:port, host:port or :port. Port 0 is any free one.
func ParseListener(s string) (Address, error) {
	if strings.HasPrefix(s, "unix:") || strings.HasPrefix(s, "/") {
		return Address{}, errors.New("a Unix socket has no clients on the network, write host:port")
	}
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		return Address{}, fmt.Errorf("missing host, did you mean \":%s\"?", s)
	}
	if port, ok := anyHost(s); ok {
		return Address{}, fmt.Errorf("* is no address, write \":%s\" for every address of the machine", port)
	}
	a, err := parse(s)
	switch {
	case err != nil:
	case a.Listen:
		err = fmt.Errorf("port %q is for servers, a listener has a number", listenPort)
	case a.IP.IsValid():
		err = checkUnicast(a.IP)
	}
	if err != nil {
		return Address{}, err
	}
	return a, nil
}

// anyHost returns the port of *:443, as nginx and HAProxy write every address, and 443 for * alone.
func anyHost(s string) (port string, ok bool) {
	host, port, _ := strings.Cut(s, ":")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		port = "443"
	}
	return port, host == "*"
}

// maxPath is the length of sun_path on Linux (unix(7)), less the zero byte that ends it.
const maxPath = 107

func parsePath(path string) (Address, error) {
	switch {
	case !strings.HasPrefix(path, "/"):
		return Address{}, errors.New("the path of a Unix socket must be absolute, such as unix:/run/origin.sock")
	case len(path) > maxPath:
		return Address{}, fmt.Errorf("the path of a Unix socket is at most %d bytes long, this one is %d", maxPath, len(path))
	case strings.ContainsRune(path, 0):
		return Address{}, errors.New("the path of a Unix socket cannot hold a zero byte")
	}
	return Address{Path: path}, nil
}

// parse reads what servers and listeners have in common: a host, which may be empty, and a port.
func parse(s string) (Address, error) {
	host, port, err := split(s)
	if err != nil {
		return Address{}, err
	}
	a, err := parseHost(host)
	if err != nil {
		return Address{}, err
	}
	if port == "" {
		a.Port = 443
		return Address{}, fmt.Errorf("missing port, did you mean %s?", a)
	}
	if port == listenPort {
		a.Listen = true
		return a, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Address{}, fmt.Errorf("port %.40q is not a number up to 65535", port)
	}
	a.Port = uint16(n)
	return a, nil
}

// split cuts an address into host and port, as they are written. A port that is missing is empty.
func split(s string) (host, port string, err error) {
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		return "", "", fmt.Errorf("an address has no scheme, leave out %.40q", scheme+"://")
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		return splitBracketed(inner)
	}
	host, port, _ = strings.Cut(s, ":")
	switch {
	case s == "":
		return "", "", errors.New("empty address, write host:port")
	case !strings.Contains(port, ":"):
		return host, port, nil
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return "", "", errors.New("an IPv6 address needs brackets and a port, did you mean " + bracketed(s, ip) + "?")
	}
	return "", "", errors.New("too many colons, an IPv6 address is written [2001:db8::1]:443")
}

// bracketed spells an IPv6 address without brackets as it was probably meant. The end of
// 2001:db8::1:443 may be a port.
func bracketed(s string, ip netip.Addr) string {
	whole := netip.AddrPortFrom(ip, 443).String()
	at := strings.LastIndexByte(s, ':')
	head, err := netip.ParseAddr(s[:at])
	port, perr := strconv.ParseUint(s[at+1:], 10, 16)
	if err != nil || perr != nil {
		return whole
	}
	return netip.AddrPortFrom(head, uint16(port)).String() + " or " + whole
}

// splitBracketed splits what follows the bracket of "[2001:db8::1]:443".
func splitBracketed(s string) (host, port string, err error) {
	host, rest, ok := strings.Cut(s, "]")
	ip, err := netip.ParseAddr(host)
	switch {
	case !ok || err != nil || !ip.Is6():
		return "", "", errors.New("brackets are for an IPv6 address, such as [2001:db8::1]:443")
	case rest != "" && rest[0] != ':':
		return "", "", errors.New("after the bracket comes the port, such as [2001:db8::1]:443")
	}
	return host, strings.TrimPrefix(rest, ":"), nil
}

// parseHost reads an IP address or a name.
func parseHost(host string) (Address, error) {
	if host == "" {
		return Address{}, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return Address{IP: ip.Unmap()}, checkZone(ip)
	}
	name, err := routes.Normalize(nil, []byte(host))
	switch {
	case err == routes.ErrIPLiteral, err == routes.ErrNumber:
		return Address{}, errors.New("neither an IP address nor a host name, whose last label is no number")
	case err != nil:
		return Address{}, fmt.Errorf("host %w", err) // "host name has an empty label"
	}
	if strings.HasSuffix(host, ".") { // keeps a resolver from trying its search domains
		name = append(name, '.')
	}
	return Address{Name: string(name)}, nil
}
