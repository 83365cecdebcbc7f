package convert

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// An nginx reads a configuration of nginx into an edge.
type nginx struct {
	*notes
	edge      *edge
	maps      map[string]directive // by the variable they set, with its $
	upstreams map[string]*backend
	addresses map[string]*backend   // of targets without an upstream
	proxied   map[*backend]*backend // those with a PROXY header, by those without
	shared    directive             // the stream block
	headers   bool                  // servers get a PROXY header, from the server block that is read
	values    int                   // that maps have been asked for
}

// nginxProcess has directives of the process and its logs, and others that change no connection's way.
var nginxProcess = words("user worker_processes worker_rlimit_nofile worker_rlimit_core worker_shutdown_timeout " +
	"worker_priority worker_cpu_affinity working_directory events pid daemon master_process error_log access_log log_format " +
	"load_module include pcre_jit lock_file thread_pool env timer_resolution debug_points open_log_file_cache " +
	"ssl_preread tcp_nodelay map_hash_max_size map_hash_bucket_size variables_hash_max_size variables_hash_bucket_size " +
	"proxy_buffer_size preread_buffer_size resolver resolver_timeout proxy_socket_keepalive server_names_hash_max_size " +
	"server_names_hash_bucket_size ssl_protocols zone")

func readNginx(file string, text []byte, files Files, n *notes) (*edge, error) {
	all, err := (&nginxLexer{notes: n, files: files}).parse(file, string(text))
	if err != nil {
		return nil, err
	}
	x := &nginx{notes: n, edge: &edge{}, maps: map[string]directive{}, upstreams: map[string]*backend{},
		addresses: map[string]*backend{}, proxied: map[*backend]*backend{}}
	var servers []directive
	for _, d := range all {
		switch d.name() {
		case "stream":
			x.shared.block = append(x.shared.block, d.block...)
		case "server", "map", "upstream": // a file that nginx.conf includes
			x.shared.block = append(x.shared.block, d)
		case "http", "mail":
			n.add(d.place, "%s: Keyhole passes TLS and TCP through and reads no HTTP or mail", d.name())
		default:
			x.other(d)
		}
	}
	for _, d := range x.shared.block {
		switch d.name() {
		case "map":
			x.maps[d.word(2)] = d
		case "upstream":
			x.upstream(d)
		case "server":
			servers = append(servers, d)
		default:
			x.setting(d)
		}
	}
	for _, s := range servers {
		x.server(s)
	}
	if x.values > maxValues {
		return nil, ErrTooLarge
	}
	return x.edge, nil
}

// other notes a directive that nobody reads.
func (x *nginx) other(d directive) {
	if !nginxProcess[d.name()] {
		x.add(d.place, "%s: has no equal", strings.Join(d.words[:min(4, len(d.words))], " "))
	}
}

// looked are directives that are looked up where they matter.
var looked = words("listen proxy_pass proxy_timeout proxy_connect_timeout preread_timeout ssl_preread proxy_protocol " +
	"proxy_next_upstream proxy_next_upstream_tries allow deny set_real_ip_from")

// setting reads a directive that stands in stream or server.
func (x *nginx) setting(d directive) {
	switch v := d.word(1); d.name() {
	case "proxy_connect_timeout":
		x.timeout(d.place, d.name(), v, time.Second, &x.edge.connect)
	case "preread_timeout":
		x.timeout(d.place, d.name(), v, time.Second, &x.edge.hello)
	case "proxy_next_upstream_tries", "proxy_next_upstream":
		if v == "off" || v == "1" {
			x.add(d.place, "%s %s: write `retries: 0` in each backend", d.name(), v)
		}
	default:
		if !looked[d.name()] {
			x.other(d)
		}
	}
}

// server reads one server block of the stream.
func (x *nginx) server(s directive) {
	l := newListener(s.place, "")
	x.edge.listeners = append(x.edge.listeners, l)
	for _, d := range s.block {
		if d.name() == "listen" {
			x.listen(l, d, x.proxies(s))
		}
	}
	pass, ok := s.last("proxy_pass")
	if !ok || len(l.addresses) == 0 {
		x.add(s.place, "server: has no proxy_pass, or no address to listen on")
		x.edge.listeners = x.edge.listeners[:len(x.edge.listeners)-1]
		return
	}
	l.name = fmt.Sprintf("port-%d", l.addresses[0].Port)
	for _, d := range s.block {
		x.setting(d)
	}
	l.plain = x.of(s, "ssl_preread").word(1) != "on"
	x.access(l, s)
	l.fence()
	x.headers = x.of(s, "proxy_protocol").word(1) == "on"
	x.pass(l, pass, x.idle(s))
}

// of returns the last directive of a name in a server block, or in the stream.
func (x *nginx) of(s directive, name string) directive {
	d, ok := s.last(name)
	if !ok {
		d, _ = x.shared.last(name)
	}
	return d
}

// proxies returns the peers whose PROXY headers nginx believes.
func (x *nginx) proxies(s directive) (from []netip.Prefix) {
	for _, d := range slices.Concat(s.block, x.shared.block) {
		if d.name() == "set_real_ip_from" {
			p, ok := prefixes(d.words[1:])
			if !ok {
				x.add(d.place, "set_real_ip_from %s: neither an address nor a network", d.word(1))
			}
			from = append(from, p...)
		}
	}
	return from
}

// access reads the allow and deny lines of a server, or of the stream if it has none. The first that
// fits decides.
func (x *nginx) access(l *listener, s directive) {
	isAccess := func(d directive) bool { return d.name() == "allow" || d.name() == "deny" }
	block := s.block
	if !slices.ContainsFunc(block, isAccess) {
		block = x.shared.block
	}
	var allowed []netip.Prefix
	for _, d := range block {
		if !isAccess(d) {
			continue
		}
		from, ok := prefixes(d.words[1:])
		all := d.word(1) == "all"
		switch {
		case d.name() == "allow" && all:
			return
		case d.name() == "allow" && ok:
			allowed = append(allowed, from...)
		case all && allowed == nil:
			l.rules = append(l.rules, rule{place: d.place})
			return
		case all:
			l.rules = append(l.rules, rule{place: d.place, when: [][]literal{{{not: true, from: allowed}}}})
			return
		case ok && allowed == nil:
			l.rules = append(l.rules, rule{place: d.place, when: [][]literal{{{from: from}}}})
		default:
			x.add(d.place, "%s: has no equal behind the lines before it", strings.Join(d.words, " "))
		}
	}
}

// idle returns how long a connection of a server block may be silent, or 0 if the file does not say.
func (x *nginx) idle(s directive) (idle time.Duration) {
	if d := x.of(s, "proxy_timeout"); d.words != nil {
		x.timeout(d.place, d.name(), d.word(1), time.Second, &idle)
	}
	return idle
}

// listen reads `listen ADDRESS WORD...`.
func (x *nginx) listen(l *listener, d directive, believed []netip.Prefix) {
	var proxies []netip.Prefix
	for _, w := range d.words[min(2, len(d.words)):] {
		key, _, _ := strings.Cut(w, "=")
		switch key {
		case "udp", "ssl":
			x.add(d.place, "listen %s %s: Keyhole forwards TLS over TCP and ends none", d.word(1), w)
			return
		case "proxy_protocol":
			if proxies = believed; proxies == nil {
				proxies = everybody
			} else {
				x.add(d.place, "listen %s: nginx takes a header from others than set_real_ip_from too, and believes it not", w)
			}
		case "reuseport", "backlog", "ipv6only", "so_keepalive", "bind", "rcvbuf", "sndbuf", "fastopen", "deferred", "default_server":
		default:
			x.add(d.place, "listen %s: has no equal", w)
		}
	}
	host, port := hostPort(d.word(1))
	if port == "" { // a port alone, since stream has no default port
		host, port = "", host
	}
	x.edge.listen(x.notes, l, d.place, host, port, proxies)
}

// nginxBalances are directives of an upstream for what Keyhole does too.
var nginxBalances = map[string]string{
	"least_conn": "least_connections", "hash $remote_addr": "client_hash", "hash $remote_addr consistent": "client_hash",
	"hash $binary_remote_addr": "client_hash", "hash $binary_remote_addr consistent": "client_hash",
	"random two": "random_two", "random two least_conn": "random_two",
}

// upstream reads a group of servers.
func (x *nginx) upstream(u directive) {
	b := &backend{place: u.place, name: u.word(1), retries: -1}
	x.upstreams[b.name] = b
	x.edge.backends = append(x.edge.backends, b)
	for _, d := range u.block {
		balance := nginxBalances[strings.Join(d.words, " ")]
		switch {
		case d.name() == "server":
			x.upstreamServer(b, d)
		case balance != "":
			b.balance = balance
		case d.name() == "hash" || d.name() == "random":
			x.add(d.place, "%s: has no equal, the servers take turns", strings.Join(d.words, " "))
		default:
			x.other(d)
		}
	}
	if len(b.servers) == 0 {
		x.add(u.place, "upstream %s: no server that Keyhole can connect to", b.name)
	}
}

// upstreamServer reads `server ADDRESS WORD...`.
func (x *nginx) upstreamServer(b *backend, d directive) {
	srv := server{place: d.place}
	what := "server " + d.word(1)
	for _, w := range d.words[min(2, len(d.words)):] {
		switch key, value, _ := strings.Cut(w, "="); key {
		case "weight":
			srv.weight = x.number(d.place, what+": weight", value, 256)
		case "max_conns":
			x.most(b, d.place, what+": max_conns", value)
		case "backup":
			srv.backup = 1
		case "down":
			x.add(d.place, "%s: is down, it is left out", what)
			return
		case "max_fails", "fail_timeout":
			x.built(d.place, what+": "+key, "eject")
		case "resolve": // Keyhole resolves again without being told to
		default:
			x.add(d.place, "%s: %s has no equal", what, w)
		}
	}
	x.edge.serve(x.notes, b, srv, nginxAddress(d.word(1)))
}

// nginxAddress returns an address of nginx in Keyhole's form, as far as that is one.
func nginxAddress(s string) string {
	if strings.HasPrefix(s, "unix:") {
		return s
	}
	host, port := hostPort(s)
	if port == "" {
		return s
	}
	return joined(host, port)
}
