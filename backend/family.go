package backend

import "net/netip"

// A Family is that of an IP address.
type Family uint8

const (
	NoFamily Family = iota // that of a Unix socket; of a choice, any
	IPv4
	IPv6
	families // how many there are
)

func (f Family) String() string { return [...]string{"no", "IPv4", "IPv6"}[f] }

// allows reports whether a choice of f takes a.
func (f Family) allows(a netip.Addr) bool { return f == NoFamily || f == familyOf(a) }

// Network is f as package net names it: ip, ip4 or ip6.
func (f Family) Network() string { return [...]string{"ip", "ip4", "ip6"}[f] }

func (e *Endpoint) family() Family { return familyOf(e.AddrPort.Addr()) }

func familyOf(a netip.Addr) Family {
	switch {
	case a.Is4():
		return IPv4
	case a.Is6():
		return IPv6
	}
	return NoFamily
}
