package config

import (
	"net/netip"
	"strings"

	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
)

// backendRef reads the backend of a route: a name, or an address, which
// becomes a backend of its own, shared by all routes that name it. It returns
// an index in config.Backends, -1 with a problem reported.
func (d *decoder) backendRef(n *yaml.Node) int {
	s, ok := d.Text(n, "backend")
	if !ok {
		return -1
	}
	if i, ok := d.backends[s]; ok {
		return i
	}
	if _, err := netip.ParseAddr(s); err != nil && !strings.Contains(s, ":") {
		d.unknownBackend(n, s)
		return -1
	}
	addr, ok := d.connectable(n, "backend", s)
	if !ok {
		return -1
	}
	i, ok := d.backends[addr]
	if !ok {
		i = len(d.config.Backends)
		d.backends[addr] = i
		d.config.Backends = append(d.config.Backends, Backend{
			Name:    addr,
			Servers: []Server{{Address: addr, Weight: 1, Line: n.Line}},
			Balance: defaultBalance,
			Retries: defaultRetries,
		})
	}
	return i
}

// maxComparisons bounds the search for suggestions: a large file in which
// every route names a missing backend would otherwise take minutes.
const maxComparisons = 1 << 20

func (d *decoder) unknownBackend(n *yaml.Node, name string) {
	d.comparisons += len(d.names)
	near := ""
	if d.comparisons <= maxComparisons {
		near = strict.Nearest(name, d.names)
	}
	switch {
	case near != "":
		d.Fail(n, "unknown backend %s, did you mean %s?", strict.Quote(name), strict.Quote(near))
	case strings.Contains(name, "."):
		d.Fail(n, "unknown backend %s; if it is an address, add its port: %s", strict.Quote(name), strict.Quote(name+":443"))
	default:
		d.Fail(n, "unknown backend %s", strict.Quote(name))
	}
}
