package config

import (
	"net/netip"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"keyhole/address"
	"keyhole/config/strict"
	"keyhole/routes"
)

var listenSchema = strict.Schema{
	What: "a listener",
	Want: "a mapping such as {address: \":443\"}",
	Keys: []string{"name", "address", "protocol", "starttls", "default", "no_sni", "not_tls", "allow", "deny", "limits",
		"proxy_protocol_from", "backend", "sticky", "idle_timeout", "keepalive", "reject"},
	Required: []string{"address"},
}

// listener is a listen address, its line, and its keys.
type listener struct {
	address.Address
	line   int
	node   *yaml.Node
	keys   map[string]*yaml.Node
	fields []*yaml.Node // keys and values in turn, each key once
	tcp    bool         // it reads no TLS
	odd    bool         // its protocol could not be read
}

// listen reads the listeners. What they say of backends is read by listenersOwn, since backends are
// checked against listeners.
func (d *decoder) listen(n *yaml.Node) {
	for _, e := range d.List(n, "listen") {
		l, own := Listener{}, listener{node: e, keys: map[string]*yaml.Node{}}
		for k, v := range d.Fields(e, &listenSchema) {
			own.keys[k.Value] = v
			own.fields = append(own.fields, k, v)
			switch k.Value {
			case "name":
				l.Name = d.listenerName(v)
			case "protocol":
				before := d.Count()
				d.word(v, k.Value, []string{"tls", "tcp"}, "http")
				own.tcp, own.odd = v.Value == "tcp", d.Count() > before
			case "proxy_protocol_from":
				l.ProxyFrom = d.proxies(v)
			}
		}
		l.StartTLS = d.startTLS(own.keys)
		d.addListener(l, own)
	}
	d.narrow()
}

// startTLS reads what clients say before TLS, which is for listeners of TLS alone.
func (d *decoder) startTLS(keys map[string]*yaml.Node) string {
	n := keys["starttls"]
	if n == nil {
		return ""
	}
	s, _ := d.Choice(n, "starttls", StartTLSPostgres)
	if p := keys["protocol"]; p != nil && p.Value != "tls" {
		d.Fail(n, "`starttls` wants `protocol: tls`, the default: leave one of the two out")
	}
	if keys["not_tls"] != nil {
		d.Fail(n, "`starttls` and `not_tls` exclude each other: what comes in clear is read as one or the other")
	}
	return s
}

// proxies reads the peers that begin with a PROXY header; nil is none.
func (d *decoder) proxies(n *yaml.Node) *routes.Access {
	list := d.prefixes(n, "proxy_protocol_from")
	if len(list) == 0 {
		return nil // a problem, or an empty file
	}
	a, err := routes.NewAccess(list, nil)
	if err != nil {
		d.Fail(n, "proxy_protocol_from: %v", strings.TrimPrefix(err.Error(), "allow "))
	}
	return a
}

// listenerName reads a name that routes can have.
func (d *decoder) listenerName(n *yaml.Node) string {
	s, ok := d.Text(n, "name")
	switch {
	case !ok:
		d.misnamed = true
	case strings.Trim(s, nameLetters) != "":
		d.misnamed = true
		d.Fail(n, "listener name %s may hold only letters, digits, dots, underscores and hyphens", strict.Quote(s))
	default:
		if i, ok := d.labels[s]; ok {
			d.Fail(n, "duplicate listener name %s, first on line %d", strict.Quote(s), d.listeners[i].line)
			return ""
		}
		return s
	}
	return ""
}

// addListener adds a listener if it has an address that can be listened on. Without one its name is
// unknown, and no problem of a route that has it.
func (d *decoder) addListener(l Listener, own listener) {
	at := own.keys["address"]
	if at == nil {
		d.misnamed = true
		return
	}
	before := d.Count()
	a := d.listenAddress(at)
	if d.Count() > before {
		d.misnamed = true
		return
	}
	if l.Name != "" {
		d.labels[l.Name] = len(d.listeners)
	}
	l.Address = a.String()
	own.Address, own.line = a, at.Line
	d.listeners = append(d.listeners, own)
	d.config.Listen = append(d.config.Listen, l)
}

// listenAddress reads an address, which must not be another listener's.
func (d *decoder) listenAddress(n *yaml.Node) (a address.Address) {
	s, ok := d.Text(n, "address")
	if !ok {
		return a
	}
	a, err := address.ParseListener(s)
	if err != nil {
		d.Fail(n, "address %s: %v", strict.Quote(s), err)
		return a
	}
	for _, l := range d.listeners {
		if address.Overlap(l.Address, a) {
			d.Fail(n, "address %s is already listened on, by %s on line %d", strict.Quote(s), strict.Quote(l.String()), l.line)
			return a
		}
	}
	return a
}

// listenersOwn reads what listeners have instead of the sections of the file.
func (d *decoder) listenersOwn() {
	for i := range d.listeners {
		l, to := &d.listeners[i], &d.config.Listen[i]
		if l.odd {
			continue
		}
		if n := l.keys["limits"]; n != nil {
			d.ownLimits(n, to)
		}
		d.wrongProtocol(l)
		if l.tcp {
			to.TCP = d.tcpRoute(l)
			continue
		}
		to.Access = d.clients(l.keys["allow"], l.keys["deny"])
		if n := l.keys["default"]; n != nil {
			to.Default = d.otherwise(n, &defaultSchema)
			d.warnIfOpen(to.Default, n, d.config.Listen[i:i+1])
		}
		if n := l.keys["no_sni"]; n != nil {
			to.NoSNI = d.otherwise(n, &noSNISchema)
		}
		if n := l.keys["not_tls"]; n != nil {
			to.NotTLS = d.notTLS(n)
		}
	}
}

var ownLimitsSchema = strict.Schema{
	What:  "`limits` of a listener",
	Want:  "a mapping such as {connections: 1000}",
	Keys:  []string{"connections", "hello_bytes"},
	Hints: map[string]string{"hello_memory": "it is shared by all listeners, write it into `limits` of the file"},
}

// ownLimits reads limits of one listener. They come after those of the file, which bound them.
func (d *decoder) ownLimits(n *yaml.Node, l *Listener) {
	for k, v := range d.Fields(n, &ownLimitsSchema) {
		switch k.Value {
		case "connections":
			if i, ok := d.Integer(v, k.Value, 1, maxConnections); ok {
				l.Connections = i
			}
		case "hello_bytes":
			if i, ok := d.Integer(v, k.Value, minHelloBytes, min(maxHelloBytes, d.config.Limits.HelloMemory)); ok {
				l.HelloBytes = i
			}
		}
	}
}

// narrow makes a listener on [::] take IPv6 only where another has the port on an IPv4 address, or
// on a name, which may have one.
func (d *decoder) narrow() {
	for i, l := range d.listeners {
		if l.IP != netip.IPv6Unspecified() || l.Port == 0 {
			continue
		}
		beside := func(o listener) bool { return !o.IP.Is6() && o.Port == l.Port }
		d.config.Listen[i].IPv6Only = slices.ContainsFunc(d.listeners, beside)
	}
}

// loop returns the listener that a server address would connect to, as far as the addresses tell:
// other names than localhost are resolved later. A server at the port of the listener is the edge
// when it is so at any listener's port.
func (d *decoder) loop(a address.Address) (listener, bool) {
	for i, l := range d.listeners {
		if address.LeadsTo(a, l.Address, d.config.Listen[i].IPv6Only) {
			return l, true
		}
	}
	return listener{}, false
}
