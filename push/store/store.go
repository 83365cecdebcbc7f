// Package store keeps what the push server must not lose: accounts, sessions,
// message tokens, the key ring and every message until it is acknowledged. All
// of it lives in NATS JetStream, either in a server inside this process, with
// its files in a data folder, or in a cluster outside.
//
//	s, err := store.Open(ctx, store.Config{Dir: "/var/lib/pushd"})
//	text, t, err := s.TokenOf(ctx, "ann", "phone-1", "mail")
//	sub, err := s.Subscribe(ctx, registry) // from now on, every message of every node
//	seq, _, err := s.Publish(ctx, store.Message{ID: "42", Token: t.Hash, Data: []byte("hello")})
//	missed, err := s.Backlog(ctx, store.TokenFilter(t.Hash), 0, sub.Last(), 64)
//	s.Delete(seq) // acknowledged
//
// Publish returns once the message is on disk, or on a majority of the
// cluster's disks. Messages and events share one sequence, so that a reader
// needs one number to say how far it has come; there is one consumer for a
// node, however many terminals it serves.
//
// The package checks no credential and no condition: it neither knows who may
// read a record nor which terminal is connected.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The errors for a record that is not as expected.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrConflict = errors.New("changed by somebody else meanwhile")
)

// A Config says where a Store keeps its records. It needs Dir or URL.
type Config struct {
	// Dir is the data folder of the embedded server; made when it is missing.
	// One process at a time may have it open.
	Dir string

	// URL names the servers of a cluster instead, separated by commas:
	// "nats://a:4222,nats://b:4222". The streams want an account of their own.
	URL string

	Creds string // file with the credentials for URL; optional
	CA    string // file with the PEM certificates that URL's servers are checked against; empty: the system's

	// Replicas is how many servers of the cluster keep each message. Zero is 3
	// with a URL; the embedded server is always alone.
	Replicas int

	// Secret is 32 bytes, the same at every node: it seals the key ring and
	// makes the tokens. With Dir, nil reads Dir/secret, which is made when it
	// is missing.
	Secret []byte

	Backlog   int           // undelivered messages of one token; zero: 1,000
	Retention time.Duration // the longest that a message is kept; zero: 28 days

	// MinFree is the room in bytes on the disk of Dir below which nothing is
	// published any more; zero: 64 MiB. The embedded server gives up
	// altogether when it finds no room at all.
	MinFree uint64

	Log *slog.Logger     // nil: slog.Default()
	Now func() time.Time // nil: time.Now
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Dir == "" && c.URL == "":
		return c, errors.New("store: neither a data folder nor the URL of a NATS cluster is given: set one")
	case c.Dir != "" && c.URL != "":
		return c, errors.New("store: both a data folder and the URL of a NATS cluster are given: leave one out")
	case c.Secret != nil && len(c.Secret) != secretSize:
		return c, fmt.Errorf("store: the secret has %d bytes, want %d", len(c.Secret), secretSize)
	case c.URL != "" && c.Secret == nil:
		return c, errors.New("store: a NATS cluster needs a secret that all nodes share: make one with `head -c 32 /dev/urandom | base64`")
	case c.Backlog < 0 || c.Retention < 0 || c.Replicas < 0:
		return c, errors.New("store: backlog, retention and replicas cannot be negative")
	}
	c.Backlog = or(c.Backlog, 1000)
	c.Retention = or(c.Retention, 28*24*time.Hour)
	c.MinFree = or(c.MinFree, 64<<20)
	c.Replicas = or(c.Replicas, 3)
	if c.URL == "" {
		c.Replicas = 1
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// A Store holds records and messages. Its methods may be called at once. Those
// that take a context try again while the store is out of reach, and give up
// with wire.StoreUnavailable when the context ends: give it a deadline.
type Store struct {
	cfg   Config
	keys  keys
	local *embedded // nil with a cluster
	nc    *nats.Conn
	js    jetstream.JetStream

	streams map[string]jetstream.Stream // by name; filled by Open
	limits  *limiter
	sums    *sums
	apps    appSequences
	deletes deleter

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.Mutex // held to cancel, and to start what wg waits for
	wg     sync.WaitGroup

	closing sync.Once
	closed  error
}

// Open starts the embedded server, or connects to the cluster, and makes the
// streams that are missing. ctx limits the opening only. An error names the
// folder or the URL, and what to do.
func Open(ctx context.Context, c Config) (*Store, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := newStore(c)
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newStore(c Config) *Store {
	s := &Store{cfg: c, limits: newLimiter(), sums: newSums(), streams: map[string]jetstream.Stream{}, apps: appSequences{last: map[string]uint64{}}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *Store) open(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	js, err := jetstream.New(s.nc)
	if err != nil {
		return fmt.Errorf("%s: %w", s.place(), err)
	}
	s.js = js
	if err := s.makeStreams(ctx); err != nil {
		return err
	}
	if err := s.checkSecret(ctx); err != nil {
		return err
	}
	s.deletes.start(s)
	return nil
}

func (s *Store) connect(ctx context.Context) error {
	secret := s.cfg.Secret
	var err error
	if s.cfg.URL != "" {
		s.nc, err = connectCluster(ctx, s.cfg)
	} else {
		if s.local, err = openEmbedded(s.cfg); err != nil {
			return err
		}
		s.wg.Go(func() { s.local.watch(s.ctx) })
		if secret == nil {
			if secret, err = secretOf(s.cfg.Dir); err != nil {
				return err
			}
		}
		s.nc, err = s.local.connect(s.cfg.Log)
	}
	if err != nil {
		return err
	}
	s.keys, err = deriveKeys(secret)
	return err
}

// place is what errors call this store.
func (s *Store) place() string {
	if s.local != nil {
		return "data folder " + s.cfg.Dir
	}
	return redacted(s.cfg.URL)
}

// Close deletes what is still to be deleted, for at most five seconds, ends
// every subscription, stops the embedded server and frees the folder. What is
// called afterwards fails. A second Close does nothing and returns the same.
func (s *Store) Close() error {
	s.closing.Do(func() { s.closed = s.close() })
	return s.closed
}

func (s *Store) close() error {
	s.deletes.stop(closeTimeout)
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.wg.Wait()
	if s.nc != nil {
		s.nc.Close()
	}
	if s.local != nil {
		return s.local.close()
	}
	return nil
}

const closeTimeout = 5 * time.Second

// Retention is the longest that a message is kept.
func (s *Store) Retention() time.Duration { return s.cfg.Retention }

// Size returns how many messages are stored, and their bytes on disk.
func (s *Store) Size(ctx context.Context) (messages, bytes uint64, err error) {
	info, err := s.streamInfo(ctx, messageStream, "")
	if err != nil {
		return 0, 0, err
	}
	return info.State.Msgs, info.State.Bytes, nil
}

// Ready returns nil when a durable write can be made: it makes one. An error
// wraps wire.DiskFull or wire.StoreUnavailable.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.room(); err != nil {
		return err
	}
	return s.mark(ctx)
}

// room returns an error when it is known that no message can be stored.
func (s *Store) room() error {
	if s.local == nil {
		return nil
	}
	return s.local.room()
}
