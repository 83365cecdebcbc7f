package convert

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A haproxy reads a configuration of HAProxy into an edge.
type haproxy struct {
	*notes
	idles    map[[2]*section]time.Duration // between a frontend and a backend
	begins   string                        // of the criterion that was read last
	files    Files
	edge     *edge
	sections map[string]*section // the backends, and the listens, by name
	backends map[string]*backend // those that were read
}

// process has settings of the process and its logs, and others that change no connection's way.
var process = words("daemon user group uid gid chroot pidfile nbproc nbthread cpu-map thread-groups log log-tag " +
	"log-format log-send-hostname log-stderr stats ssl-default-bind-ciphers ssl-default-bind-ciphersuites " +
	"ssl-default-bind-options ssl-default-server-ciphers ssl-default-server-ciphersuites ssl-default-server-options " +
	"ssl-server-verify ca-base crt-base master-worker ulimit-n description node localpeer spread-checks " +
	"hard-stop-after lua-load-per-thread presetenv setenv noepoll nosplice quiet external-check set-dumpable " +
	"unix-bind errorfile errorloc id unique-id-format error-log-format backlog declare http-reuse compression " +
	"fullconn enabled option.tcplog option.httplog option.dontlognull option.dontlog-normal option.logasap " +
	"option.log-separate-errors option.tcpka option.clitcpka option.srvtcpka option.tcp-smart-accept " +
	"option.tcp-smart-connect option.splice-auto option.splice-request option.splice-response option.redispatch " +
	"option.contstats option.nolinger option.socket-stats option.http-server-close option.httpclose " +
	"option.http-keep-alive option.forwardfor option.abortonclose option.allbackups option.persist " +
	"timeout.http-request timeout.http-keep-alive timeout.queue timeout.check timeout.tarpit")

// asked are settings that are looked up where they matter.
var asked = words("mode timeout balance retries default-server default_backend maxconn")

func readHAProxy(file string, text []byte, files Files, n *notes) (*edge, error) {
	h := &haproxy{n, map[[2]*section]time.Duration{}, "", files, &edge{}, map[string]*section{}, map[string]*backend{}}
	all := splitSections(lexHAProxy(file, string(text)), n)
	for _, s := range all {
		if s.kind() == "backend" || s.kind() == "listen" {
			h.sections[s.name()] = s
		}
	}
	for _, s := range all {
		switch s.kind() {
		case "frontend", "listen":
			h.frontend(s)
		case "global":
			h.global(s)
		case "defaults":
			h.others(s, asked)
		case "backend", "resolvers":
		default:
			h.add(s.place, "%s: has no equal", s.kind())
		}
	}
	slices.SortFunc(h.edge.backends, func(a, b *backend) int { return a.line - b.line })
	return h.edge, nil
}

// others notes the lines of a section that nobody reads.
func (h *haproxy) others(s *section, read map[string]bool) {
	for _, l := range s.lines {
		words := l.words
		if words[0] == "no" && len(words) > 1 {
			words = words[1:]
		}
		two := strings.Join(words[:min(2, len(words))], ".")
		switch {
		case process[words[0]], process[two], strings.HasPrefix(words[0], "tune."):
		case two == "option.tcp-check", two == "option.ssl-hello-chk", two == "option.httpchk", two == "option.external-check",
			words[0] == "tcp-check", words[0] == "http-check":
			h.built(l.place, strings.Join(words, " "), "health")
		case !read[words[0]]:
			h.add(l.place, "%s: has no equal", strings.Join(words[:min(4, len(words))], " "))
		}
	}
}

func (h *haproxy) global(s *section) {
	h.others(s, asked)
	if l, ok := s.find("maxconn"); ok {
		h.edge.connections, _ = strconv.Atoi(l.word(1))
		if c := h.edge.connections; c < 1 || c > 10_000_000 {
			h.add(l.place, "maxconn %s: Keyhole takes 1 to 10000000", l.word(1))
			h.edge.connections = 0
		}
	}
}

// find returns the last line of a section, or of its defaults, that begins with words and has more.
func (s *section) find(words string) (line, bool) {
	for ; s != nil; s = s.defaults {
		if l := s.last[words]; len(l.words) > 1+strings.Count(words, " ") {
			return l, true
		}
	}
	return line{}, false
}

// option reports whether a section or its defaults set an option.
func (s *section) option(name string) bool {
	for ; s != nil; s = s.defaults {
		if l, ok := s.last["option "+name]; ok {
			return l.words[0] == "option"
		}
	}
	return false
}

// time reads one of a section's timeouts into *to.
func (h *haproxy) time(s *section, name string, to *time.Duration) {
	if l, ok := s.find("timeout " + name); ok {
		h.timeout(l.place, "timeout "+name, l.word(2), time.Millisecond, to)
	}
}

// idle returns how long a connection between a frontend and a backend may be silent.
func (h *haproxy) idle(front, back *section) (idle time.Duration) {
	if idle, ok := h.idles[[2]*section{front, back}]; ok {
		return idle
	}
	defer func() { h.idles[[2]*section{front, back}] = idle }()
	var tunnel, client, server time.Duration
	h.time(back, "tunnel", &tunnel)
	h.time(front, "client", &client)
	h.time(back, "server", &server)
	switch {
	case tunnel != 0:
		return tunnel
	case client == 0 || server == 0:
		return max(client, server)
	}
	return min(client, server)
}

var frontendWords = words("bind acl use_backend tcp-request mode timeout balance retries default-server default_backend " +
	"maxconn server use-server")

// frontend reads a frontend, or the side of a listen that clients come to.
func (h *haproxy) frontend(s *section) {
	if m, ok := s.find("mode"); ok && m.word(1) != "tcp" {
		h.add(s.place, "%s %s: mode %s, Keyhole passes TLS and TCP through and reads no HTTP", s.kind(), s.name(), m.word(1))
		return
	}
	l := newListener(s.place, s.name())
	h.edge.listeners = append(h.edge.listeners, l)
	binds := 0
	for _, b := range s.lines {
		if b.words[0] == "bind" {
			binds++
			h.bind(l, b)
		}
	}
	if binds == 0 && s.kind() == "listen" || len(l.addresses) == 0 {
		h.edge.listeners = h.edge.listeners[:len(h.edge.listeners)-1]
		if binds == 0 {
			h.add(s.place, "%s %s: no bind line", s.kind(), s.name())
		}
		return
	}
	h.others(s, frontendWords)
	h.rules(s, l)
	h.time(s, "client-fin", &h.edge.halfClose)
	if m, ok := s.find("maxconn"); ok {
		l.max = h.number(m.place, "maxconn", m.word(1), 10_000_000)
		if len(l.addresses) > 1 {
			h.add(m.place, "maxconn %s: Keyhole has a limit for each address of a frontend", m.word(1))
		}
	}
}

// quiet are words of a bind line that change no connection's way, and those of them with a value.
var (
	quiet      = words("defer-accept tfo v4v6 v6only name id process thread nice backlog mss uid gid user group mode")
	quietValue = words("name id process thread nice backlog mss uid gid user group mode")
)

// bind reads the addresses of a bind line.
func (h *haproxy) bind(l *listener, b line) {
	var proxies []netip.Prefix
	for i := 2; i < len(b.words); i++ {
		switch w := b.words[i]; {
		case w == "ssl":
			h.add(b.place, "bind %s: ssl ends TLS here, which Keyhole never does", b.word(1))
			return
		case w == "accept-proxy":
			proxies = everybody
		case quietValue[w]:
			i++
		case !quiet[w]:
			h.add(b.place, "bind %s: has no equal", w)
		}
	}
	for a := range strings.SplitSeq(b.word(1), ",") {
		a = strings.TrimPrefix(strings.TrimPrefix(a, "ipv4@"), "ipv6@")
		host, port := hostPort(a)
		h.edge.listen(h.notes, l, b.place, host, port, proxies)
	}
}
