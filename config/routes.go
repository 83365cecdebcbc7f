package config

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
	"keyhole/routes"
)

// The keys of a route beside sni, listen, from and matching, which tell routes of several names
// apart. What has no names of its own takes these too.
var takeKeys = []string{"alpn", "backend", "sticky", "allow", "deny", "ja4", "idle_timeout", "keepalive", "reject"}

var (
	routeSchema = strict.Schema{
		What:     "a route",
		Want:     "a mapping such as {sni: shop.example.com, backend: shop}",
		Keys:     append([]string{"sni", "listen", "from", "matching"}, takeKeys...),
		Required: []string{"sni"},
		Either:   []string{"backend", "reject"},
		Hints:    peerRouteKeys,
	}
	defaultSchema = strict.Schema{
		What:   "`default`",
		Want:   "a mapping such as {reject: alert}",
		Keys:   takeKeys,
		Either: []string{"reject", "backend"},
		Hints:  otherwiseHints,
	}
	noSNISchema = strict.Schema{
		What:   "`no_sni`",
		Want:   "a mapping such as {reject: alert}",
		Keys:   takeKeys,
		Either: []string{"reject", "backend"},
		Hints:  otherwiseHints,
	}
	otherwiseHints = map[string]string{
		"sni":      "it has no names; write a route for them",
		"listen":   "write it into the listener instead",
		"from":     "write a route with sni \"**\", which is any name",
		"matching": "write a route with sni \"**\", which is any name",
	}
)

// routes reads the list of routes of one file.
func (d *decoder) routes(n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		d.WrongType(n, "`routes`", "a list")
		return
	}
	for _, e := range n.Content {
		if r := d.route(e); len(r.SNI) > 0 {
			d.config.Routes = append(d.config.Routes, r)
			d.routeNodes = append(d.routeNodes, e)
		}
	}
}

// table builds the table of the routes of all files. They were read without a problem when there
// were as many before; n is the place for one of all routes.
func (d *decoder) table(n *yaml.Node, before int) {
	if d.Count() == before && !d.lost && d.forwardsNothing() {
		d.Fail(n, "no route has a backend, and neither has `default` or `no_sni`, so that no connection could be forwarded")
		return
	}
	table, err := routes.New(d.tableConfig())
	var conflicts routes.Conflicts
	switch {
	case errors.As(err, &conflicts):
		d.conflicts(conflicts)
	case err != nil:
		d.Fail(n, "routes: %v", err)
	}
	d.config.Table = table
}

func (d *decoder) tableConfig() routes.Config {
	c := routes.Config{Routes: d.config.Routes, Default: &d.config.Default, NoName: d.config.NoSNI, JA4: d.config.Limits.JA4}
	for i := range d.config.Listen {
		l := &d.config.Listen[i]
		c.Listeners = append(c.Listeners, routes.Own{Label: l.Label(), Default: l.Default, NoName: l.NoSNI})
	}
	return c
}

// forwardsNothing reports whether every client would be rejected.
func (d *decoder) forwardsNothing() bool {
	others := []*routes.Route{&d.config.Default, d.config.NoSNI}
	for _, l := range d.config.Listen {
		others = append(others, l.Default, l.NoSNI, l.TCP)
		for _, r := range l.NotTLS {
			others = append(others, r.Route)
		}
	}
	return !slices.ContainsFunc(d.config.Routes, func(r routes.Route) bool { return r.Backend >= 0 }) &&
		!slices.ContainsFunc(others, func(r *routes.Route) bool { return r != nil && r.Backend >= 0 })
}

func (d *decoder) route(n *yaml.Node) routes.Route {
	before := d.Count()
	r, unread := d.take(n, &routeSchema)
	if unread || d.Count() > before && misspeltCondition(n) {
		r.SNI = nil // it would contradict the routes without the condition
	}
	if slices.Contains(r.SNI, "**") {
		d.warnIfOpen(&r, n, d.listenersLike(&r))
	}
	return r
}

// conditionKeys are those of routes.Conditions.
var conditionKeys = []string{"listen", "alpn", "from", "matching"}

func misspeltCondition(route *yaml.Node) bool {
	is := func(key string) bool { return strict.Misspelt(route, &routeSchema, key) }
	return slices.ContainsFunc(conditionKeys, is)
}

// take reads a mapping that says where connections go: a route, or what has no names. It also
// reports whether a condition could not be read.
func (d *decoder) take(n *yaml.Node, s *strict.Schema) (r routes.Route, unread bool) {
	r = routes.Route{File: d.fileOfRoute(), Line: n.Line, Backend: -1}
	before := d.Count()
	var to, sticky, allow, deny *yaml.Node
	for k, v := range d.Fields(n, s) {
		switch k.Value {
		case "sni":
			r.SNI = d.patterns(v)
		case "backend":
			to = v
		case "sticky":
			sticky = v
		case "allow":
			allow = v
		case "deny":
			deny = v
		case "ja4":
			r.JA4 = d.fingerprints(v)
		case "idle_timeout":
			d.Duration(v, k.Value, &r.IdleTimeout)
		case "keepalive":
			if s, ok := d.SecondsOrOff(v, k.Value, maxKeepalive); ok {
				r.Keepalive = cmp.Or(s, -1)
			}
		case "reject":
			r.Reject = d.reject(v)
		case "begins", "silent": // see plainRule
		default:
			unread = !d.condition(&r, n, k.Value, v) || unread
		}
	}
	problems := d.Count()
	if r.Backend = d.destination(to, sticky); d.Count() == problems {
		d.wantsName(&r, to, s)
	}
	r.Access = d.clients(allow, deny)
	if r.Backend < 0 && d.Count() == before {
		d.rejectsAll(n)
	}
	return r, unread
}

// condition reads one of conditionKeys, and reports whether it could.
func (d *decoder) condition(r *routes.Route, n *yaml.Node, key string, v *yaml.Node) (ok bool) {
	if r.When == nil {
		r.When = &routes.Conditions{}
	}
	before, known := d.Count(), true
	switch key {
	case "listen":
		r.When.Listen, known = d.listenersOf(v)
	case "alpn":
		r.When.ALPN = d.protocols(v)
	case "from":
		r.When.From = d.prefixes(v, key)
	case "matching":
		r.When.Matching = d.matching(v, n)
	}
	return known && d.Count() == before
}

// rejectsAll refuses the keys that say nothing where every client is rejected.
func (d *decoder) rejectsAll(n *yaml.Node) {
	for i := 0; i < len(n.Content); i += 2 {
		switch k := n.Content[i]; k.Value {
		case "sticky", "allow", "deny", "ja4", "idle_timeout", "keepalive":
			d.Fail(k, "%s has no effect without a backend, every client is rejected", strict.Key(k.Value))
		}
	}
}

// listenersOf reads the listeners of a route, by their names, and reports whether all are known. Of
// a name that is not, there may be no problem: see unknownListener.
func (d *decoder) listenersOf(n *yaml.Node) (out []int, ok bool) {
	ok = true
	for e, s := range d.Texts(n, "listen") {
		i, known := d.labels[s]
		switch {
		case !known:
			ok = false
			d.unknownListener(e, s)
		case d.listeners[i].tcp:
			d.Fail(e, "listener %s reads no names, with `protocol: tcp` %s: its own `backend` takes every client",
				strict.Quote(s), d.Place(d.config.File, d.listeners[i].line))
		case slices.Contains(out, i):
			d.Fail(e, "duplicate listener %s in one route", strict.Quote(s))
		default:
			out = append(out, i)
		}
	}
	return out, ok
}

// unknownListener reports a name, unless it may be that of a listener that could not be read.
func (d *decoder) unknownListener(n *yaml.Node, name string) {
	names := slices.Sorted(maps.Keys(d.labels))
	near := strict.Nearest(name, names)
	switch {
	case d.misnamed:
	case len(names) == 0:
		d.Fail(n, "unknown listener %s: no listener has a name, write {name: %s, address: ...} under `listen`", strict.Quote(name), name)
	case near != "":
		d.Fail(n, "unknown listener %s, did you mean %s?", strict.Quote(name), strict.Quote(near))
	default:
		d.Fail(n, "unknown listener %s, `listen` names %s", strict.Quote(name), strings.Join(names, ", "))
	}
}

// matching reads a regular expression for the stars of the route's patterns.
func (d *decoder) matching(n, route *yaml.Node) *routes.Matching {
	s, ok := d.Text(n, "matching")
	if !ok {
		return nil
	}
	m, err := routes.ParseMatching(s)
	if err != nil {
		d.Fail(n, "matching %s: %v; the syntax is RE2's", strict.Quote(s), err)
		return nil
	}
	for p, e := range patternNodes(route) {
		if !strings.HasPrefix(p, "*") {
			d.Fail(e, "%s has no star, and `matching` is asked of what a star stands for", strict.Quote(p))
		}
	}
	return m
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

// clients reads the lists of a route or a listener; nil is none.
func (d *decoder) clients(allow, deny *yaml.Node) *routes.Access {
	if allow == nil && deny == nil {
		return nil
	}
	key := d.listKey(allow) + "\n" + d.listKey(deny)
	if a := d.accesses[key]; a != nil {
		return a
	}
	before := d.Count()
	var allowed, denied []netip.Prefix
	if allow != nil {
		allowed = d.prefixes(allow, "allow")
	}
	if deny != nil {
		denied = d.prefixes(deny, "deny")
	}
	if d.Count() > before {
		return nil
	}
	a, err := routes.NewAccess(allowed, denied)
	if err != nil {
		d.Fail(deny, "%v", err)
		return nil
	}
	d.accesses[key] = a
	return a
}

// prefixes reads a list of networks, some of which may be in files.
func (d *decoder) prefixes(n *yaml.Node, name string) []netip.Prefix {
	var lists [][]netip.Prefix // of the files
	var own []netip.Prefix
	seen := map[netip.Prefix]bool{}
	for e, s := range d.Texts(n, name) {
		if file, ok := strings.CutPrefix(s, "@"); ok {
			lists = append(lists, d.networkFile(e, name, file))
			continue
		}
		p, wrong := parseNetwork(s)
		switch {
		case wrong != "":
			d.Fail(e, "%s %s: %s", name, strict.Quote(s), wrong)
		case seen[p]:
			d.Fail(e, "duplicate network %s", strict.Quote(s))
		default:
			seen[p] = true
			own = append(own, p)
		}
	}
	if len(lists) == 0 {
		return own
	}
	if len(own) > 0 {
		lists = append(lists, own)
	}
	return join(lists)
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
	d.config.Default = *def
	d.warnIfOpen(def, n, d.listenersWithoutDefault())
}

// otherwise reads where the connections go that no route takes.
func (d *decoder) otherwise(n *yaml.Node, s *strict.Schema) *routes.Route {
	r, _ := d.take(n, s)
	return &r
}

// conflicts reports each pattern that two routes claim, at the later one.
func (d *decoder) conflicts(conflicts routes.Conflicts) {
	positions := map[int]map[string]*yaml.Node{}
	at := func(route int, pattern string) *yaml.Node {
		if positions[route] == nil {
			positions[route] = patternNodes(d.routeNodes[route])
		}
		return positions[route][pattern]
	}
	for _, c := range conflicts {
		d.In(d.fileOf(c.Second), func() {
			first := d.Place(d.fileOf(c.First), at(c.First, c.Pattern).Line)
			d.Fail(at(c.Second, c.Pattern), "%s%s is already routed %s", strict.Quote(c.Pattern), c.Terms(), first)
		})
	}
}

// fileOf returns the file of a route.
func (d *decoder) fileOf(route int) string {
	return cmp.Or(d.config.Routes[route].File, d.config.File)
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
