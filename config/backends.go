package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"keyhole/address"
	"keyhole/backend"
	"keyhole/config/strict"
)

const defaultRetries = 2

// peerKeys are words of HAProxy and nginx about servers.
var peerKeys = map[string]string{
	"check":          "servers are not checked; an attempt that fails goes to another server, see `retries` of the backend",
	"send_proxy":     "write `proxy_protocol: v1` of the backend, which is for all its servers",
	"send-proxy":     "write `proxy_protocol: v1` of the backend, which is for all its servers",
	"send_proxy_v2":  "write `proxy_protocol: v2` of the backend, which is for all its servers",
	"send-proxy-v2":  "write `proxy_protocol: v2` of the backend, which is for all its servers",
	"proxy_protocol": "write it into the backend, it is for all its servers",
	"maxconn":        "write `max_connections` of the backend, which is for each of its servers",
	"max_conns":      "write `max_connections` of the backend, which is for each of its servers",
}

// peerBalances are words of HAProxy and nginx for ways to balance.
var peerBalances = map[string]backend.Balance{
	"source": backend.ClientHash, "ip_hash": backend.ClientHash, "hash": backend.ClientHash,
	"leastconn": backend.LeastConnections, "least_conn": backend.LeastConnections,
	"roundrobin": backend.RoundRobin, "static-rr": backend.RoundRobin,
	"random": backend.RandomTwo,
}

var backendSchema = strict.Schema{
	What:     "a backend",
	Want:     "a mapping such as {servers: [10.0.0.5:443]}",
	Keys:     []string{"servers", "balance", "proxy_protocol", "http_port", "health", "eject", "retries", "max_connections", "to"},
	Refused:  []string{"http_port", "health", "eject"},
	Hints:    peerKeys,
	Required: []string{"servers"},
}

// namedBackends reads the mapping of names to backends. A backend with a problem keeps its name,
// even one that is refused: otherwise each route to it would be a problem too.
func (d *decoder) namedBackends(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.nameless = true
		d.WrongType(n, "`backends`", "a mapping of names to backends")
		return
	}
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		named := d.backendName(k)
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			continue
		}
		if first, ok := d.named[k.Value]; ok {
			d.Fail(k, "duplicate backend %s, first %s", strict.Quote(k.Value), d.Place(first.file, first.line))
			continue
		}
		d.named[k.Value] = place{d.File, k.Line}
		d.backends[k.Value] = len(d.config.Backends)
		if named {
			d.names = append(d.names, k.Value)
		}
		d.config.Backends = append(d.config.Backends, d.backend(k, v))
	}
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// backendName checks a name. It refuses one that looks like an address, since a route could mean
// either.
func (d *decoder) backendName(k *yaml.Node) bool {
	if k.Kind == yaml.AliasNode || k.Tag == "!!merge" {
		return false // vet has refused it
	}
	name := k.Value
	_, err := netip.ParseAddr(name)
	switch {
	case k.Kind != yaml.ScalarNode || name == "":
		d.Fail(k, "a backend's name must be a word, got %s", strict.Describe(k))
	case err == nil || strings.Contains(name, ":"):
		d.Fail(k, "backend name %s looks like an address, give the backend a name and list the address in `servers`", strict.Quote(name))
	case strings.Trim(name, nameLetters) != "":
		d.Fail(k, "backend name %s may hold only letters, digits, dots, underscores and hyphens", strict.Quote(name))
	default:
		return true
	}
	return false
}

func (d *decoder) backend(name, n *yaml.Node) Backend {
	b := Backend{Name: name.Value, Retries: defaultRetries}
	var servers, to *yaml.Node
	for k, v := range d.Fields(n, &backendSchema) {
		switch k.Value {
		case "servers":
			servers, b.Servers = v, d.servers(name, v)
		case "balance":
			b.Balance = d.balance(v)
		case "proxy_protocol":
			i, _ := d.ChoiceIndex(v, k.Value, backend.ProxyProtocolWords())
			b.ProxyProtocol = backend.ProxyProtocol(max(0, i))
		case "retries":
			if i, ok := d.Integer(v, k.Value, 0, 10); ok {
				b.Retries = i
			}
		case "max_connections":
			if i, ok := d.Integer(v, k.Value, 0, maxConnections); ok {
				b.MaxConnections = i
			}
		case "to":
			to, b.To = v, d.to(v)
		default: // http_port, health, eject
			d.unsupported(k, k.Value)
		}
	}
	d.checkByName(&b, servers, to)
	return b
}

func (d *decoder) balance(n *yaml.Node) backend.Balance {
	if meant, ok := peerBalances[n.Value]; ok && n.Kind == yaml.ScalarNode {
		d.Fail(n, "unknown value %s for `balance`, did you mean %s?", strict.Quote(n.Value), strict.Quote(meant.String()))
		return meant
	}
	i, _ := d.ChoiceIndex(n, "balance", backend.BalanceWords())
	return backend.Balance(max(0, i))
}

func (d *decoder) servers(name, n *yaml.Node) []Server {
	var servers []Server
	lines := map[string]int{}
	elements := d.List(n, "servers")
	for _, e := range elements {
		s, at := d.server(e)
		if at == nil {
			continue
		}
		if line, ok := lines[s.Address]; ok {
			d.Fail(at, "duplicate server %s, first on line %d", strict.Quote(s.Address), line)
			continue
		}
		lines[s.Address] = at.Line
		servers = append(servers, s)
	}
	main := func(s Server) bool { return s.Backup == 0 }
	if len(servers) > 0 && len(servers) == len(elements) && !slices.ContainsFunc(servers, main) {
		d.Fail(n, "backend %s has only backup servers, at least one must not be", strict.Quote(name.Value))
	}
	return servers
}

var serverSchema = strict.Schema{
	What:     "a server",
	Want:     "an address or a mapping such as {address: 10.0.0.5:443}",
	Keys:     []string{"address", "port", "weight", "backup"},
	Required: []string{"address"},
	Hints:    peerKeys,
}

// server reads an address, or a mapping with one. It returns the node of the address, or nil
// without a valid one.
func (d *decoder) server(n *yaml.Node) (s Server, at *yaml.Node) {
	s = Server{Weight: 1, Line: n.Line}
	if n.Kind == yaml.ScalarNode || isSNI(n) {
		return s, d.serverAddress(n, nil, &s)
	}
	var host, port *yaml.Node
	for k, v := range d.Fields(n, &serverSchema) {
		switch k.Value {
		case "address":
			host = v
		case "port":
			port = v
		case "weight":
			if i, ok := d.Integer(v, k.Value, 1, backend.MaxWeight); ok {
				s.Weight = i
			}
		case "backup":
			s.Backup = d.backup(v)
		}
	}
	if host != nil {
		at = d.serverAddress(host, port, &s)
	}
	return s, at
}

// backup reads the rank of a server: a number, or true for 1 and false for 0.
func (d *decoder) backup(n *yaml.Node) int {
	rank, ok := strict.Number(n, 0, backend.MaxBackup)
	switch {
	case ok:
	case n.Kind == yaml.ScalarNode && n.Style == 0 && n.Value == "true":
		rank = 1
	case n.Kind == yaml.ScalarNode && n.Style == 0 && n.Value == "false":
	default:
		d.WrongType(n, "`backup`", fmt.Sprintf("true, false or a whole number from 1 to %d", backend.MaxBackup))
	}
	return rank
}

// serverAddress reads an address, whose port may be a value of its own.
func (d *decoder) serverAddress(n, port *yaml.Node, s *Server) *yaml.Node {
	if isSNI(n) {
		d.Fail(n, "{sni} must be in quotes, YAML takes it for a mapping: write \"{sni}:443\"")
		return nil
	}
	text, ok := d.Text(n, "address")
	if ok && port != nil {
		text, ok = d.withPort(text, port)
	}
	if !ok {
		return nil
	}
	if s.Address, ok = d.connectable(n, "server", text); !ok {
		return nil
	}
	return n
}

// connectable returns the one form of a server address, if it is valid and not the edge's own.
func (d *decoder) connectable(n *yaml.Node, what, text string) (string, bool) {
	a, err := address.ParseServer(text)
	if alone, ok := d.among(text); err != nil && ok {
		d.Fail(n, "%s %s: write the address alone, %s%s", what, strict.Quote(text), alone, settings(text, alone))
		return "", false
	}
	if err != nil {
		d.Fail(n, "%s %s: %v", what, strict.Quote(text), err)
		return "", false
	}
	if l, ok := d.loop(a); ok {
		d.Fail(n, "%s %s: would connect the edge to itself, it listens on %s; name the origin's own address or another port", what, strict.Quote(text), strict.Quote(l.String()))
		return "", false
	}
	return a.String(), true
}

// among returns the server address in a line of several words, as HAProxy and nginx write a server:
// "s1 10.0.0.1:443 check".
func (d *decoder) among(text string) (a address.Address, ok bool) {
	words := strings.Fields(text)
	for _, w := range words {
		a, err := address.ParseServer(strings.TrimSuffix(w, ";"))
		if err != nil || !a.IP.IsValid() && !strings.Contains(a.Name, ".") && a.Path == "" {
			continue
		}
		if _, loops := d.loop(a); !loops {
			return a, len(words) > 1
		}
	}
	return address.Address{}, false
}

// settings says where the weight of such a line goes.
func settings(text string, a address.Address) string {
	if strings.Contains(text, "weight") || strings.Contains(text, "backup") {
		return fmt.Sprintf("; weight and backup are keys, as in {address: %q, weight: 2, backup: true}", a)
	}
	return ""
}

// backendRef reads the backend of a route: a name, or an address, which becomes a backend of its
// own, shared by all routes that name it. It returns an index in config.Backends, or -1 after
// reporting a problem.
func (d *decoder) backendRef(n *yaml.Node) int {
	s, ok := d.Text(n, "backend")
	if !ok {
		return -1
	}
	if i, ok := d.backends[s]; ok {
		return i
	}
	if _, err := netip.ParseAddr(s); err != nil && !strings.Contains(s, ":") {
		d.unknownBackend(n, s)
		return -1
	}
	addr, ok := d.connectable(n, "backend", s)
	if !ok {
		return -1
	}
	i, ok := d.backends[addr]
	if !ok {
		i = len(d.config.Backends)
		d.backends[addr] = i
		d.config.Backends = append(d.config.Backends, Backend{
			Name:    addr,
			Servers: []Server{{Address: addr, Weight: 1, Line: n.Line}},
			Retries: defaultRetries,
		})
		d.checkByName(&d.config.Backends[i], n, nil)
	}
	return i
}

// maxComparisons bounds the search for suggestions: a large file in which every route names a
// missing backend would otherwise take minutes.
const maxComparisons = 1 << 20

func (d *decoder) unknownBackend(n *yaml.Node, name string) {
	if d.nameless {
		return
	}
	d.comparisons += len(d.names)
	near := ""
	if d.comparisons <= maxComparisons {
		near = strict.Nearest(name, d.names)
	}
	switch {
	case near != "":
		d.Fail(n, "unknown backend %s, did you mean %s?", strict.Quote(name), strict.Quote(near))
	case strings.Contains(name, "."):
		d.Fail(n, "unknown backend %s; if it is an address, add its port: %s", strict.Quote(name), strict.Quote(name+":443"))
	default:
		d.Fail(n, "unknown backend %s", strict.Quote(name))
	}
}
