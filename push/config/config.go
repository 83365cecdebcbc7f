// Package config reads the YAML file of pushd into a Config: complete,
// validated, and never changed afterwards.
//
//	c, err := config.Load("pushd.yaml")
//	// pushd.yaml:3:1: unknown key `certficate`, did you mean `certificate`?
//
// Reading is as strict as the edge's: every mistake is reported at once, with
// its line and column. What must be there in the end, a data folder and a
// certificate, is checked by Complete, since the command line may give it. The
// package opens no file but its own, and connects to nothing.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"keyhole/config/strict"
	"keyhole/push/auth"
)

// Config is one whole configuration; what the file leaves out has its default.
type Config struct {
	Listen      string // address for terminals, publishers and browsers: ":10443"
	Admin       string // address for health and metrics, "127.0.0.1:9281"; "" for none
	Data        string // folder for everything that lasts
	Node        string // name of this node in logs, metrics and the cluster
	Certificate Certificate
	ACME        ACME
	Store       Store
	Apps        map[string]auth.AppPolicy // by app name; "*" is for every other
	Limits      Limits
	Keys        Keys
	TokenIdle   time.Duration // after which an unused message token expires
	Heartbeat   time.Duration // of terminals
	Drain       time.Duration // from SIGTERM until terminals that stay are closed
	Log         Log
}

// Certificate names the files of a certificate chain and its key, in PEM.
type Certificate struct{ Cert, Key string }

// ACME says where a certificate comes from (RFC 8555), by tls-alpn-01 (RFC
// 8737), which passes through the edge.
type ACME struct {
	Domains   []string
	Email     string
	Directory string // URL; "" is Let's Encrypt
	CA        string // file of the authority that the directory's own certificate is checked against

	// Check is how often certificates are looked at: one is renewed when a
	// third of its life is left.
	Check time.Duration
}

// Store says where messages live.
type Store struct {
	URL       string // of an external NATS cluster; "" is the embedded server
	Creds, CA string // files: NATS credentials, and the authority of its certificates
	Replicas  int    // of each stream; 0: 1 embedded, 3 external
	Secret    string // file of 32 bytes that every node of a cluster shares; "" is DATA/secret
	Retention time.Duration
	MinFree   uint64 // bytes of disk below which publishes are refused
}

// Limits are what pushd refuses more of.
type Limits struct {
	FrameBytes            int
	PayloadBytes          int
	Backlog               int // undelivered messages of one token
	Connections           int // 0: as many as there are descriptors
	ConnectionsPerAccount int // on this node; 0: no limit
	LoginPerMinute        int // of one account
	StateKeys             int
	Window                int // messages on their way to one terminal, not yet acknowledged
}

// Keys are the rules of dynamic keys (K4, K5, K6 of docs/push-protocol.md).
type Keys struct {
	Rotate  time.Duration // of running time between two server keys
	Session time.Duration // life of a session
	Offset  time.Duration // how far a client's offset may be from the server's own
	Renew   time.Duration // growth of the offset after which a client renews its key
}

// Log says what is logged, to standard error.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// Default is the configuration without a file.
func Default() *Config {
	return &Config{
		Listen:    ":10443",
		Admin:     "127.0.0.1:9281",
		Store:     Store{Retention: 28 * 24 * time.Hour, MinFree: 64 << 20},
		Apps:      map[string]auth.AppPolicy{},
		TokenIdle: 90 * 24 * time.Hour,
		ACME:      ACME{Check: 10 * time.Minute},
		Heartbeat: 4 * time.Minute,
		Drain:     30 * time.Second,
		Limits: Limits{FrameBytes: 16384, PayloadBytes: 4096, Backlog: 1000,
			ConnectionsPerAccount: 100, LoginPerMinute: 10, StateKeys: 64, Window: 64},
		Keys: Keys{Rotate: 24 * time.Hour, Session: 30 * 24 * time.Hour, Offset: 30 * time.Second, Renew: 6 * time.Hour},
		Log:  Log{Level: slog.LevelInfo, Format: "text"},
	}
}

// Load reads and validates a file. The error is strict.Problems, or what
// reading the file returned.
func Load(file string) (*Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(file, data)
}

// Parse validates the text of a configuration; file is its name in messages.
func Parse(file string, data []byte) (*Config, error) {
	d := &decoder{
		Decoder: strict.Decoder{File: file, Wanted: "at least `data` and `certificate`"},
		config:  Default(),
	}
	if root := d.Root(data); root != nil {
		d.document(root)
	}
	if p := d.Problems(); len(p) > 0 {
		return nil, p
	}
	return d.config, nil
}

// Complete says what a server still lacks, and fills in what follows from the
// rest.
func (c *Config) Complete() error {
	if err := c.CompleteStore(); err != nil {
		return err
	}
	files := c.Certificate.Cert != "" || c.Certificate.Key != ""
	switch {
	case files && len(c.ACME.Domains) > 0:
		return errors.New("both certificate files and ACME are given, want one of them")
	case files && (c.Certificate.Cert == "" || c.Certificate.Key == ""):
		return errors.New("a certificate takes two files: --cert FILE and --key FILE")
	case !files && len(c.ACME.Domains) == 0:
		return errors.New("no certificate: give --cert FILE and --key FILE, or --domain NAME to get one by ACME through the edge")
	}
	return nil
}

// CompleteStore is Complete for what works on the store alone.
func (c *Config) CompleteStore() error {
	if c.Data == "" {
		return errors.New("no data folder: give --data DIR, or `data: DIR` in the configuration")
	}
	if c.Store.Secret == "" && c.Store.URL != "" {
		c.Store.Secret = filepath.Join(c.Data, "secret")
	}
	if c.Node == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("node name: %w; give one with `node: NAME`", err)
		}
		c.Node = name
	}
	return nil
}
