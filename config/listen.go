package config

import (
	"net/netip"

	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
)

var listenSchema = strict.Schema{
	What:     "a listener",
	Want:     "a mapping such as {address: \":443\"}",
	Keys:     []string{"address", "protocol", "proxy_protocol_from"},
	Required: []string{"address"},
}

// listener is what the checks need to know of a listen address.
type listener struct {
	address
	line int
}

func (d *decoder) listen(n *yaml.Node) {
	for _, e := range d.List(n, "listen") {
		for k, v := range d.Fields(e, &listenSchema) {
			switch k.Value {
			case "address":
				d.listenAddress(v)
			case "protocol":
				if s, _ := d.Choice(v, "protocol", "tls", "http"); s == "http" {
					d.unsupported(v, "protocol: http")
				}
			case "proxy_protocol_from":
				d.unsupported(k, k.Value)
			}
		}
	}
}

func (d *decoder) listenAddress(n *yaml.Node) {
	s, ok := d.Text(n, "address")
	if !ok {
		return
	}
	a, err := parseListener(s)
	if err != nil {
		d.Fail(n, "address %s: %v", strict.Quote(s), err)
		return
	}
	for _, l := range d.listeners {
		if l.same(a) {
			d.Fail(n, "address %s is already listened on, by %s on line %d", strict.Quote(s), strict.Quote(l.String()), l.line)
			return
		}
	}
	d.listeners = append(d.listeners, listener{a, n.Line})
	d.config.Listen = append(d.config.Listen, Listener{Address: a.String()})
}

// isAny reports whether the listener accepts on every address of the machine.
// On Linux ":443", "0.0.0.0:443" and "[::]:443" do so for both IPv4 and IPv6
// in Go's net package.
func (l listener) isAny() bool {
	return l.path == "" && l.name == "" && (!l.ip.IsValid() || l.ip.IsUnspecified())
}

// same reports whether both would be bound to one address. Port 0 is another
// port each time.
func (l listener) same(a address) bool {
	if l.port != a.port || l.port == 0 {
		return false
	}
	return l.address == a || l.isAny() && (listener{address: a}).isAny()
}

// reachedBy reports whether a connection to the server address a would arrive
// at the listener, as far as the addresses tell: names are resolved later.
func (l listener) reachedBy(a address) bool {
	switch {
	case a.path != "" || l.port != a.port || l.port == 0:
		return false
	case l.isAny() || l.isLocalhost():
		return a.isLocal()
	case l.name != "":
		return a.name == l.name
	case a.isLocalhost() || a.ip.IsUnspecified(): // the unspecified address connects to loopback
		return l.ip == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || l.ip == netip.IPv6Loopback()
	}
	return l.ip == a.ip
}

// loop returns the listener that a server address would connect to.
func (d *decoder) loop(a address) (listener, bool) {
	for _, l := range d.listeners {
		if l.reachedBy(a) {
			return l, true
		}
	}
	return listener{}, false
}
