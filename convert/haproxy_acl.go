package convert

import (
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// An acl is what the lines of one name say together: any of them.
type acl struct {
	lists   [][]literal
	begins  string // its bytes, which are no TLS; empty: another condition
	unknown bool   // one of the lines was not carried over
}

// constants are criteria with one answer for every ClientHello.
var constants = map[string]literal{
	"TRUE": always, "always_true": always, "wait_end": always, "WAIT_END": always, "REQ_CONTENT": always,
	"FALSE": never, "always_false": never, "HTTP": never, "req.proto_http": never, "req_proto_http": never,
}

// acl reads `acl NAME CRITERION ...` into the acls of a section.
func (h *haproxy) acl(l line, acls map[string]*acl) {
	a := acls[l.word(1)]
	if a == nil {
		a = &acl{}
		acls[l.word(1)] = a
	}
	lit, ok := h.criterion(l.place, l.words[min(2, len(l.words)):])
	if !ok {
		a.unknown = true
		return
	}
	for _, list := range a.lists { // names of two lines are one set, and so are networks
		switch have := &list[0]; {
		case have.names != nil && lit.names != nil:
			have.names.join(lit.names)
			return
		case have.from != nil && lit.from != nil:
			have.from = append(have.from, lit.from...)
			return
		}
	}
	a.begins = h.begins
	a.lists = append(a.lists, []literal{lit})
}

// criterion reads CRITERION [FLAGS] VALUE... It reports false after a note.
func (h *haproxy) criterion(at place, words []string) (literal, bool) {
	h.begins = ""
	if len(words) == 0 {
		h.add(at, "a condition without a criterion")
		return never, false
	}
	if c, ok := constants[words[0]]; ok {
		return c, true
	}
	method, values, ok := h.flags(at, words[1:])
	if !ok {
		return never, false
	}
	if payload.MatchString(words[0]) && len(values) == 1 {
		return never, h.payload(at, method, values[0])
	}
	fetch, converters, _ := strings.Cut(words[0], ",")
	if converters != "" && converters != "lower" {
		h.add(at, "%s: no conversion but `lower` is known", words[0])
		return never, false
	}
	switch text := strings.Join(values, " "); {
	case fetch == "req.ssl_sni" || fetch == "req_ssl_sni":
		return h.names(at, method, values)
	case fetch == "req.ssl_alpn":
		return h.alpn(at, method, values)
	case fetch == "src":
		return h.sources(at, values)
	case fetch == "req.ssl_hello_type" || fetch == "req_ssl_hello_type":
		if text == "1" || text == "gt 0" {
			return always, true
		}
	case fetch == "req.len" || fetch == "req_len":
		if text == "gt 0" || text == "ge 1" {
			return always, true
		}
	}
	h.add(at, "%s: Keyhole decides by name, protocols and address of a client", strings.Join(words, " "))
	return never, false
}

// payload is a criterion on the first bytes of a client.
var payload = regexp.MustCompile(`^(req\.)?payload\(0,[0-9]+\)$`)

// payload keeps what a client's first bytes must be. No ClientHello begins with them.
func (h *haproxy) payload(at place, method, text string) bool {
	if method == "bin" {
		b, _ := hex.DecodeString(text)
		text = string(b)
	}
	if text == "" || text[0] == 0x16 { // which begins a TLS record
		h.add(at, "payload: no bytes that cannot begin TLS")
		return false
	}
	h.begins = text
	return true
}

// flags reads the flags of a criterion, and the values behind them and in the files that they name.
func (h *haproxy) flags(at place, words []string) (method string, values []string, ok bool) {
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		flag := words[0]
		words = words[1:]
		switch {
		case flag == "--":
			return method, append(values, words...), true
		case flag == "-i" || flag == "-n" || flag == "-M":
		case flag == "-m" && len(words) > 0:
			method, words = words[0], words[1:]
		case flag == "-f" && len(words) > 0:
			list, read := h.lines(at, words[0])
			if !read {
				return "", nil, false
			}
			values, words = append(values, list...), words[1:]
		default:
			h.add(at, "flag %s of a condition", flag)
			return "", nil, false
		}
	}
	return method, append(values, words...), true
}

// lines returns the lines of a file of values, without those that are comments.
func (h *haproxy) lines(at place, name string) ([]string, bool) {
	text, err := h.files.Read(name)
	if err != nil {
		h.add(at, "%v", err)
		return nil, false
	}
	var all []string
	for l := range strings.Lines(string(text)) {
		if l = strings.TrimSpace(l); l != "" && l[0] != '#' {
			all = append(all, l)
		}
	}
	return all, true
}

// names is a condition on the server name.
func (h *haproxy) names(at place, method string, values []string) (literal, bool) {
	if method == "found" {
		return literal{names: newPatterns("**")}, true
	}
	set, ok := newPatterns(), true
	for _, v := range values {
		m, err := matches(method, v)
		ok = set.add(h.notes, at, m, err) && ok
	}
	return literal{names: set}, ok || len(set.list) > 0 // without some of its names it still takes the others
}

// alpn is a condition on the protocols that a client offers.
func (h *haproxy) alpn(at place, method string, values []string) (literal, bool) {
	if len(values) == 0 || !slices.Contains([]string{"", "str", "sub", "end", "beg"}, method) {
		h.add(at, "req.ssl_alpn -m %s: has no equal", method)
		return never, false
	}
	for _, v := range values {
		if len(v) == 0 || len(v) > 255 {
			h.add(at, "req.ssl_alpn: a protocol has 1 to 255 bytes")
			return never, false
		}
		if v != acme {
			h.add(at, "req.ssl_alpn %s: HAProxy compares the whole list, `alpn: %s` takes every client that offers it", v, v)
		}
	}
	return literal{alpn: dedupe(values)}, true
}

// acme is the one protocol that a client offers alone (RFC 8737 section 3).
const acme = "acme-tls/1"

func dedupe(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func (h *haproxy) sources(at place, values []string) (literal, bool) {
	from, ok := prefixes(values)
	if !ok {
		h.add(at, "src %s: not addresses and networks", strings.Join(values, " "))
	}
	return literal{from: from}, ok
}

// prefixes reads addresses and networks, of which it wants one or more.
func prefixes(values []string) ([]netip.Prefix, bool) {
	var all []netip.Prefix
	for _, v := range values {
		p, err := netip.ParsePrefix(v)
		if a, aerr := netip.ParseAddr(v); aerr == nil {
			a = a.Unmap().WithZone("")
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || p.Addr().Is4In6() {
			return nil, false
		}
		if p = p.Masked(); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all, len(all) > 0
}

// condition reads what follows a rule: nothing, or `if` or `unless` and terms.
func (h *haproxy) condition(at place, words []string, acls map[string]*acl) (lists [][]literal, ok bool) {
	if len(words) == 0 {
		return [][]literal{{}}, true
	}
	if words[0] != "if" && words[0] != "unless" {
		h.add(at, "%s: not known here", words[0])
		return nil, false
	}
	current := [][]literal{{}} // since the last `or`
	for rest := words[1:]; len(rest) > 0; {
		if rest[0] == "or" || rest[0] == "||" {
			lists, current, rest = append(lists, current...), [][]literal{{}}, rest[1:]
			continue
		}
		var term [][]literal
		if term, rest, ok = h.term(at, rest, acls); !ok {
			return nil, false
		}
		if current, ok = both(current, term); !ok {
			h.add(at, "too many conditions in one line")
			return nil, false
		}
	}
	lists, ok = simple(append(lists, current...)), true
	if words[0] == "unless" {
		lists, ok = none(lists)
	}
	if !ok || slices.ContainsFunc(lists, func(l []literal) bool { return !sayable(l) }) {
		h.add(at, "these conditions together have no equal")
		return nil, false
	}
	return lists, true
}

// term reads the name of an acl or a condition in braces, either with ! before it. It returns the
// words behind it.
func (h *haproxy) term(at place, words []string, acls map[string]*acl) (lists [][]literal, rest []string, ok bool) {
	name, not := words[0], false
	for words = words[1:]; strings.HasPrefix(name, "!"); {
		name, not = name[1:], !not
		if name == "" && len(words) > 0 {
			name, words = words[0], words[1:]
		}
	}
	if name == "{" {
		end := slices.Index(words, "}")
		if end < 0 {
			h.add(at, "a condition without its closing brace")
			return nil, nil, false
		}
		l, ok := h.criterion(at, words[:end])
		l.not = l.not != not
		return [][]literal{{l}}, words[end+1:], ok
	}
	c, known := constants[name]
	a := acls[name]
	switch {
	case a == nil && known:
		c.not = c.not != not
		return [][]literal{{c}}, words, true
	case a == nil || a.unknown:
		h.add(at, "acl %s was not carried over", name)
		return nil, nil, false
	case !not:
		return a.lists, words, true
	}
	lists, ok = none(a.lists)
	return lists, words, ok
}
