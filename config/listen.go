package config

import (
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"keyhole/address"
	"keyhole/config/strict"
)

var listenSchema = strict.Schema{
	What:     "a listener",
	Want:     "a mapping such as {address: \":443\"}",
	Keys:     []string{"address", "protocol", "proxy_protocol_from"},
	Refused:  []string{"proxy_protocol_from"},
	Required: []string{"address"},
}

// listener is a listen address and its line in the file.
type listener struct {
	address.Address
	line int
}

func (d *decoder) listen(n *yaml.Node) {
	for _, e := range d.List(n, "listen") {
		for k, v := range d.Fields(e, &listenSchema) {
			switch k.Value {
			case "address":
				d.listenAddress(v)
			case "protocol":
				d.word(v, k.Value, []string{"tls"}, "http")
			case "proxy_protocol_from":
				d.unsupported(k, k.Value)
			}
		}
	}
	d.narrow()
}

func (d *decoder) listenAddress(n *yaml.Node) {
	s, ok := d.Text(n, "address")
	if !ok {
		return
	}
	a, err := address.ParseListener(s)
	if err != nil {
		d.Fail(n, "address %s: %v", strict.Quote(s), err)
		return
	}
	for _, l := range d.listeners {
		if address.Overlap(l.Address, a) {
			d.Fail(n, "address %s is already listened on, by %s on line %d", strict.Quote(s), strict.Quote(l.String()), l.line)
			return
		}
	}
	d.listeners = append(d.listeners, listener{a, n.Line})
	d.config.Listen = append(d.config.Listen, Listener{Address: a.String()})
}

// narrow makes a listener on [::] take IPv6 only where another has the port on an IPv4 address, or
// on a name, which may have one.
func (d *decoder) narrow() {
	for i, l := range d.listeners {
		if l.IP != netip.IPv6Unspecified() || l.Port == 0 {
			continue
		}
		beside := func(o listener) bool { return !o.IP.Is6() && o.Port == l.Port }
		d.config.Listen[i].IPv6Only = slices.ContainsFunc(d.listeners, beside)
	}
}

// loop returns the listener that a server address would connect to, as far as the addresses tell:
// other names than localhost are resolved later.
func (d *decoder) loop(a address.Address) (listener, bool) {
	for i, l := range d.listeners {
		if l.Port == a.Port && l.Port != 0 && reaches(a, l.Address, d.config.Listen[i].IPv6Only) {
			return l, true
		}
	}
	return listener{}, false
}

func reaches(to, l address.Address, ipv6Only bool) bool {
	if to.Name != "" && strings.TrimSuffix(to.Name, ".") == strings.TrimSuffix(l.Name, ".") {
		return true
	}
	for _, t := range addresses(to) {
		for _, b := range bound(l) {
			if address.Reaches(t, b, ipv6Only, netip.Addr.IsLoopback) {
				return true
			}
		}
	}
	return false
}

// bound returns the addresses that a listener is bound to, as far as they are known.
func bound(l address.Address) []netip.Addr {
	if l.Name == "" && !l.IP.IsValid() {
		return []netip.Addr{netip.IPv6Unspecified()}
	}
	return addresses(l)
}

// addresses returns the addresses that a server is at, as far as they are known.
func addresses(a address.Address) []netip.Addr {
	switch {
	case a.IP.IsValid():
		return []netip.Addr{a.IP}
	case strings.TrimSuffix(a.Name, ".") == "localhost":
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return nil
}
