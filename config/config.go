// Package config reads the YAML file of an edge, and the files that it names, into a Config:
// complete, validated, and never changed afterwards.
//
//	c, err := config.Load("keyhole.yaml")
//	var problems config.Problems
//	if errors.As(err, &problems) {
//		for _, p := range problems {
//			fmt.Println(p) // keyhole.yaml:12:5: unknown key `bakend`, did you mean `backend`?
//		}
//	}
//
// Reading is strict. Unknown and duplicate keys, values of the wrong type or out of range, routes
// that claim one name twice and servers that are the edge itself are problems. Parse reports every
// problem of a file at once, with its line and column. It refuses a key whose behaviour is not
// built yet with "not supported yet": to accept and ignore the key would promise a protection that
// does not exist.
//
// The package opens no socket, resolves no name and starts nothing. A Config holds plain values,
// from which others make the listeners and pools.
package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"keyhole/backend"
	"keyhole/config/strict"
	"keyhole/routes"
)

// Config is one whole configuration. Every field is set, some to their defaults.
type Config struct {
	File     string   // as given to Load or Parse
	Included []string // the files that `include` stands for; nil: there is no `include`
	Listen   []Listener
	Timeouts Timeouts
	Limits   Limits
	Log      Log
	Resolver Resolver
	Backends []Backend // the named ones in the file's order, then one for each inline address
	Table    *routes.Table
	Splits   []Split
	Routes   []routes.Route // in the file's order; Backend is an index into Backends, or backend.FirstSplit and one into Splits
	Default  routes.Route
	NoSNI    *routes.Route // nil: Default takes the hellos without a name
	Warnings Problems      // what is allowed, but hardly meant
}

// Listener is one address that the edge accepts TLS connections on. Its place in Config.Listen is
// its number in the table.
type Listener struct {
	Address string // ":443", "192.0.2.1:443", "[2001:db8::1]:443" or "name:443"; port 0 is any free one
	Name    string // what routes call it; "" for none

	ProxyFrom *routes.Access // the peers that begin with a PROXY header; nil: none

	StartTLS string // what clients say before TLS: StartTLSPostgres, or "" for nothing

	Default, NoSNI *routes.Route  // its own, before those of the Config; nil: none
	Access         *routes.Access // the clients that it takes; nil: all

	TCP    *routes.Route // protocol tcp: where every client goes; nil: by the hello
	NotTLS routes.Plain  // where those go that do not speak TLS

	Connections int // open at once on this listener; 0: as many as on all
	HelloBytes  int // 0: as in Limits

	// IPv6Only is set for "[::]:PORT" when another listener has the port on an IPv4 address or a
	// name. Otherwise "[::]:PORT" takes IPv4 as well, like ":PORT".
	IPv6Only bool
}

// StartTLSPostgres is PostgreSQL's SSLRequest.
const StartTLSPostgres = "postgres"

// Timeouts bound what a connection may wait for. All but Keepalive are above zero.
type Timeouts struct {
	Hello     time.Duration // from accept to the last byte of the ClientHello
	Connect   time.Duration // of one attempt to reach one server
	Idle      time.Duration // no byte in either direction; a route may have its own
	HalfClose time.Duration // from one side's FIN to the other's
	Keepalive time.Duration // without a sign of life from a peer until it is asked for one, in whole seconds; 0: never
	Drain     time.Duration // from SIGTERM until open connections are cut
}

// Limits bound what all connections together, or one of them, may take.
type Limits struct {
	Connections int // open at once; 0: as many as the descriptor limit allows
	HelloBytes  int // size of a ClientHello in bytes, record headers included
	HelloMemory int // bytes that all unfinished ClientHellos hold together; at least HelloBytes

	JA4 *routes.Fingerprints // which ClientHellos are let in at all; nil: any
}

// Log says what is logged and where.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
	Access string // "stdout", "stderr", "off" or the path of a file

	SkipNoBytes bool // no record of a connection that ended without a byte
	JA4         bool // records have the JA4 of the ClientHello, as they have when any list of JA4s is there
}

// Backend is a set of servers that a route sends connections to.
type Backend struct {
	Name           string // for an inline address, the address
	Servers        []Server
	Balance        backend.Balance
	Retries        int           // further servers tried after a failure, 0 to 10
	MaxConnections int           // open at once to each server; 0: no limit
	To             backend.Fence // of a backend whose server is {sni}: where a name may lead
	ProxyProtocol  backend.ProxyProtocol
}

// Server is one origin server.
type Server struct {
	// Address is "10.0.0.5:443", "[2001:db8::1]:443", "origin.internal:443", "unix:/run/origin.sock",
	// "{sni}:443" or "{sni}.internal:443". The port may be "listen", that of the client's listener.
	Address string
	Weight  int // 1 to 256
	Backup  int // rank: used only while no server of a lower one can be; 0 to 100
	Line    int // where the file names it first
}

// Load reads and validates a file. The error is Problems, or wraps the error of reading the file,
// such as fs.ErrNotExist.
func Load(file string) (*Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(file, data)
}

// Parse validates the text of a configuration and the files that it names, relative to the folder of
// file, which is the text's name in messages. The error is Problems, sorted by file and line.
func Parse(file string, data []byte) (*Config, error) {
	return Source{}.Parse(file, data)
}

// Parse is the function Parse for files and an environment that are read from s.
func (s Source) Parse(file string, data []byte) (*Config, error) {
	d := newDecoder(file, s.complete())
	d.size = int64(len(data))
	if root := d.Root(data); root != nil {
		d.document(root)
	}
	if p := d.Problems(); len(p) > 0 {
		return nil, p
	}
	d.config.Warnings = d.Warnings()
	return d.config, nil
}

// Problems is everything wrong in a configuration, sorted by file and position.
type Problems = strict.Problems

// Label returns what messages call the listener.
func (l *Listener) Label() string {
	if l.Name != "" {
		return l.Name
	}
	return l.Address
}

// A place is a line of a file.
type place struct {
	file string
	line int
}

// A decoder reads a file and those that it includes.
type decoder struct {
	strict.Decoder
	routeNodes  []*yaml.Node     // of config.Routes
	named       map[string]place // where each named backend is
	source      Source
	size        int64                     // of all files that were read
	parts       []part                    // the included files
	networks    map[string][]netip.Prefix // of the files of networks, by path
	config      *Config
	listeners   []listener
	labels      map[string]int            // name of a listener -> index in config.Listen
	accesses    map[string]*routes.Access // by their lists: many routes have the same
	backends    map[string]int            // name or inline address -> index in config.Backends
	names       []string                  // of the backends in the file, for suggestions
	nameless    bool                      // `backends` could not be read: its names are unknown
	lost        bool                      // `default` or `no_sni` could not be read
	misnamed    bool                      // a listener could not be read: its name is unknown
	splits      map[string]int            // by what they say -> index in config.Splits: many routes have the same
	comparisons int                       // spent on suggestions for backend names
}

// unsupported refuses a key or a value whose behaviour is not built yet.
func (d *decoder) unsupported(at *yaml.Node, what string) {
	d.Fail(at, "%s: not supported yet", strict.Key(what))
}

// word reads one of a few words, or refuses one of later, whose behaviour is not built yet.
func (d *decoder) word(n *yaml.Node, name string, words []string, later ...string) {
	if n.Kind == yaml.ScalarNode && slices.Contains(later, n.Value) {
		d.unsupported(n, name+": "+n.Value)
		return
	}
	d.Choice(n, name, words...)
}

func newDecoder(file string, s Source) *decoder {
	return &decoder{
		Decoder: strict.Decoder{File: file, Wanted: "at least `listen` and `routes`", LookupEnv: s.LookupEnv},
		source:  s,
		config: &Config{
			File: file,
			Timeouts: Timeouts{
				Hello:     5 * time.Second,
				Connect:   3 * time.Second,
				Idle:      time.Hour,
				HalfClose: time.Minute,
				Keepalive: time.Minute,
				Drain:     30 * time.Second,
			},
			Limits:  Limits{HelloBytes: 64 << 10, HelloMemory: 64 << 20},
			Log:     Log{Level: slog.LevelInfo, Format: "text", Access: "stdout"},
			Default: routes.Route{Backend: -1, Reject: routes.RejectAlert},
		},
		labels:   map[string]int{},
		backends: map[string]int{},
		named:    map[string]place{},
		networks: map[string][]netip.Prefix{},
		accesses: map[string]*routes.Access{},
		splits:   map[string]int{},
	}
}
