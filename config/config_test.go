package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"keyhole/address"
	"keyhole/backend"
	"keyhole/config/strict"
	"keyhole/routes"
)

// Text that makes a configuration valid, for tests of something else.
const (
	listenLine = "listen: [{address: \":443\"}]\n"
	routesLine = "routes: [{sni: a.example, backend: \"10.0.0.5:443\"}]\n"
)

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("k.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse(%q) = %v, want no error", text, err)
	}
	return c
}

// A problemCase is a text and its problems without the file name.
type problemCase struct{ name, text, want string }

func checkProblems(t *testing.T, cases []problemCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("k.yaml", []byte(c.text))
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Parse(%q) = %v, want Problems", c.text, err)
			}
			got := strings.ReplaceAll("\n"+err.Error(), "\nk.yaml:", "\n")[1:]
			if got != c.want {
				t.Errorf("Parse(%q) =\n%s\nwant\n%s", c.text, got, c.want)
			}
		})
	}
}

func TestExampleFile(t *testing.T) {
	c, err := Load("../config.example.yaml")
	if err != nil {
		t.Fatalf("Load = %v, want no error", err)
	}
	if err := complete(c); err != nil {
		t.Error(err)
	}
	if got := c.Table.Len(); got == 0 {
		t.Error("Table.Len() = 0, want the example's routes")
	}
}

func TestDefaults(t *testing.T) {
	c := mustParse(t, listenLine+routesLine)
	if want := (Timeouts{5 * time.Second, 3 * time.Second, time.Hour, time.Minute, time.Minute, 30 * time.Second}); c.Timeouts != want {
		t.Errorf("Timeouts = %+v, want %+v", c.Timeouts, want)
	}
	if want := (Limits{Connections: 0, HelloBytes: 65536, HelloMemory: 67108864}); c.Limits != want {
		t.Errorf("Limits = %+v, want %+v", c.Limits, want)
	}
	if want := (Log{Level: slog.LevelInfo, Format: "text", Access: "stdout"}); c.Log != want {
		t.Errorf("Log = %+v, want %+v", c.Log, want)
	}
	if want := (routes.Route{Backend: -1, Reject: routes.RejectAlert}); !reflect.DeepEqual(c.Default, want) {
		t.Errorf("Default = %+v, want %+v", c.Default, want)
	}
	want := []Backend{{
		Name: "10.0.0.5:443", Balance: backend.RoundRobin, Retries: 2,
		Servers: []Server{{Address: "10.0.0.5:443", Weight: 1, Line: 2}},
	}}
	if !reflect.DeepEqual(c.Backends, want) {
		t.Errorf("Backends = %+v, want %+v", c.Backends, want)
	}
}

func TestEveryValue(t *testing.T) {
	c := mustParse(t, `
listen: [{address: ":443"}, {address: "192.0.2.1:8443", protocol: tls}, {address: "[2001:DB8::1]:0", starttls: postgres}]
timeouts: {hello: 1s, connect: 500ms, idle: 720h, half_close: 2m, keepalive: 1m30s, drain: 1h30m}
limits: {connections: 1000, connections_per_ip: 0, rate_per_ip: 0, hello_bytes: 1048576, hello_memory: 1048576}
log: {level: warn, format: json, access: ./access.log, skip: [no_bytes]}
backends:
  shop:
    servers: [10.0.0.5:0443, {address: "Origin.Internal:443", weight: 256, backup: true}, "[2001:DB8::5]:443"]
    balance: client_hash
    proxy_protocol: v2
    retries: 0
    max_connections: 7
  spare: {servers: ["unix:/run/x.sock"], proxy_protocol: off}
routes:
  - sni: [Shop.Example.com., "*.bücher.example"]
    alpn: [h2, http/1.1]
    backend: shop
    allow: [192.0.2.0/24, 198.51.100.7, "::ffff:203.0.113.0/120"]
    idle_timeout: 10m
    keepalive: 30s
    reject: reset
  - {sni: b.example, alpn: h2, backend: "10.0.0.9:443", allow: 192.0.2.1, keepalive: off}
  - {sni: c.example, backend: "10.0.0.9:0443"}
  - {sni: d.example, backend: "DB.:443"}
default: {reject: silence, backend: spare}
no_sni: {reject: reset, backend: shop}
`)
	want := Config{
		File:     "k.yaml",
		Listen:   []Listener{{Address: ":443"}, {Address: "192.0.2.1:8443"}, {Address: "[2001:db8::1]:0", StartTLS: "postgres"}},
		Timeouts: Timeouts{time.Second, 500 * time.Millisecond, 720 * time.Hour, 2 * time.Minute, 90 * time.Second, 90 * time.Minute},
		Limits:   Limits{Connections: 1000, HelloBytes: 1 << 20, HelloMemory: 1 << 20},
		Log:      Log{Level: slog.LevelWarn, Format: "json", Access: "./access.log", SkipNoBytes: true},
		Backends: []Backend{
			{"shop", []Server{
				{"10.0.0.5:443", 1, 0, 8}, {"origin.internal:443", 256, 1, 8}, {"[2001:db8::5]:443", 1, 0, 8},
			}, backend.ClientHash, 0, 7, backend.Fence{}, backend.ProxyV2},
			{"spare", []Server{{"unix:/run/x.sock", 1, 0, 13}}, backend.RoundRobin, 2, 0, backend.Fence{}, backend.NoProxyProtocol},
			{"10.0.0.9:443", []Server{{"10.0.0.9:443", 1, 0, 22}}, backend.RoundRobin, 2, 0, backend.Fence{}, backend.NoProxyProtocol},
			{"db.:443", []Server{{"db.:443", 1, 0, 24}}, backend.RoundRobin, 2, 0, backend.Fence{}, backend.NoProxyProtocol},
		},
		Default: routes.Route{Backend: 1, Reject: routes.RejectSilence, Line: 25},
		NoSNI:   &routes.Route{Backend: 0, Reject: routes.RejectReset, Line: 26},
		Routes: []routes.Route{
			{
				SNI: []string{"shop.example.com", "*.xn--bcher-kva.example"}, When: &routes.Conditions{ALPN: []string{"h2", "http/1.1"}}, Backend: 0,
				Access: access(t,
					"192.0.2.0/24", "198.51.100.7/32", "203.0.113.0/24"),
				IdleTimeout: 10 * time.Minute, Keepalive: 30 * time.Second, Reject: routes.RejectReset, Line: 15,
			},
			{
				SNI: []string{"b.example"}, When: &routes.Conditions{ALPN: []string{"h2"}}, Backend: 2,
				Access: access(t, "192.0.2.1/32"), Keepalive: -1, Line: 22,
			},
			{SNI: []string{"c.example"}, Backend: 2, Line: 23},
			{SNI: []string{"d.example"}, Backend: 3, Line: 24},
		},
	}
	if m := c.Table.Lookup(routes.Query{Name: []byte("B.Example"), ALPN: []byte("\x02h2"), Client: netip.MustParseAddr("192.0.2.1"), Listener: 0}); m.Outcome != routes.Matched || m.Route.Line != 22 {
		t.Errorf("Table.Lookup(B.Example) = %+v, want the route of line 22", m)
	}
	c.Table = nil
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("Parse = %+v\nwant    %+v", *c, want)
	}
}

// access lets in only those networks.
func access(t *testing.T, networks ...string) *routes.Access {
	t.Helper()
	var allow []netip.Prefix
	for _, s := range networks {
		allow = append(allow, netip.MustParsePrefix(s))
	}
	a, err := routes.NewAccess(allow, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The design's keys, each on its own, are read or refused as not built yet; none is unknown.
func TestSchema(t *testing.T) {
	const server = "servers: [10.0.0.5:443]"
	for _, c := range []struct {
		text      string
		supported bool
	}{
		{`listen: [{address: ":443"}]`, true},
		{`listen: [{address: ":443", protocol: tls}]`, true},
		{`listen: [{address: ":80", protocol: http}]`, false},
		{`listen: [{address: ":443", proxy_protocol_from: [10.0.0.0/8]}]`, true},
		{`admin: {address: 127.0.0.1:9180}`, false},
		{`timeouts: {hello: 5s, connect: 3s, idle: 1h, half_close: 1m, keepalive: 60s, drain: 30s}`, true},
		{`limits: {connections: auto}`, true},
		{`limits: {connections_per_ip: 0}`, true},
		{`limits: {connections_per_ip: 100}`, false},
		{`limits: {rate_per_ip: 0}`, true},
		{`limits: {rate_per_ip: 10}`, false},
		{`limits: {hello_bytes: 65536, hello_memory: 67108864}`, true},
		{`log: {level: info, format: text, access: stdout, skip: [no_bytes]}`, true},
		{`backends: {shop: {` + server + `}}`, true},
		{`backends: {shop: {servers: [{address: "origin.internal:443", weight: 2, backup: true}, {address: 10.0.0.6:443, backup: 2}, 10.0.0.5:443]}}`, true},
		{`backends: {shop: {` + server + `, balance: least_connections}}`, true},
		{`backends: {shop: {` + server + `, proxy_protocol: off}}`, true},
		{`backends: {shop: {` + server + `, proxy_protocol: v1}}`, true},
		{`backends: {shop: {` + server + `, proxy_protocol: v2}}`, true},
		{`backends: {shop: {` + server + `, http_port: 80}}`, false},
		{`backends: {shop: {` + server + `, health: {type: tls, interval: 5s, timeout: 2s, rise: 2, fall: 3}}}`, false},
		{`backends: {shop: {` + server + `, eject: {failures: 5, within: 10s, for: 30s}}}`, false},
		{`backends: {shop: {` + server + `, retries: 2}}`, true},
		{`backends: {shop: {` + server + `, max_connections: 0}}`, true},
		{`routes: [{sni: a.example, alpn: [h2], backend: "10.0.0.5:443", allow: [192.0.2.0/24], idle_timeout: 10m, keepalive: off, reject: reset}]`, true},
		{`routes: [{sni: a.example, reject: alert}, {sni: b.example, backend: "10.0.0.5:443"}]`, true},
		{`routes: [{sni: a.example, backend: [{name: "10.0.0.5:443", weight: 9}, "10.0.0.6:443"], sticky: client}]`, true},
		{`include: "*.none"`, true},
		{`no_sni: {reject: close}`, true},
		{`no_sni: {backend: "10.0.0.5:443"}`, true},
		{`default: {reject: alert}`, true},
		{`default: {backend: "10.0.0.5:443"}`, true},
	} {
		text := c.text + "\n"
		if !strings.HasPrefix(text, "listen") {
			text += listenLine
		}
		if !strings.HasPrefix(text, "routes") {
			text += routesLine
		}
		_, err := Parse("k.yaml", []byte(text))
		switch {
		case c.supported && err != nil:
			t.Errorf("Parse(%q) = %v, want no error", c.text, err)
		case !c.supported && (err == nil || !strings.HasSuffix(err.Error(), ": not supported yet") || len(err.(Problems)) != 1):
			t.Errorf("Parse(%q) = %v, want only: not supported yet", c.text, err)
		}
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	checkProblems(t, []problemCase{{
		"sorted by line",
		"default: {reject: allert}\nlog: {level: inf}\nroutes:\n  - {sni: a.example, backend: shp}\n  - {sni: 1.2.3, backend: shop}\n" +
			"backends: {shop: {servers: [10.0.0.5]}}\nlisten: [{adress: \":443\"}]\n",
		`1:19: unknown value "allert" for ` + "`reject`" + `, did you mean "alert"?
2:14: unknown value "inf" for ` + "`level`" + `, did you mean "info"?
4:31: unknown backend "shp", did you mean "shop"?
5:11: sni: ` + patternError("1.2.3") + `
6:29: server "10.0.0.5": missing port, did you mean 10.0.0.5:443?
7:11: unknown key ` + "`adress`, did you mean `address`?",
	}})
}

func patternError(s string) string {
	_, err := routes.ParsePattern(s)
	return err.Error()
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "absent.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load(absent.yaml) = %v, want fs.ErrNotExist", err)
	}
	file := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(file, []byte(listenLine+"routes: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(file)
	if want := file + ":2:9: `routes` must be a list, got \"1\""; err == nil || err.Error() != want {
		t.Errorf("Load(bad.yaml) = %v, want %s", err, want)
	}
}

// complete returns an error when a part of c is missing or out of range that Parse promises.
func complete(c *Config) error {
	t := c.Timeouts
	for _, d := range []time.Duration{t.Hello, t.Connect, t.Idle, t.HalfClose, t.Drain} {
		if d <= 0 || d > strict.MaxDuration {
			return fmt.Errorf("Timeouts = %+v, want all above 0 and bounded", t)
		}
	}
	switch {
	case t.Keepalive < 0 || t.Keepalive > maxKeepalive || t.Keepalive%time.Second != 0:
		return fmt.Errorf("Timeouts.Keepalive = %v", t.Keepalive)
	case len(c.Listen) == 0:
		return errors.New("Listen is empty")
	case c.Table == nil:
		return errors.New("Table is nil")
	case len(c.Routes) == 0 && !forwards(c):
		return errors.New("no route and no default backend")
	case c.Limits.HelloBytes < minHelloBytes || c.Limits.HelloBytes > maxHelloBytes || c.Limits.HelloMemory < c.Limits.HelloBytes || c.Limits.Connections < 0:
		return fmt.Errorf("Limits = %+v", c.Limits)
	case c.Log.Access == "" || c.Log.Format == "":
		return fmt.Errorf("Log = %+v", c.Log)
	case !goes(c, c.Default.Backend) || c.Default.Reject == routes.RejectInherit:
		return fmt.Errorf("Default = %+v with %d backends", c.Default, len(c.Backends))
	}
	for i, l := range c.Listen {
		if l.Label() == "" || l.Name != "" && slices.ContainsFunc(c.Listen[i+1:], func(o Listener) bool { return o.Name == l.Name }) {
			return fmt.Errorf("listener %+v", l)
		}
	}
	for _, r := range c.Routes {
		if r.Backend < 0 && r.Reject == routes.RejectInherit || !goes(c, r.Backend) || len(r.SNI) == 0 || r.Line < 1 {
			return fmt.Errorf("route %+v with %d backends", r, len(c.Backends))
		}
	}
	return completeBackends(c.Backends)
}

// goes reports whether the backend of a route is one of c, a split of c or none.
func goes(c *Config, number int) bool {
	if number >= backend.FirstSplit {
		return number-backend.FirstSplit < len(c.Splits)
	}
	return number >= -1 && number < len(c.Backends)
}

func completeBackends(backends []Backend) error {
	names := map[string]bool{}
	for _, b := range backends {
		if len(b.Servers) == 0 || b.Name == "" || b.Retries < 0 || names[b.Name] {
			return fmt.Errorf("backend %+v", b)
		}
		names[b.Name] = true
		if b.ByName() != (b.To.Public || len(b.To.Networks) > 0) || b.ByName() && len(b.Servers) > 1 {
			return fmt.Errorf("backend %+v: to is for {sni}, and {sni} alone", b)
		}
		for _, s := range b.Servers {
			if s.Address == "" || s.Weight < 1 || s.Weight > 256 || s.Line < 1 {
				return fmt.Errorf("backend %q has server %+v", b.Name, s)
			}
			// An edge would make a pool of it.
			c := backend.Config{Servers: []backend.ServerConfig{{Address: s.Address, Weight: s.Weight}}}
			if _, err := backend.New(c); err != nil {
				return err
			}
			if again, err := address.ParseServer(s.Address); err != nil || again.String() != s.Address {
				return fmt.Errorf("server address %q reads as %q, %v", s.Address, again, err)
			}
		}
	}
	return nil
}

// forwards reports whether c has a backend for what no route takes.
func forwards(c *Config) bool {
	others := []*routes.Route{&c.Default, c.NoSNI}
	for _, l := range c.Listen {
		others = append(others, l.Default, l.NoSNI)
	}
	return slices.ContainsFunc(others, func(r *routes.Route) bool { return r != nil && r.Backend >= 0 })
}
