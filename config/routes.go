package config

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
	"keyhole/routes"
)

var (
	routeSchema = strict.Schema{
		What:     "a route",
		Want:     "a mapping such as {sni: shop.example.com, backend: shop}",
		Keys:     []string{"sni", "alpn", "backend", "allow", "idle_timeout", "keepalive", "reject"},
		Required: []string{"sni"},
		Either:   []string{"backend", "reject"},
	}
	defaultSchema = strict.Schema{
		What:   "`default`",
		Want:   "a mapping such as {reject: alert}",
		Keys:   []string{"reject", "backend"},
		Either: []string{"reject", "backend"},
	}
	noSNISchema = strict.Schema{
		What:   "`no_sni`",
		Want:   "a mapping such as {reject: alert}",
		Keys:   defaultSchema.Keys,
		Either: defaultSchema.Either,
	}
)

// routes reads the list of routes and builds the table.
func (d *decoder) routes(n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		d.WrongType(n, "`routes`", "a list")
		return
	}
	before := d.Count()
	d.config.Routes = make([]routes.Route, 0, len(n.Content))
	nodes := make([]*yaml.Node, 0, len(n.Content)) // of config.Routes
	for _, e := range n.Content {
		if r := d.route(e); len(r.SNI) > 0 {
			d.config.Routes = append(d.config.Routes, r)
			nodes = append(nodes, e)
		}
	}
	if d.Count() == before && !d.lost && d.forwardsNothing() {
		d.Fail(n, "no route has a backend, and neither has `default` or `no_sni`, so that no connection could be forwarded")
		return
	}
	table, err := routes.New(d.config.Routes, d.config.Default)
	var conflicts routes.Conflicts
	switch {
	case errors.As(err, &conflicts):
		d.conflicts(conflicts, nodes)
	case err != nil:
		d.Fail(n, "routes: %v", err)
	}
	d.config.Table = table
}

// forwardsNothing reports whether every client would be rejected.
func (d *decoder) forwardsNothing() bool {
	forwards := func(r routes.Route) bool { return r.Backend >= 0 }
	def := &d.config.Default
	if def.Backend >= 0 || def.NoName != nil && def.NoName.Backend >= 0 {
		return false
	}
	return !slices.ContainsFunc(d.config.Routes, forwards)
}

func (d *decoder) route(n *yaml.Node) routes.Route {
	r := routes.Route{Line: n.Line, Backend: -1}
	before, unread := d.Count(), false
	for k, v := range d.Fields(n, &routeSchema) {
		switch k.Value {
		case "sni":
			r.SNI = d.patterns(v)
		case "alpn":
			protocols := d.Count()
			r.ALPN = d.protocols(v)
			unread = unread || d.Count() > protocols
		case "backend":
			r.Backend = max(0, d.backendRef(v))
		case "allow":
			r.Allow = d.prefixes(v)
		case "idle_timeout":
			d.Duration(v, k.Value, &r.IdleTimeout)
		case "keepalive":
			if s, ok := d.SecondsOrOff(v, k.Value, maxKeepalive); ok {
				r.Keepalive = cmp.Or(s, -1)
			}
		case "reject":
			r.Reject = d.reject(v)
		}
	}
	if r.Backend < 0 && d.Count() == before {
		d.rejectsAll(n)
	}
	if unread || d.Count() > before && strict.Misspelt(n, &routeSchema, "alpn") {
		r.SNI = nil // it would contradict the routes without alpn
	}
	return r
}

// rejectsAll refuses the keys that say nothing in a route that rejects every client.
func (d *decoder) rejectsAll(route *yaml.Node) {
	for i := 0; i < len(route.Content); i += 2 {
		switch k := route.Content[i]; k.Value {
		case "allow", "idle_timeout", "keepalive":
			d.Fail(k, "%s has no effect without a backend, the route rejects every client", strict.Key(k.Value))
		}
	}
}

// patterns reads the names of a route, in their normal form.
func (d *decoder) patterns(n *yaml.Node) []string {
	var out set
	for e, s := range d.Texts(n, "sni") {
		p, err := routes.ParsePattern(s)
		switch {
		case err != nil:
			d.Fail(e, "sni: %v", err)
		case !out.add(p):
			d.Fail(e, "duplicate name %s in one route", strict.Quote(p))
		}
	}
	return out.list
}

func (d *decoder) protocols(n *yaml.Node) []string {
	var out set
	for e, s := range d.Texts(n, "alpn") {
		switch {
		case len(s) > 255: // RFC 7301 section 3.1
			d.Fail(e, "alpn %s: a protocol is at most 255 bytes long, this one is %d", strict.Quote(s), len(s))
		case !out.add(s):
			d.Fail(e, "duplicate protocol %s in one route", strict.Quote(s))
		}
	}
	return out.list
}

func (d *decoder) prefixes(n *yaml.Node) []netip.Prefix {
	var out []netip.Prefix
	for e, s := range d.Texts(n, "allow") {
		p, ok := parsePrefix(s)
		switch {
		case !ok:
			d.Fail(e, "allow %s: not an address or a network, write 192.0.2.7 or 192.0.2.0/24", strict.Quote(s))
		case p != p.Masked():
			d.Fail(e, "allow %s: has bits set beyond its length, did you mean %s?", strict.Quote(s), strict.Quote(p.Masked().String()))
		default:
			out = append(out, p)
		}
	}
	return out
}

// parsePrefix reads a network or a single address. A mapped IPv4 network, ::ffff:192.0.2.0/120,
// becomes the IPv4 network: a client's address is unmapped.
func parsePrefix(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), err == nil && a.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, err == nil
}

func (d *decoder) reject(n *yaml.Node) routes.Reject {
	i, ok := d.ChoiceIndex(n, "reject", rejectWords)
	if !ok {
		return routes.RejectInherit
	}
	return routes.RejectAlert + routes.Reject(i)
}

// rejectWords are those of a configuration, which has no word for RejectInherit.
var rejectWords = func() (words []string) {
	for r := routes.RejectAlert; r <= routes.RejectSilence; r++ {
		words = append(words, r.String())
	}
	return words
}()

// defaultRoute reads where names without a route go. With a backend, reject is for connections that
// no route may take at all.
func (d *decoder) defaultRoute(n *yaml.Node) {
	def := d.otherwise(n, &defaultSchema)
	def.Reject = cmp.Or(def.Reject, routes.RejectAlert)
	d.config.Default = def
}

// noSNI reads where hellos without a name go. It comes after the default, whose part it is.
func (d *decoder) noSNI(n *yaml.Node) {
	def := d.otherwise(n, &noSNISchema)
	d.config.Default.NoName = &def
}

// otherwise reads where the connections go that no route takes.
func (d *decoder) otherwise(n *yaml.Node, s *strict.Schema) routes.Default {
	def := routes.Default{Backend: -1, Line: n.Line}
	for k, v := range d.Fields(n, s) {
		switch k.Value {
		case "reject":
			def.Reject = d.reject(v)
		case "backend":
			def.Backend = max(0, d.backendRef(v))
		}
	}
	return def
}

// conflicts reports each pattern that two routes claim, at the later one.
func (d *decoder) conflicts(conflicts routes.Conflicts, nodes []*yaml.Node) {
	positions := map[int]map[string]*yaml.Node{}
	at := func(route int, pattern string) *yaml.Node {
		if positions[route] == nil {
			positions[route] = patternNodes(nodes[route])
		}
		return positions[route][pattern]
	}
	for _, c := range conflicts {
		what := strict.Quote(c.Pattern)
		if c.ALPN != "" {
			what += " with alpn " + strict.Quote(c.ALPN)
		}
		d.Fail(at(c.Second, c.Pattern), "%s is already routed on line %d", what, at(c.First, c.Pattern).Line)
	}
}

// patternNodes returns the scalar of each pattern of a route.
func patternNodes(route *yaml.Node) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	for i := 0; i < len(route.Content); i += 2 {
		if route.Content[i].Value != "sni" {
			continue
		}
		v := route.Content[i+1]
		for _, e := range append([]*yaml.Node{v}, v.Content...) {
			if p, err := routes.ParsePattern(e.Value); err == nil && out[p] == nil {
				out[p] = e
			}
		}
	}
	return out
}

// A set is a list without duplicates. Most routes have one name, for which a map would cost more
// than all else; some have a hundred thousand.
type set struct {
	list  []string
	index map[string]struct{} // of the list once it is long
}

// add reports whether s was not there yet.
func (t *set) add(s string) bool {
	if t.has(s) {
		return false
	}
	t.list = append(t.list, s)
	if t.index != nil {
		t.index[s] = struct{}{}
	} else if len(t.list) == 32 {
		t.index = make(map[string]struct{}, 2*len(t.list))
		for _, s := range t.list {
			t.index[s] = struct{}{}
		}
	}
	return true
}

func (t *set) has(s string) bool {
	if t.index == nil {
		return slices.Contains(t.list, s)
	}
	_, ok := t.index[s]
	return ok
}
