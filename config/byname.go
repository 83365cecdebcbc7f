package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"keyhole/address"
	"keyhole/backend"
	"keyhole/config/strict"
)

// Resolver says how names are looked up.
type Resolver struct {
	Family backend.Family // of the addresses that are used; zero: any
}

var resolverSchema = strict.Schema{
	What: "`resolver`",
	Want: "a mapping such as {family: ipv4}",
	Keys: []string{"family"},
	Hints: map[string]string{ // of HAProxy, nginx and sniproxy
		"servers":     "the name servers of /etc/resolv.conf are asked",
		"nameserver":  "the name servers of /etc/resolv.conf are asked",
		"nameservers": "the name servers of /etc/resolv.conf are asked",
		"mode":        "write `family`: ipv4, ipv6 or any",
		"ipv6":        "write `family`: ipv4, ipv6 or any",
	},
}

var families = map[string]backend.Family{"any": backend.NoFamily, "ipv4": backend.IPv4, "ipv6": backend.IPv6}

func (d *decoder) resolver(n *yaml.Node) {
	for k, v := range d.Fields(n, &resolverSchema) {
		if s, ok := d.Choice(v, k.Value, "ipv4", "ipv6", "any"); ok {
			d.config.Resolver.Family = families[s]
		}
	}
}

// ByName reports whether the backend's server, which is its only one, is the name that a client asks
// for.
func (b *Backend) ByName() bool { return len(b.Servers) > 0 && address.IsSNI(b.Servers[0].Address) }

// NameServer describes the server of a backend by name: "the name itself, port 443, public addresses
// only".
func (b *Backend) NameServer() string {
	a, _ := address.ParseServer(b.Servers[0].Address) // has been read before
	what, port := "the name itself", fmt.Sprintf("port %d", a.Port)
	if a.Name != "" {
		what = "the name with ." + a.Name + " behind it"
	}
	if a.Listen {
		port = "the listener's port"
	}
	var to []string
	if b.To.Public {
		to = append(to, "public addresses")
	}
	if len(b.To.Networks) > 0 {
		networks := make([]string, len(b.To.Networks))
		for i, p := range b.To.Networks {
			networks[i] = p.String()
		}
		to = append(to, "addresses in "+strings.Join(networks, ", "))
	}
	return fmt.Sprintf("%s, %s, %s only", what, port, strings.Join(to, " and "))
}

// checkByName reports servers beside {sni}, and a `to` without it, which are at those nodes.
func (d *decoder) checkByName(b *Backend, servers, to *yaml.Node) {
	switch {
	case !slices.ContainsFunc(b.Servers, func(s Server) bool { return address.IsSNI(s.Address) }):
		if to != nil && len(b.Servers) > 0 {
			d.Fail(to, "`to` is for a backend whose server is {sni}, the addresses of others are known")
		}
		return
	case len(b.Servers) > 1:
		d.Fail(servers, "{sni} must be the only server of a backend, since it stands for every name")
	}
	if to == nil {
		b.To.Public = true
	}
}

// to reads the addresses that the server {sni} may be at: public, or networks.
func (d *decoder) to(n *yaml.Node) (f backend.Fence) {
	for e, s := range d.Texts(n, "to") {
		p, ok := parsePrefix(s)
		switch {
		case s == "public":
			f.Public = true
		case !ok:
			d.Fail(e, "to %s: neither public nor an address or a network, such as 10.0.0.0/8", strict.Quote(s))
		case p != p.Masked():
			d.Fail(e, "to %s: has bits set beyond its length, did you mean %s?", strict.Quote(s), strict.Quote(p.Masked().String()))
		default:
			f.Networks = append(f.Networks, p)
		}
	}
	return f
}

// withPort returns the address of a server whose port is a key of its own.
func (d *decoder) withPort(text string, port *yaml.Node) (string, bool) {
	number, ok := strict.Number(port, 1, 65535)
	word := fmt.Sprint(number)
	if !ok {
		if word = "listen"; port.Kind != yaml.ScalarNode || port.Value != word {
			d.WrongType(port, "`port`", "listen or a whole number from 1 to 65535")
			return "", false
		}
	}
	if strings.HasPrefix(text, "unix:") {
		d.Fail(port, "a Unix socket has no port, leave out `port`")
		return "", false
	}
	if _, err := address.ParseServer(text); err == nil {
		d.Fail(port, "server %s has a port already, leave out `port` or that", strict.Quote(text))
		return "", false
	}
	if ip, err := netip.ParseAddr(text); err == nil && ip.Is6() {
		text = "[" + text + "]"
	}
	return text + ":" + word, true
}

// isSNI reports whether a value is {sni} or {sni}:443 without quotes, which YAML takes for mappings.
func isSNI(n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		return false
	}
	k, v := n.Content[0], n.Content[1]
	return isSNI(k) || k.Value == "sni" && strict.IsNull(v)
}
