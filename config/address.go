package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"keyhole/config/strict"
	"keyhole/routes"
)

// address is a place to listen on or to connect to. Exactly one of ip, name
// and path is set; none is on a listener for all addresses, ":443".
type address struct {
	ip   netip.Addr
	name string
	path string // of a Unix socket
	port uint16
}

// String returns the one form of an address, by which duplicates are found.
func (a address) String() string {
	switch {
	case a.path != "":
		return "unix:" + a.path
	case a.ip.IsValid():
		return netip.AddrPortFrom(a.ip, a.port).String()
	}
	return a.name + ":" + strconv.Itoa(int(a.port))
}

// maxUnixPath is what sockaddr_un holds on Linux, less its final zero byte.
const maxUnixPath = 107

// parseServer reads IP:port, [IPv6]:port, host:port or unix:PATH.
func parseServer(s string) (address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return parseUnix(path)
	}
	a, err := parseHostPort(s)
	switch {
	case err != nil:
		return address{}, err
	case !a.ip.IsValid() && a.name == "":
		return address{}, fmt.Errorf("missing host, write host:%d", a.port)
	case a.port == 0:
		return address{}, errors.New("port 0 cannot be connected to")
	case a.ip.Zone() != "":
		return address{}, errors.New("an IPv6 zone is not supported")
	}
	return a, nil
}

// parseListener reads host:port, where the host may be left out and the port
// may be 0.
func parseListener(s string) (address, error) {
	if strings.HasPrefix(s, "unix:") {
		return address{}, errors.New("a Unix socket has no clients on the network, write host:port")
	}
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		return address{}, fmt.Errorf("missing host, did you mean \":%s\"?", s)
	}
	return parseHostPort(s)
}

func parseUnix(path string) (address, error) {
	switch {
	case !strings.HasPrefix(path, "/"):
		return address{}, errors.New("the path of a Unix socket must be absolute, such as unix:/run/origin.sock")
	case len(path) > maxUnixPath:
		return address{}, fmt.Errorf("the path of a Unix socket is at most %d bytes long, this one is %d", maxUnixPath, len(path))
	case strings.ContainsRune(path, 0):
		return address{}, errors.New("the path of a Unix socket cannot hold a zero byte")
	}
	return address{path: path}, nil
}

func parseHostPort(s string) (address, error) {
	host, port, err := splitHostPort(s)
	if err != nil {
		return address{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return address{}, fmt.Errorf("port %s is not a number up to 65535", strict.Quote(port))
	}
	a, err := parseHost(host)
	a.port = uint16(n)
	return a, err
}

func splitHostPort(s string) (host, port string, err error) {
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		return "", "", fmt.Errorf("an address has no scheme, leave out %s", strict.Quote(scheme+"://"))
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		return splitBracketed(inner)
	}
	host, port, ok := strings.Cut(s, ":")
	switch {
	case !ok || port == "" && host != "":
		return "", "", fmt.Errorf("missing port, did you mean %s:443?", host)
	case strings.Contains(port, ":"):
		if ip, err := netip.ParseAddr(s); err == nil {
			return "", "", fmt.Errorf("missing port, did you mean [%s]:443?", ip)
		}
		return "", "", errors.New("too many colons, an IPv6 address is written [2001:db8::1]:443")
	}
	return host, port, nil
}

// splitBracketed splits what follows the bracket of "[2001:db8::1]:443".
func splitBracketed(s string) (host, port string, err error) {
	host, rest, ok := strings.Cut(s, "]")
	ip, err := netip.ParseAddr(host)
	switch {
	case !ok || err != nil || !ip.Is6():
		return "", "", errors.New("brackets are for an IPv6 address, such as [2001:db8::1]:443")
	case rest == "" || rest == ":":
		return "", "", fmt.Errorf("missing port, did you mean [%s]:443?", ip)
	case rest[0] != ':':
		return "", "", errors.New("after the bracket comes the port, such as [2001:db8::1]:443")
	}
	return host, rest[1:], nil
}

// parseHost reads an IP address or a name. The port is the caller's.
func parseHost(host string) (address, error) {
	if host == "" {
		return address{}, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return address{ip: ip.Unmap()}, nil
	}
	if strings.Trim(host, "0123456789.") == "" {
		return address{}, fmt.Errorf("%s is not an IP address", strict.Quote(host))
	}
	name, err := routes.Normalize(nil, []byte(host))
	if err != nil {
		return address{}, fmt.Errorf("host %s: %w", strict.Quote(host), err)
	}
	if strings.HasSuffix(host, ".") { // keeps a resolver from trying its search domains
		name = append(name, '.')
	}
	return address{name: string(name)}, nil
}

// isLocal reports whether a connection to the address stays on this machine
// whatever its interfaces are.
func (a address) isLocal() bool {
	return a.ip.IsLoopback() || a.ip.IsUnspecified() || a.isLocalhost()
}

func (a address) isLocalhost() bool { return strings.TrimSuffix(a.name, ".") == "localhost" }
