package proc

import (
	"net"
	"net/netip"
)

// FreeAddr is an address of 127.0.0.1 that nobody listens on.
func FreeAddr() (netip.AddrPort, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort(), nil
}
