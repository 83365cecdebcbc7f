package config

import (
	"fmt"
	"log/slog"
	"strings"

	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
)

var rootSchema = strict.Schema{
	What:     "the configuration",
	Want:     "a mapping with `listen` and `routes`",
	Keys:     []string{"listen", "admin", "timeouts", "limits", "log", "backends", "routes", "default"},
	Required: []string{"listen", "routes"},
}

// document reads the whole file in the order of what depends on What: servers
// are checked against listeners, routes name backends.
func (d *decoder) document(root *yaml.Node) {
	sections := map[string]*yaml.Node{}
	for k, v := range d.Fields(root, &rootSchema) {
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
	read("backends", d.namedBackends)
	read("default", d.defaultRoute)
	read("routes", d.routes)
}

var timeoutsSchema = strict.Schema{
	What: "`timeouts`",
	Want: "a mapping such as {hello: 5s}",
	Keys: []string{"hello", "connect", "idle", "half_close", "drain"},
}

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
		case "drain":
			d.Duration(v, k.Value, &t.Drain)
		}
	}
}

const (
	maxConnections = 10_000_000 // ten times what Linux lets a process open as shipped
	minHelloBytes  = 512        // a hello of TLS 1.3 with few extensions
	maxHelloBytes  = 1 << 20    // one connection may hold this much before it is known to be TLS
)

var limitsSchema = strict.Schema{
	What: "`limits`",
	Want: "a mapping such as {hello_bytes: 65536}",
	Keys: []string{"connections", "connections_per_ip", "rate_per_ip", "hello_bytes"},
}

func (d *decoder) limits(n *yaml.Node) {
	for k, v := range d.Fields(n, &limitsSchema) {
		switch k.Value {
		case "connections":
			d.connections(v)
		case "hello_bytes":
			if i, ok := d.Integer(v, k.Value, minHelloBytes, maxHelloBytes); ok {
				d.config.Limits.HelloBytes = i
			}
		default: // connections_per_ip and rate_per_ip, where 0 is no limit
			if _, ok := strict.Number(v, 0, 0); !ok {
				d.unsupported(v, k.Value)
			}
		}
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
	logSchema = strict.Schema{What: "`log`", Want: "a mapping such as {level: info}", Keys: []string{"level", "format", "access"}}
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
		}
	}
}

// access reads where the access log goes. A bare word that is none of the
// three is a slip, not a file: "stdot" would otherwise be created.
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
	d.config.Log.Access = s
}
