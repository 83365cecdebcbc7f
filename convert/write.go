package convert

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"keyhole/address"
)

// write returns the edge as a configuration of Keyhole.
func (e *edge) write(n *notes) (string, error) {
	e.prune(n)
	tables, err := e.tables(n)
	if err != nil {
		return "", err
	}
	w := &writer{edge: e, notes: n, idle: e.common(), names: map[*backend]string{}, taken: map[string]int{}}
	var shared []entry
	for _, t := range tables {
		w.apart = w.apart || t != nil && shared != nil && !slices.EqualFunc(t, shared, entry.equal)
		if t != nil {
			shared = t
		}
	}
	for i, l := range e.listeners {
		w.listener(l, tables[i])
	}
	if !w.apart {
		w.table("", shared)
	}
	if !w.leads {
		return "", ErrNothing
	}
	var out strings.Builder
	out.WriteString("listen:\n" + w.listen.String())
	w.settings(&out)
	w.backends(&out)
	out.WriteString("routes:")
	if w.routes.Len() == 0 {
		out.WriteString(" []")
	}
	out.WriteString("\n" + w.routes.String() + w.others.String())
	return out.String(), nil
}

// prune leaves out the servers that are the edge itself, and makes targets without a server reject.
func (e *edge) prune(n *notes) {
	for _, b := range e.backends {
		b.servers = slices.DeleteFunc(b.servers, func(s server) bool {
			own := e.own(s.address)
			if own {
				n.add(s.place, "server %s: is a listener of this file", s.address)
			}
			return own
		})
		main := func(s server) bool { return s.backup == 0 }
		for i := range b.servers {
			if !slices.ContainsFunc(b.servers, main) {
				b.servers[i].backup = 0 // only backups are as good as none
			}
		}
	}
	for _, l := range e.listeners {
		for i, r := range l.rules {
			if r.to.backend != nil && len(r.to.backend.servers) == 0 {
				l.rules[i].to = target{}
			}
		}
	}
}

// own reports whether a server's address may be one of the edge's listeners.
func (e *edge) own(s string) bool {
	a, _ := address.ParseServer(s) // it was read before
	for _, l := range e.listeners {
		for _, b := range l.addresses {
			if address.LeadsTo(a, b, false) {
				return true
			}
		}
	}
	return false
}

// tables makes the tables of the listeners. Listeners that cannot be carried over are left out.
func (e *edge) tables(n *notes) (tables [][]entry, err error) {
	steps := 0
	var kept []*listener
	for _, l := range e.listeners {
		var t []entry
		if l.plain {
			if l.only(n).backend == nil {
				continue
			}
		} else if t, err = l.table(n, &steps); err != nil {
			return nil, err
		}
		kept, tables = append(kept, l), append(tables, t)
	}
	e.listeners = kept
	return tables, nil
}

// only returns where all clients of a listener go that reads no TLS.
func (l *listener) only(n *notes) target {
	for _, r := range l.rules {
		if len(r.conditions()[0]) > 0 {
			n.add(r.place, "a port without TLS has one backend")
			continue
		}
		if r.to.backend.byName() {
			n.add(r.place, "clients without TLS ask for no name that could be their server's")
			return target{}
		}
		return r.to
	}
	return target{}
}

func (e entry) equal(o entry) bool {
	return e.pattern == o.pattern && choices(e.choices) == choices(o.choices)
}

// A writer prints an edge.
type writer struct {
	*notes
	edge   *edge
	idle   time.Duration       // that is set for all
	names  map[*backend]string // of those that are printed
	taken  map[string]int      // how often a name was wanted, of backends and of listeners
	apart  bool                // each listener has routes of its own
	leads  bool                // a route leads to a backend
	listen strings.Builder
	routes strings.Builder
	others strings.Builder // default and no_sni
}

// listener prints a listener, and its routes if they are its own.
func (w *writer) listener(l *listener, table []entry) {
	var own []string // keys that each of its addresses has
	for _, list := range []struct {
		key  string
		nets []netip.Prefix
	}{{"allow", l.allow}, {"deny", l.deny}} {
		if list.nets != nil {
			own = append(own, list.key+": "+flow(networks(list.nets)))
		}
	}
	if l.max > 0 {
		own = append(own, fmt.Sprintf("limits: {connections: %d}", l.max))
	}
	if l.plain {
		own = append(own, "protocol: tcp")
		own = append(own, w.keys(choice{to: l.only(&notes{})})...)
	}
	if l.notTLS != nil {
		own = append(own, "not_tls: ["+strings.Join(w.notTLS(l), ", ")+"]")
	}
	apart := w.apart && !l.plain
	if apart {
		for _, o := range w.otherwise(table) {
			own = append(own, o.key+": "+o.value)
		}
	}
	var names []string
	for _, a := range l.addresses {
		keys := []string{"address: " + quoted(a.String())}
		if apart {
			names = append(names, w.unique("listener", l.name))
			keys = slices.Insert(keys, 0, "name: "+names[len(names)-1])
		}
		if from := l.proxies[a]; from != nil {
			keys = append(keys, "proxy_protocol_from: "+flow(networks(from)))
		}
		fmt.Fprintf(&w.listen, "  - {%s}\n", strings.Join(append(keys, own...), ", "))
	}
	if apart {
		w.table("listen: "+flow(names)+", ", table)
	}
}

// protocolNames are texts that are names to Keyhole.
var protocolNames = words("http openvpn xmpp socks stun postgres")

// notTLS returns the elements for clients that do not speak TLS.
func (w *writer) notTLS(l *listener) (all []string) {
	for _, b := range l.notTLS {
		keys := []string{"reject: close"} // such a client reads no alert
		if b.to.backend != nil && !b.to.backend.byName() {
			keys = w.keys(choice{to: b.to})
		}
		switch {
		case protocolNames[b.text]:
			keys = slices.Insert(keys, 0, "begins: {text: "+b.text+"}")
		case b.text != "":
			keys = slices.Insert(keys, 0, "begins: "+quoted(b.text))
		}
		all = append(all, "{"+strings.Join(keys, ", ")+"}")
	}
	return all
}

// table prints the routes of a table, each with the keys in front.
func (w *writer) table(front string, table []entry) {
	var order []string
	groups := map[string][]entry{}
	for _, e := range table {
		said := choices(e.choices)
		if e.pattern == "" || e.pattern == "**" {
			continue
		}
		if groups[said] == nil {
			order = append(order, said)
		}
		groups[said] = append(groups[said], e)
	}
	for _, said := range order {
		w.group(front, groups[said])
	}
	for _, e := range table {
		conditional := e.choices[:len(e.choices)-1]
		switch e.pattern {
		case "**":
			for _, c := range conditional {
				w.route(front, []string{quote("**")}, c)
			}
		case "":
			for _, c := range conditional {
				if !alone(c.alpn) { // which nobody sends without a name
					w.add(c.place, "%s: a condition on these clients has no equal", told(e.pattern))
				}
			}
		}
	}
	if front == "" {
		for _, o := range w.otherwise(table) {
			fmt.Fprintf(&w.others, "%s: %s\n", o.key, o.value)
		}
	}
}

// group prints the routes of entries that say the same.
func (w *writer) group(front string, entries []entry) {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = quote(e.pattern)
	}
	for _, c := range entries[0].choices {
		w.route(front, names, c)
	}
}

// route prints one route.
func (w *writer) route(front string, names []string, c choice) {
	keys := w.keys(c)
	one := flow(names)
	if line := fmt.Sprintf("  - {%ssni: %s, %s}\n", front, one, strings.Join(keys, ", ")); len(line) <= 120 || len(names) == 1 {
		w.routes.WriteString(line)
		return
	}
	w.routes.WriteString("  - ")
	if front != "" {
		w.routes.WriteString(strings.TrimSuffix(front, ", ") + "\n    ")
	}
	w.routes.WriteString("sni:\n")
	for _, n := range names {
		fmt.Fprintf(&w.routes, "      - %s\n", n)
	}
	for _, k := range keys {
		fmt.Fprintf(&w.routes, "    %s\n", k)
	}
}

// keys returns what a route has beside its names.
func (w *writer) keys(c choice) (keys []string) {
	if c.matching != "" {
		keys = append(keys, "matching: "+quoted(c.matching))
	}
	if c.alpn != nil {
		all := make([]string, len(c.alpn))
		for i, p := range c.alpn {
			all[i] = quote(p)
		}
		keys = append(keys, "alpn: "+flow(all))
	}
	for _, list := range []struct {
		key  string
		nets []netip.Prefix
	}{{"from", c.from}, {"allow", c.allow}, {"deny", c.deny}} {
		if list.nets != nil {
			keys = append(keys, list.key+": "+flow(networks(list.nets)))
		}
	}
	if c.to.backend == nil {
		return append(keys, "reject: alert")
	}
	w.leads = true
	keys = append(keys, "backend: "+w.name(c.to.backend))
	if d := c.to.idle; d != 0 && d != w.idle {
		keys = append(keys, "idle_timeout: "+spellDuration(d))
	}
	return keys
}

func networks(nets []netip.Prefix) []string {
	all := make([]string, len(nets))
	for i, p := range nets {
		all[i] = quote(p.String())
	}
	return all
}

// common returns the idle time that is set for all: that of the first rule with one.
func (e *edge) common() time.Duration {
	for _, l := range e.listeners {
		for _, r := range l.rules {
			if r.to.idle != 0 {
				return r.to.idle
			}
		}
	}
	return 0
}

// A setting is a key of the configuration and its value.
type setting struct{ key, value string }

// otherwise returns default and no_sni, as far as they say more than that the edge rejects.
func (w *writer) otherwise(table []entry) (all []setting) {
	var names, none choice
	for _, e := range table {
		switch e.pattern {
		case "**":
			names = e.choices[len(e.choices)-1]
		case "":
			none = e.choices[len(e.choices)-1]
		}
	}
	if names.key() != none.key() && none.to.backend.byName() {
		none = choice{} // nginx has no server for them either
	}
	if names.to.backend != nil {
		all = append(all, setting{"default", "{" + strings.Join(w.keys(names), ", ") + "}"})
	}
	if names.key() != none.key() {
		all = append(all, setting{"no_sni", "{" + strings.Join(w.keys(none), ", ") + "}"})
	}
	return all
}
