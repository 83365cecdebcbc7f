package config

import (
	"net/netip"

	"gopkg.in/yaml.v3"

	"keyhole/address"
	"keyhole/config/strict"
	"keyhole/routes"
)

// byNameOf returns a backend by name among those of a route for which is reports true, or nil.
func (d *decoder) byNameOf(r *routes.Route, is func(*Backend) bool) *Backend {
	for _, i := range d.config.BackendsOf(r.Backend) {
		if i < len(d.config.Backends) && d.config.Backends[i].ByName() && is(&d.config.Backends[i]) {
			return &d.config.Backends[i]
		}
	}
	return nil
}

// wantsName refuses a backend by name, at, for connections that have no name: only routes and
// defaults take such that have.
func (d *decoder) wantsName(r *routes.Route, at *yaml.Node, s *strict.Schema) {
	if s == &routeSchema || s == &defaultSchema {
		return
	}
	if b := d.byNameOf(r, func(*Backend) bool { return true }); b != nil {
		d.Fail(at, "the server of backend %s is {sni}, the name that the client asks for, and here is none", strict.Quote(b.Name))
	}
}

// anyName reports whether a client's name alone says where the backend by name leads. A suffix behind
// it is a fence: its owner says what the names lead to.
func (b *Backend) anyName() bool {
	a, _ := address.ParseServer(b.Servers[0].Address) // has been read before
	return a.Name == ""
}

// warnIfOpen warns when everybody can reach any name through a route, which takes any, on one of
// the listeners.
func (d *decoder) warnIfOpen(r *routes.Route, n *yaml.Node, on []Listener) {
	b := d.byNameOf(r, (*Backend).anyName)
	if b == nil || !r.Access.Admits(netip.Addr{}) || r.When != nil && (len(r.When.From) > 0 || r.When.Matching != nil) {
		return
	}
	for _, l := range on {
		if l.TCP == nil && l.Access.Admits(netip.Addr{}) {
			d.Warn(valueOf(n, "backend"), "an open proxy: everybody can reach any name through %s, "+
				"whose server is {sni}; add `allow`, or name the names in a route", strict.Quote(b.Name))
			return
		}
	}
}

// listenersLike returns the listeners that a route is of.
func (d *decoder) listenersLike(r *routes.Route) []Listener {
	if r.When == nil || r.When.Listen == nil {
		return d.config.Listen
	}
	var all []Listener
	for _, i := range r.When.Listen {
		all = append(all, d.config.Listen[i])
	}
	return all
}

func (d *decoder) listenersWithoutDefault() (all []Listener) {
	for _, l := range d.config.Listen {
		if l.Default == nil {
			all = append(all, l)
		}
	}
	return all
}

// valueOf returns the value of a key of a mapping, or nil.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
