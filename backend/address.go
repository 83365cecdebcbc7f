package backend

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxPath is the length of sun_path on Linux (unix(7)), less the zero byte that ends it.
const maxPath = 107

// address is where a server is: exactly one of path, host and ip is set.
type address struct {
	path string     // of a Unix socket, absolute
	host string     // to be resolved, lower case
	ip   netip.Addr // unmapped, perhaps with a zone
	port uint16     // zero with path
}

// key spells the address in one way only, whatever the way it was configured.
func (a address) key() string {
	switch {
	case a.path != "":
		return "unix:" + a.path
	case a.host != "":
		return net.JoinHostPort(a.host, strconv.Itoa(int(a.port)))
	}
	return netip.AddrPortFrom(a.ip, a.port).String()
}

// parseAddress reads IP:port, host:port or unix:PATH. The error says what to write instead, but does not repeat s.
func parseAddress(s string) (address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return address{path: path}, checkPath(path)
	}
	if strings.Contains(s, "://") {
		return address{}, errors.New("a URL, write only its host and port")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return address{}, explainSplit(s, err)
	}
	a := address{}
	if a.port, err = parsePort(port); err != nil {
		return address{}, err
	}
	if host == "" {
		return address{}, fmt.Errorf("empty host, write %q for this machine", "127.0.0.1:"+port)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		a.ip = ip.Unmap()
		return a, checkIP(a.ip)
	}
	a.host = strings.ToLower(host)
	return a, checkHost(a.host)
}

// explainSplit says in the words of a configuration why net.SplitHostPort refused s.
func explainSplit(s string, err error) error {
	if s == "" {
		return errors.New("empty address, want IP:port, host:port or unix:PATH")
	}
	if strings.HasPrefix(s, "/") {
		return fmt.Errorf("missing port; for a Unix socket write %q", "unix:"+s)
	}
	if ip, perr := netip.ParseAddr(s); perr == nil && ip.Is6() {
		// Where its port begins, if it has one, cannot be known: 2001:db8::1:443 is an address too.
		return errors.New(`an IPv6 address needs brackets and a port, as in "[2001:db8::1]:443"`)
	}
	if !strings.Contains(s, ":") || strings.HasSuffix(s, "]") {
		return fmt.Errorf("missing port, write %q", s+":443")
	}
	var ae *net.AddrError
	if errors.As(err, &ae) {
		err = errors.New(ae.Err) // without the address, which the caller names
	}
	return fmt.Errorf("%w, want IP:port, [IPv6]:port, host:port or unix:PATH", err)
}

func parsePort(s string) (uint16, error) {
	if s == "" {
		return 0, errors.New("missing port after the colon, want a number from 1 to 65535")
	}
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("bad port %q, want a number from 1 to 65535", s)
	}
	return uint16(port), nil
}

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("empty path after unix:, want an absolute one")
	case path[0] != '/':
		return fmt.Errorf("relative path %q, want an absolute one: unix:/run/NAME", path)
	case strings.IndexByte(path, 0) >= 0:
		return fmt.Errorf("zero byte in path %q", path)
	case len(path) > maxPath:
		return fmt.Errorf("path of %d bytes is too long for a Unix socket, want %d or fewer", len(path), maxPath)
	}
	return nil
}

// checkIP refuses what no server can be at. Connecting to the unspecified address reaches this machine, and so most
// likely the edge itself.
func checkIP(ip netip.Addr) error {
	switch {
	case ip.IsUnspecified():
		return fmt.Errorf("%s is no server's address, write 127.0.0.1 or [::1] for this machine", ip)
	case ip.IsMulticast():
		return fmt.Errorf("%s is a multicast address, want a unicast one", ip)
	}
	return nil
}

// checkHost refuses what cannot be a host name (RFC 1123 section 2.1, and the underscore that is in use besides). A
// name whose last label is a number is a mistyped IP address.
func checkHost(host string) error {
	name := strings.TrimSuffix(host, ".")
	if len(name) > 253 {
		return fmt.Errorf("host name of %d bytes is too long, want 253 or fewer", len(name))
	}
	var last string
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("host name %q has a label of %d bytes, want 1 to 63", host, len(label))
		}
		last = label
	}
	for _, r := range name {
		if r >= 0x80 {
			return fmt.Errorf("host name %q is not ASCII, write it in its xn-- form", host)
		}
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.", r) {
			return fmt.Errorf("bad character %q in host name %q", r, host)
		}
	}
	if strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%q is neither an IP address nor a host name", host)
	}
	return nil
}
