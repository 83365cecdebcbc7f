package convert

import (
	"slices"
	"strings"

	"keyhole/address"
)

// target returns where a frontend sends clients by the name of a backend.
func (h *haproxy) target(front *section, name string, at place) target {
	s := h.sections[name]
	if s == nil {
		h.add(at, "there is no backend %s", name)
		return target{}
	}
	b := h.backends[name]
	if b == nil {
		b = h.backend(s)
		h.backends[name] = b
	}
	if len(b.servers) == 0 {
		return target{}
	}
	return target{b, h.idle(front, s)}
}

// backend reads a backend, or the side of a listen that has servers.
func (h *haproxy) backend(s *section) *backend {
	b := &backend{place: s.place, name: s.name(), retries: -1}
	h.edge.backends = append(h.edge.backends, b)
	if m, ok := s.find("mode"); ok && m.word(1) != "tcp" {
		h.add(s.place, "backend %s: mode %s, Keyhole reads no HTTP", s.name(), m.word(1))
	}
	if s.kind() == "backend" {
		h.others(s, words("mode timeout balance retries default-server server"))
	}
	h.time(s, "connect", &h.edge.connect)
	h.time(s, "server-fin", &h.edge.halfClose)
	if l, ok := s.find("balance"); ok {
		b.balance = h.balance(l)
	}
	if l, ok := s.find("retries"); ok {
		b.retries = max(0, h.number(l.place, "retries", l.word(1), 10))
	}
	for _, l := range s.lines {
		if l.words[0] == "server" {
			h.server(s, b, l)
		}
	}
	if len(b.servers) == 0 {
		h.add(s.place, "backend %s: no server that Keyhole can connect to", s.name())
	}
	return b
}

// balances are HAProxy's words for what Keyhole does too.
var balances = map[string]string{
	"roundrobin": "round_robin", "static-rr": "round_robin", "leastconn": "least_connections", "source": "client_hash",
	"random": "random_two", "random(2)": "random_two",
}

func (h *haproxy) balance(l line) string {
	word := balances[l.word(1)]
	if word == "" || len(l.words) > 2 {
		h.add(l.place, "%s: has no equal, the servers take turns", strings.Join(l.words, " "))
		return ""
	}
	if word == "round_robin" {
		return "" // the default of both
	}
	return word
}

var (
	serverQuiet = words("enabled non-stick no-check no-backup no-ssl tfo check-ssl " +
		"check-send-proxy resolve-prefer resolvers init-addr id cookie inter fastinter downinter rise fall port addr " +
		"slowstart on-error on-marked-down on-marked-up observe error-limit agent-check agent-port agent-inter")
	serverValue = words("resolvers init-addr id cookie inter fastinter downinter rise fall port addr on-error " +
		"on-marked-down on-marked-up observe error-limit agent-port agent-inter resolve-prefer slowstart weight maxconn")
)

// server reads `server NAME ADDRESS WORD...`, with the words of default-server before its own.
func (h *haproxy) server(s *section, b *backend, l line) {
	srv := server{place: l.place}
	what := "server " + l.word(1)
	var settings []string
	if d, ok := s.find("default-server"); ok {
		settings = slices.Clone(d.words[1:min(100, len(d.words))])
	}
	settings = append(settings, l.words[min(3, len(l.words)):]...)
	out := false
	for i := 0; i < len(settings); i++ {
		w, value := settings[i], ""
		if serverValue[w] && i+1 < len(settings) {
			i++
			value = settings[i]
		}
		switch {
		case w == "weight":
			if srv.weight = h.number(l.place, what+": weight", value, 256); srv.weight == 0 {
				h.add(l.place, "%s: weight 0, it is left out", what)
				out = true
			}
		case w == "maxconn":
			h.most(b, l.place, what+": maxconn", value)
		case w == "backup":
			srv.backup = 1
		case w == "check":
			h.built(l.place, what+": check", "health")
		case w == "send-proxy":
			srv.proxy = "v1"
		case w == "send-proxy-v2":
			srv.proxy = "v2"
		case w == "no-send-proxy" || w == "no-send-proxy-v2":
			srv.proxy = ""
		case w == "disabled" || w == "ssl":
			h.add(l.place, "%s: %s, it is left out", what, w)
			out = true
		case !serverQuiet[w]:
			h.add(l.place, "%s: %s has no equal", what, w)
		}
	}
	if !out {
		h.place(s, b, srv, l, what)
	}
}

// most sets the connections that each server of a backend may have.
func (n *notes) most(b *backend, at place, what, value string) {
	i := n.number(at, what, value, 10_000_000)
	if i > 0 && b.max != 0 && b.max != i {
		n.add(at, "%s %s: Keyhole has one for all servers, here the largest", what, value)
	}
	b.max = max(b.max, i)
}

// place adds a server with its address to a backend.
func (h *haproxy) place(s *section, b *backend, srv server, l line, what string) {
	raw := strings.TrimPrefix(strings.TrimPrefix(l.word(2), "ipv4@"), "ipv6@")
	var text string
	if path, ok := strings.CutPrefix(raw, "unix@"); ok || strings.HasPrefix(raw, "/") {
		text = "unix:" + path
	} else if host, port := hostPort(raw); port == "" {
		text = joined(host, "listen")
	} else {
		text = joined(host, port)
	}
	if srv.backup == 1 && !s.option("allbackups") { // one after the other
		b.rank = min(b.rank+1, maxRank)
		srv.backup = b.rank
	}
	h.edge.serve(h.notes, b, srv, text)
}

// maxRank is the last that Keyhole has for backups.
const maxRank = 100

// serve adds a server to a backend, if Keyhole can connect to it.
func (e *edge) serve(n *notes, b *backend, srv server, text string) {
	a, err := serverAddress(text)
	switch {
	case err != nil:
		n.add(srv.place, "%v", err)
		return
	case address.IsSNI(a) && !b.alone:
		n.add(srv.place, "server %s: is no server of HAProxy or nginx", a)
		return
	case b.has[a]:
		n.add(srv.place, "server %s is in the backend already", a)
		return
	}
	if b.has == nil {
		b.has = map[string]bool{}
	}
	b.has[a] = true
	if len(b.servers) == 0 {
		b.proxy = srv.proxy
	}
	if b.proxy != srv.proxy {
		n.add(srv.place, "server %s: gets another PROXY header than the first of its backend, it is left out", a)
		return
	}
	srv.address = a
	srv.weight = min(max(srv.weight, 0), 256)
	b.servers = append(b.servers, srv)
}
