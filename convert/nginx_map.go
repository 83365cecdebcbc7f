package convert

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxValues bounds the values of all maps: maps that name each other multiply theirs.
const maxValues = 1 << 20

// pass makes rules of a proxy_pass.
func (x *nginx) pass(l *listener, d directive, idle time.Duration) {
	values, ok := x.expand(d.place, d.word(1), 0)
	if !ok {
		return
	}
	for _, v := range values {
		if !sayable(v.when) {
			x.add(v.place, "these conditions together have no equal")
			continue
		}
		to := target{}
		if b := x.backendFor(v); b != nil {
			to = target{b, idle}
		}
		named := func(l literal) bool { return l.names != nil && !l.names.has[""] }
		if v.notTLS && !l.plain {
			if slices.ContainsFunc(v.when, named) {
				continue // such a client has no name
			}
			if len(l.notTLS) == 0 {
				l.notTLS = []begins{{"", to}}
			}
			continue
		}
		l.rules = append(l.rules, rule{place: v.place, when: [][]literal{v.when}, to: to})
	}
}

// A value is what a text with variables is for the clients that fit all conditions.
type value struct {
	place
	when   []literal
	text   string
	notTLS bool // is for what is no TLS
}

var variable = regexp.MustCompile(`\$\{?([A-Za-z0-9_]+)\}?`)

// expand returns the values of a text in the order in which nginx would find them.
func (x *nginx) expand(at place, text string, depth int) (all []value, ok bool) {
	if x.values++; x.values > maxValues {
		return nil, false
	}
	m := variable.FindStringSubmatchIndex(text)
	if m == nil {
		return []value{{at, nil, text, false}}, true
	}
	name := "$" + text[m[2]:m[3]]
	before, after := text[:m[0]], text[m[1]:]
	if name == "$ssl_preread_server_name" {
		x.add(at, "%s: private addresses are refused unless `to` of a backend names them", text)
		return []value{{at, nil, before + "{sni}" + strings.Replace(after, ":$server_port", ":listen", 1), false}}, true
	}
	source, known := x.maps[name]
	if !known || depth > 8 || strings.Contains(after, "$") {
		x.add(at, "%s: only a variable of a `map` of $ssl_preread_server_name or $ssl_preread_alpn_protocols is known", text)
		return nil, false
	}
	entries, ok := x.entries(source)
	for _, e := range entries {
		values, known := x.expand(e.place, before+e.text+after, depth+1)
		for _, v := range values {
			all = append(all, value{v.place, slices.Concat(e.when, v.when), v.text, e.notTLS || v.notTLS})
		}
		if !known {
			all = append(all, value{e.place, e.when, "", e.notTLS})
		}
		if x.values > maxValues {
			return nil, false
		}
	}
	return all, ok
}

// An nginxEntry is a line of a map, with how early nginx looks at it.
type nginxEntry struct {
	value
	rank   int // exact names, those with a star before or behind, regular expressions, the default
	length int // of a name with a star: the longest goes first
}

// entries returns the lines of a map in the order in which nginx looks at them.
func (x *nginx) entries(m directive) ([]value, bool) {
	if m.word(1) == "$ssl_preread_protocol" {
		return x.protocols(m)
	}
	read := map[string]func(m, d directive, host bool) (nginxEntry, bool){
		"$ssl_preread_server_name": x.nameEntry, "$ssl_preread_alpn_protocols": x.alpnEntry,
	}[m.word(1)]
	if read == nil {
		x.add(m.place, "map %s: Keyhole decides by name, protocols and address of a client", m.word(1))
		return nil, false
	}
	if x.values += len(m.block); x.values > maxValues {
		return nil, false
	}
	hosts := slices.ContainsFunc(m.block, func(d directive) bool { return d.name() == "hostnames" && len(d.words) == 1 })
	var all []nginxEntry
	for _, d := range m.block {
		switch {
		case d.name() == "hostnames" || d.name() == "volatile":
		case len(d.words) != 2:
			x.other(d)
		case d.name() == "default":
			all = append(all, nginxEntry{value: value{d.place, nil, d.word(1), false}, rank: 4})
		default:
			if e, ok := read(m, d, hosts); ok {
				e.place, e.text = d.place, d.word(1)
				all = append(all, e)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b nginxEntry) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.length, a.length))
	})
	values := make([]value, len(all))
	for i, e := range all {
		values[i] = e.value
	}
	return values, true
}

// protocols reads a map of versions of TLS, of which Keyhole only knows whether a client speaks it.
func (x *nginx) protocols(m directive) ([]value, bool) {
	var tls, other, rest *value
	for _, d := range m.block {
		v := &value{place: d.place, text: d.word(1)}
		switch {
		case d.name() == "default":
			rest = v
		case d.name() == "":
			other = v
		case tls == nil:
			tls = v
		case tls.text != v.text:
			x.add(d.place, "%s: Keyhole does not tell versions of TLS apart", d.name())
		}
	}
	tls, other = cmp.Or(tls, rest), cmp.Or(other, rest)
	if tls == nil || other == nil {
		return nil, false
	}
	if tls == other {
		return []value{*tls}, true
	}
	no := *other
	no.notTLS = true
	return []value{no, *tls}, true
}

// nameEntry reads a line of a map of names.
func (x *nginx) nameEntry(_, d directive, hosts bool) (e nginxEntry, ok bool) {
	name := strings.TrimPrefix(d.name(), `\`)
	var m match
	var err error
	suffix := strings.TrimPrefix(name, "*")
	prefix, behind := strings.CutSuffix(name, ".*")
	switch {
	case name == "":
		m.patterns = []string{""}
	case strings.HasPrefix(name, "~"):
		e.rank = 3
		m, err = shape(strings.TrimPrefix(name[1:], "*"))
	case !strings.Contains(name, "*") && name[0] != '.':
		m, err = parsed(name)
	case !hosts:
		err = fmt.Errorf("%s: without `hostnames` in its map it takes no name", name)
	case strings.HasPrefix(suffix, "."):
		e.rank, e.length = 1, len(suffix)
		all := []string{name[1:], "**" + suffix}
		m, err = parsed(all[min(1, len(name)-len(suffix)):]...) // the name itself without a star
	case behind && !strings.Contains(prefix, "*"):
		e.rank, e.length = 2, len(prefix)
		m, err = starred("**", regexp.QuoteMeta(prefix)+`\..+`)
	default:
		err = fmt.Errorf("%s: a star within a name has no equal", name)
	}
	set := newPatterns()
	e.when = []literal{{names: set}}
	return e, set.add(x.notes, d.place, m, err)
}

// protocol is an expression for one protocol among several, such as ~\bh2\b.
var protocol = regexp.MustCompile(`^~\*?(?:\\b|\^|\(\^\|,\))?([A-Za-z0-9/.-]+?)(?:\\b|\$|\(,\|\$\))?$`)

// alpnEntry reads a line of a map of protocols.
func (x *nginx) alpnEntry(_, d directive, _ bool) (e nginxEntry, ok bool) {
	name := d.name()
	if m := protocol.FindStringSubmatch(name); m != nil {
		name, e.rank = m[1], 2
	}
	switch {
	case name == "" || strings.ContainsAny(name, "~,\\") || len(name) > 255:
		x.add(d.place, "%s: only single protocols are known", d.name())
		return e, false
	case name != acme:
		x.add(d.place, "%s: nginx compares the whole list, `alpn: %s` takes every client that offers it", d.name(), name)
	}
	e.when = []literal{{alpn: []string{name}}}
	return e, true
}

// backendFor returns the backend of a value: an upstream or an address. Nothing is nil.
func (x *nginx) backendFor(v value) *backend {
	b := x.upstreams[v.text]
	if b == nil && v.text != "" {
		if b = x.addresses[v.text]; b == nil {
			b = &backend{place: v.place, alone: true, retries: -1}
			x.edge.serve(x.notes, b, server{place: v.place}, nginxAddress(v.text))
			x.addresses[v.text] = b
			x.edge.backends = append(x.edge.backends, b)
		}
	}
	if b == nil || len(b.servers) == 0 {
		return nil
	}
	if b.alone {
		b.name = b.servers[0].address
	}
	if x.headers {
		return x.withHeader(b)
	}
	return b
}

// withHeader returns a backend with the servers of another, to which a PROXY header goes.
func (x *nginx) withHeader(b *backend) *backend {
	with := x.proxied[b]
	if with == nil {
		c := *b
		c.name, c.servers = b.name+"-proxy", slices.Clone(b.servers)
		with, c.proxy, c.alone = &c, "v1", false
		x.proxied[b] = with
		x.edge.backends = append(x.edge.backends, with)
	}
	return with
}
