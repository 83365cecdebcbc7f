package convert

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// rules reads the rules of a frontend: first those that reject, then those that pick a backend.
func (h *haproxy) rules(s *section, l *listener) {
	acls := map[string]*acl{}
	for _, a := range s.lines {
		if a.words[0] == "acl" {
			h.acl(a, acls)
		}
	}
	l.plain = !reads(s)
	passed := map[string][][]literal{}                                                   // by the rules of one kind, which asks no further
	for _, kind := range []string{"inspect-delay", "connection", "session", "content"} { // the order in which they are asked
		for _, t := range s.lines {
			if t.words[0] == "tcp-request" && t.word(1) == kind {
				h.request(l, t, acls, passed)
			}
		}
	}
	l.fence()
	for _, u := range s.lines {
		switch u.words[0] {
		case "use_backend":
			h.useBackend(s, l, u, acls)
		case "use-server":
			h.add(u.place, "use-server: write a backend with this server alone, and use_backend")
		}
	}
	if d, ok := s.find("default_backend"); ok {
		l.rules = append(l.rules, rule{place: d.place, to: h.target(s, d.word(1), d.place)})
	} else if s.kind() == "listen" {
		l.rules = append(l.rules, rule{place: s.place, to: h.target(s, s.name(), s.place)})
	}
	if l.plain && l.notTLS != nil { // bytes are looked at, and all others go one way, TLS or not
		l.plain = false
		if last := l.rules[max(0, len(l.rules)-1):]; len(last) > 0 && last[0].when == nil {
			l.notTLS = append(l.notTLS, begins{"", last[0].to})
		}
	}
}

// reads reports whether a frontend looks at a ClientHello.
func reads(s *section) bool {
	return slices.ContainsFunc(s.lines, func(l line) bool {
		return slices.ContainsFunc(l.words, func(w string) bool {
			w = strings.TrimLeft(w, "{!%[")
			return strings.HasPrefix(w, "req.ssl_") || strings.HasPrefix(w, "req_ssl_")
		})
	})
}

// request reads a tcp-request line.
func (h *haproxy) request(l *listener, t line, acls map[string]*acl, passed map[string][][]literal) {
	kind, action := t.word(1), t.word(2)
	switch {
	case kind == "inspect-delay":
		h.timeout(t.place, "inspect-delay", action, time.Millisecond, &h.edge.hello)
		return
	case action == "expect-proxy" && t.word(3) == "layer4":
		h.expect(l, t, acls)
		return
	case action != "accept" && action != "reject":
		if action != "capture" { // is for the log
			h.add(t.place, "tcp-request %s %s: has no equal", kind, action)
		}
		return
	}
	lists, ok := h.condition(t.place, t.words[3:], acls)
	if !ok {
		return
	}
	if action == "accept" {
		passed[kind] = simple(append(passed[kind], lists...))
		return
	}
	open, ok := none(passed[kind])
	if ok {
		lists, ok = both(lists, open)
	}
	if !ok || slices.ContainsFunc(lists, func(l []literal) bool { return !sayable(l) }) {
		h.add(t.place, "tcp-request %s %s: these conditions together have no equal", kind, action)
		return
	}
	if len(lists) > 0 {
		l.rules = append(l.rules, rule{place: t.place, when: lists})
	}
}

// expect reads the clients that begin with a PROXY header.
func (h *haproxy) expect(l *listener, t line, acls map[string]*acl) {
	lists, ok := h.condition(t.place, t.words[4:], acls)
	var from []netip.Prefix
	for _, list := range lists {
		switch {
		case len(list) == 0:
			from = append(from, everybody...)
		case len(list) == 1 && list[0].from != nil && !list[0].not:
			from = append(from, list[0].from...)
		default:
			h.add(t.place, "expect-proxy: Keyhole knows proxies by their addresses")
			return
		}
	}
	for _, a := range l.addresses {
		if ok && l.proxies[a] == nil {
			l.proxies[a] = from
		}
	}
}

// useBackend reads a use_backend line. Its name may be an expression.
func (h *haproxy) useBackend(s *section, l *listener, u line, acls map[string]*acl) {
	name, at := u.word(1), 2
	for strings.Contains(name, "%[") && !strings.Contains(name, "]") && at < len(u.words) { // an argument with blanks
		name, at = name+u.words[at], at+1
	}
	condition := u.words[min(at, len(u.words)):]
	lists, ok := h.condition(u.place, condition, acls)
	if text := h.notTLS(condition, acls); ok && text != "" {
		l.notTLS = append(l.notTLS, begins{text, h.target(s, name, u.place)})
		return
	}
	switch {
	case !ok || len(lists) == 0:
	case strings.Contains(name, "%["):
		h.dynamic(s, l, u.place, name, lists)
	default:
		l.rules = append(l.rules, rule{place: u.place, when: lists, to: h.target(s, name, u.place)})
	}
}

// notTLS returns the bytes that are the whole of a condition: { payload(0,4) SSH- }, or such an acl.
func (h *haproxy) notTLS(condition []string, acls map[string]*acl) string {
	switch {
	case len(condition) == 2 && condition[0] == "if" && acls[condition[1]] != nil:
		return acls[condition[1]].begins
	case len(condition) > 3 && condition[0] == "if" && condition[1] == "{" && slices.Index(condition, "}") == len(condition)-1:
		return h.begins
	}
	return ""
}

// dynamic reads a name such as be_%[req.ssl_sni,lower,map(/etc/names.map,other)], into a rule for
// each backend. Clients without a backend go to the default.
func (h *haproxy) dynamic(s *section, l *listener, at place, expr string, when [][]literal) {
	before, inner, _ := strings.Cut(expr, "%[")
	inner, after, _ := strings.Cut(inner, "]")
	fetch, conversions, _ := strings.Cut(inner, ",")
	if fetch != "req.ssl_sni" && fetch != "req_ssl_sni" || strings.Contains(after, "%[") {
		h.add(at, "use_backend %s: only a name made from req.ssl_sni is known", expr)
		return
	}
	conversions = strings.TrimPrefix(strings.TrimPrefix(conversions, "lower"), ",")
	values, ok := h.lookup(at, conversions)
	if !ok {
		return
	}
	other := target{}
	if d, ok := s.find("default_backend"); ok {
		other = h.target(s, d.word(1), d.place)
	}
	for _, v := range values {
		to := other
		if name := before + v.value + after; h.sections[name] != nil {
			to = h.target(s, name, v.place)
		}
		lists, ok := both([][]literal{{{names: v.names}}}, when)
		if ok && !slices.ContainsFunc(lists, func(l []literal) bool { return !sayable(l) }) {
			l.rules = append(l.rules, rule{place: v.place, when: lists, to: to})
		}
	}
	if l := len(values); l == 0 {
		h.add(at, "use_backend %s: names no backend", expr)
	}
}

// A mapped is the value that several names have in a map.
type mapped struct {
	place
	names *patterns
	value string
}

// lookup returns the values of names after a conversion: map(FILE) or its kin, or none, for which the
// name is the backend's.
func (h *haproxy) lookup(at place, conversion string) (all []mapped, ok bool) {
	if conversion == "" {
		for name := range h.sections {
			if m, err := parsed(name); err == nil && !strings.HasPrefix(name, "*") {
				all = append(all, mapped{at, newPatterns(m.patterns...), name})
			}
		}
		slices.SortFunc(all, func(a, b mapped) int { return strings.Compare(a.value, b.value) })
		return all, true
	}
	kind, inner, call := strings.Cut(conversion, "(")
	method, isMap := strings.CutPrefix(kind, "map")
	inner, closed := strings.CutSuffix(inner, ")")
	if !call || !isMap || !closed {
		h.add(at, "%s: only `lower` and the maps of names are known", conversion)
		return nil, false
	}
	file, other, hasOther := strings.Cut(inner, ",")
	all, ok = h.readMap(at, strings.TrimPrefix(method, "_"), file)
	if ok && hasOther {
		all = append(all, mapped{at, newPatterns("**"), other})
	}
	return all, ok
}

// readMap reads a file of names and values, in which the first that fits decides. Neighbours with
// one value are one.
func (h *haproxy) readMap(at place, method, file string) (all []mapped, ok bool) {
	text, err := h.files.Read(file)
	if err != nil {
		h.add(at, "%v", err)
		return nil, false
	}
	number := 0
	for l := range strings.Lines(string(text)) {
		number++
		here := place{file, number}
		words := strings.Fields(l)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		value := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(l), words[0]))
		if len(all) == 0 || all[len(all)-1].value != value {
			all = append(all, mapped{here, newPatterns(), value})
		}
		m, err := matches(method, words[0])
		all[len(all)-1].names.add(h.notes, here, m, err)
	}
	return all, true
}
