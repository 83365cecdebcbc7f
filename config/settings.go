package config

import (
	"fmt"
	"log/slog"
	"path"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
)

var rootSchema = strict.Schema{
	What:     "the configuration",
	Want:     "a mapping with `listen` and `routes`",
	Keys:     []string{"listen", "include", "admin", "timeouts", "limits", "log", "resolver", "backends", "routes", "default", "no_sni"},
	Refused:  []string{"admin"},
	Required: []string{"listen", "routes"},
	Hints:    peerSections,
}

// withoutRoutes is rootSchema for a file whose routes may be in others, or whose listeners need none.
var withoutRoutes = func() strict.Schema {
	s := rootSchema
	s.Required = []string{"listen"}
	return s
}()

// document reads the sections in the order of their dependencies: servers are checked against
// listeners, and routes name backends.
func (d *decoder) document(root *yaml.Node) {
	sections, schema := map[string]*yaml.Node{}, &rootSchema
	misspelt := func(name string) bool { return strict.Misspelt(root, &rootSchema, name) }
	needsNone := valueOf(root, "include") != nil || misspelt("include") || readsNoTLS(valueOf(root, "listen"))
	if needsNone {
		schema = &withoutRoutes
	}
	for k, v := range d.Fields(root, schema) {
		if k.Value == "admin" {
			d.unsupported(k, k.Value)
		}
		sections[k.Value] = v
	}
	read := func(name string, section func(*yaml.Node)) {
		if n := sections[name]; n != nil {
			section(n)
		}
	}
	read("listen", d.listen)
	read("timeouts", d.timeouts)
	read("limits", d.limits)
	read("log", d.log)
	read("resolver", d.resolver)
	read("include", d.include)
	d.nameless = d.nameless || sections["backends"] == nil && misspelt("backends") || misspelt("include")
	d.parts = append([]part{{d.File, sections}}, d.parts...)
	d.each("backends", d.namedBackends)
	before := d.Count()
	d.listenersOwn()
	read("default", d.defaultRoute)
	read("no_sni", func(n *yaml.Node) { d.config.NoSNI = d.otherwise(n, &noSNISchema) })
	d.lost = d.misnamed || d.nameless || d.Count() > before || misspelt("default") || misspelt("no_sni")
	before = d.Count()
	d.reserve()
	d.each("routes", d.routes)
	if at := sections["routes"]; at != nil {
		d.table(at, before)
	} else if needsNone {
		d.table(root, before)
	}
}

var timeoutsSchema = strict.Schema{
	What: "`timeouts`",
	Want: "a mapping such as {hello: 5s}",
	Keys: []string{"hello", "connect", "idle", "half_close", "keepalive", "drain"},
	Hints: map[string]string{ // of HAProxy and nginx
		"client":                "write `idle`, one limit for both directions",
		"server":                "write `idle`, one limit for both directions",
		"tunnel":                "write `idle`, one limit for both directions",
		"proxy_timeout":         "write `idle`, one limit for both directions",
		"client-fin":            "write `half_close`, one limit for both sides",
		"client_fin":            "write `half_close`, one limit for both sides",
		"server-fin":            "write `half_close`, one limit for both sides",
		"server_fin":            "write `half_close`, one limit for both sides",
		"proxy_connect_timeout": "write `connect`",
		"inspect-delay":         "write `hello`",
		"inspect_delay":         "write `hello`",
		"preread_timeout":       "write `hello`",
	},
}

// maxKeepalive is, in whole hours, what Linux takes for TCP_KEEPIDLE: 32767 s.
const maxKeepalive = 9 * time.Hour

func (d *decoder) timeouts(n *yaml.Node) {
	t := &d.config.Timeouts
	for k, v := range d.Fields(n, &timeoutsSchema) {
		switch k.Value {
		case "hello":
			d.Duration(v, k.Value, &t.Hello)
		case "connect":
			d.Duration(v, k.Value, &t.Connect)
		case "idle":
			d.Duration(v, k.Value, &t.Idle)
		case "half_close":
			d.Duration(v, k.Value, &t.HalfClose)
		case "keepalive":
			if s, ok := d.SecondsOrOff(v, k.Value, maxKeepalive); ok {
				t.Keepalive = s
			}
		case "drain":
			d.Duration(v, k.Value, &t.Drain)
		}
	}
}

const (
	maxConnections = 10_000_000 // ten times what Linux lets a process open as shipped
	minHelloBytes  = 512        // a hello of TLS 1.3 with few extensions
	maxHelloBytes  = 1 << 20    // one connection may hold this much before it is known to be TLS
	maxHelloMemory = 1 << 40    // more than any machine has to spare
)

var limitsSchema = strict.Schema{
	What:    "`limits`",
	Want:    "a mapping such as {hello_bytes: 65536}",
	Keys:    []string{"connections", "connections_per_ip", "rate_per_ip", "hello_bytes", "hello_memory", "ja4"},
	Refused: []string{"connections_per_ip", "rate_per_ip"},
}

func (d *decoder) limits(n *yaml.Node) {
	l := &d.config.Limits
	var memory *yaml.Node // of hello_memory, once it is read
	known := true         // how many hello_bytes there may be
	for k, v := range d.Fields(n, &limitsSchema) {
		switch k.Value {
		case "connections":
			d.connections(v)
		case "hello_bytes":
			var i int
			if i, known = d.Integer(v, k.Value, minHelloBytes, maxHelloBytes); known {
				l.HelloBytes = i
			}
		case "hello_memory":
			if i, ok := d.Integer(v, k.Value, minHelloBytes, maxHelloMemory); ok {
				l.HelloMemory, memory = i, v
			}
		case "ja4":
			l.JA4 = d.fingerprints(v)
		default: // connections_per_ip and rate_per_ip, where 0 is no limit
			if _, ok := strict.Number(v, 0, 0); !ok {
				d.unsupported(v, k.Value)
			}
		}
	}
	if memory != nil && known && l.HelloMemory < l.HelloBytes {
		d.Fail(memory, "`hello_memory` must be at least `hello_bytes`, %d, or the largest hello would never fit, got %d",
			l.HelloBytes, l.HelloMemory)
	}
}

// connections reads `auto` or a number.
func (d *decoder) connections(n *yaml.Node) {
	i, ok := strict.Number(n, 1, maxConnections)
	if !ok && (n.Kind != yaml.ScalarNode || n.Value != "auto") {
		d.WrongType(n, "`connections`", fmt.Sprintf("auto or a whole number from 1 to %d", maxConnections))
	}
	d.config.Limits.Connections = i
}

var (
	logSchema = strict.Schema{
		What: "`log`",
		Want: "a mapping such as {level: info}",
		Keys: []string{"level", "format", "access", "skip", "ja4"},
	}
	logLevels = map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
)

func (d *decoder) log(n *yaml.Node) {
	for k, v := range d.Fields(n, &logSchema) {
		switch k.Value {
		case "level":
			if s, ok := d.Choice(v, k.Value, "debug", "info", "warn", "error"); ok {
				d.config.Log.Level = logLevels[s]
			}
		case "format":
			if s, ok := d.Choice(v, k.Value, "text", "json"); ok {
				d.config.Log.Format = s
			}
		case "access":
			d.access(v)
		case "skip":
			d.skip(v)
		case "ja4":
			d.config.Log.JA4 = d.Boolean(v, k.Value)
		}
	}
}

// skip reads the reasons whose records are left out, of which there is one. A list of none is the
// default.
func (d *decoder) skip(n *yaml.Node) {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		return
	}
	for e := range d.Texts(n, "skip") {
		if _, ok := d.Choice(e, "skip", "no_bytes"); !ok {
			continue
		}
		if d.config.Log.SkipNoBytes {
			d.Fail(e, "duplicate reason %s", strict.Quote(e.Value))
		}
		d.config.Log.SkipNoBytes = true
	}
}

// access reads where the access log goes. A bare word that is none of the three is a slip, not a
// file: "stdot" would otherwise be created.
func (d *decoder) access(n *yaml.Node) {
	s, ok := d.Text(n, "access")
	switch {
	case !ok:
		return
	case strings.HasSuffix(s, "/"):
		d.Fail(n, "`access` must name a file, %s is a directory", strict.Quote(s))
		return
	case strings.ContainsRune(s, 0):
		d.Fail(n, "`access` must name a file, %s holds a zero byte", strict.Quote(s))
		return
	case !strings.ContainsAny(s, "/."):
		if s, ok = d.Choice(n, "access", "stdout", "stderr", "off", "./FILE"); !ok {
			return
		}
	}
	if word := stream(s); word != "" {
		d.Fail(n, "access %s: write %s", strict.Quote(s), word)
		return
	}
	d.config.Log.Access = s
}

// stream returns the word for a path of a standard stream, and "" for any other path. Opened by its
// path, a stream that is a socket is refused, and a file gets an offset of its own.
func stream(file string) string {
	switch path.Clean(file) {
	case "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1":
		return "stdout"
	case "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2", "/proc/thread-self/fd/2":
		return "stderr"
	case "/dev/null":
		return "off"
	}
	return ""
}
