// Package server is pushd without its process: the WebSocket of terminals, the
// HTTP API of apps and publishers, Web Push, metrics, health and drain.
//
//	s, err := server.New(server.Config{Auth: a, Store: st, TLS: certificates, Node: "a"})
//	go s.Serve(ctx, listener) // until Shutdown has finished, or ctx ends
//	...
//	err = s.Shutdown(ctx)     // asks terminals to go elsewhere, and waits for them
//
// A connection is established in parts (P2): the TLS server accepts it, the
// upgrade in terminal_accept.go announces it, the exchange in exchange.go proves
// both sides, terminal_attach.go gives it its attributes and registers its
// channel. docs/push-protocol.md and docs/push-api.md are what is spoken.
//
// The package moves frames and requests. Whether a session, a key or a token
// holds is package auth's to say, what goes to whom package channel's, and what
// lasts package store's. It reads no file and opens no listener.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"keyhole/push/auth"
	"keyhole/push/channel"
	"keyhole/push/store"
)

// Limits are what a server refuses more of. Of each, zero is the default.
type Limits struct {
	FrameBytes            int           // of one frame from a terminal; 0: 16,384
	PayloadBytes          int           // of one message; 0: 4,096
	StateKeys             int           // of one terminal's state; 0: 64
	Window                int           // messages on their way to a terminal, not yet acknowledged; 0: 64
	Connections           int           // terminals on this node, verified or not; 0: no limit
	ConnectionsPerAccount int           // verified terminals of one account on this node; 0: no limit
	HandshakeTimeout      time.Duration // from the upgrade to the first confirmation; 0: 10 s
	WriteTimeout          time.Duration // for one frame to a terminal; 0: 10 s
}

// A Config is what a Server works with. Auth, Store and TLS are needed.
type Config struct {
	Auth      *auth.Auth
	Store     *store.Store
	TLS       *tls.Config      // certificates; TLS 1.3 is demanded, and ALPN added
	Node      string           // unique among the servers of one store; "": "pushd"
	Heartbeat time.Duration    // how often a terminal is to send one; 0: 4 min
	Limits    Limits           //
	Log       *slog.Logger     // nil: slog.Default()
	Now       func() time.Time // nil: time.Now
}

// A Server is one node. Make one with New. Its methods may be called at once.
type Server struct {
	config   Config // with defaults filled in
	log      *slog.Logger
	now      func() time.Time
	metrics  *metrics
	channels *channel.Registry
	proofs   *proofSet
	verifier *verifier
	live     *terminalSet
	http     *http.Server
	shaking  gate      // TLS handshakes
	opening  gate      // sessions that are opened for an exchange
	started  time.Time // what the times of heartbeats are measured from

	served   atomic.Bool
	draining atomic.Bool
	down     chan struct{} // closed when nothing is served any more
	downOnce sync.Once
}

// New returns a server that does not serve yet.
func New(c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("push server: %w", err)
	}
	s := &Server{
		config: c, log: c.Log, now: c.Now, metrics: newMetrics(), proofs: newProofSet(),
		started: c.Now(), down: make(chan struct{}), shaking: newGate(), opening: newGate(),
	}
	c.TLS.GetConfigForClient = s.enterHandshake
	s.verifier = newVerifier(c.Auth, c.Limits.HandshakeTimeout, c.Now)
	s.live = newTerminalSet(c.Limits.Connections)
	s.channels = channel.New(channel.Config{
		Store: c.Store, Node: c.Node, Window: c.Limits.Window, PerAccount: c.Limits.ConnectionsPerAccount,
		StateKeys: c.Limits.StateKeys, Metrics: s.metrics, Log: c.Log, Now: c.Now,
	})
	s.http = &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         c.TLS.Clone(), // net/http writes into it
		ReadHeaderTimeout: handshakeTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug), // what clients do wrong
	}
	return s, nil
}

// Handler serves terminals, the API, Web Push and the page.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/terminal", s.acceptTerminal)
	s.apiRoutes(mux)
	return mux
}

// Serve serves the connections that l accepts, over TLS, until Shutdown has
// finished, and returns nil then. It also follows the store and renews the
// server key. When ctx ends first, every connection is closed at once, and its
// error returned; so is that of a listener that fails. A Server serves once,
// and closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if !s.served.CompareAndSwap(false, true) {
		return errors.New("push server: Serve was called before; make another Server")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	subscription, err := s.config.Store.Subscribe(ctx, follower{s})
	if err != nil {
		return fmt.Errorf("push server: follow the store: %w", err)
	}
	defer subscription.Close()
	s.channels.Follow(subscription)
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = s.config.Auth.Run(ctx) }) // ends with ctx, and logs what fails
	tasks.Go(func() { s.sweep(ctx) })
	defer tasks.Wait()
	defer cancel()
	return s.serve(ctx, l)
}

// serve is the part of Serve that the background tasks outlast.
func (s *Server) serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, s.kill)
	defer stop()
	if err := s.http.ServeTLS(&gatedListener{l, s.shaking}, "", ""); !errors.Is(err, http.ErrServerClosed) {
		s.kill()
		return fmt.Errorf("push server: accept: %w", err)
	}
	<-s.down
	return ctx.Err()
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Auth == nil:
		return c, errors.New("field Auth is missing")
	case c.Store == nil:
		return c, errors.New("field Store is missing")
	case c.TLS == nil:
		return c, errors.New("field TLS is missing; terminals are served over TLS only")
	}
	if c.Node == "" {
		c.Node = "pushd"
	}
	c.Heartbeat = orDefault(c.Heartbeat, 4*time.Minute)
	c.Limits = c.Limits.withDefaults()
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	// The exporter that an exchange is bound to is only safe in TLS 1.3 (RFC
	// 9266 section 4.2).
	c.TLS = c.TLS.Clone()
	c.TLS.MinVersion, c.TLS.MaxVersion = tls.VersionTLS13, 0
	return c, nil
}

func (l Limits) withDefaults() Limits {
	l.FrameBytes = orDefault(l.FrameBytes, 16<<10)
	l.PayloadBytes = orDefault(l.PayloadBytes, 4<<10)
	l.StateKeys = orDefault(l.StateKeys, 64)
	l.Window = orDefault(l.Window, 64)
	l.HandshakeTimeout = orDefault(l.HandshakeTimeout, 10*time.Second)
	l.WriteTimeout = orDefault(l.WriteTimeout, 10*time.Second)
	return l
}

// orDefault is value unless that is zero or less.
func orDefault[T int | time.Duration](value, fallback T) T {
	if value > 0 {
		return value
	}
	return fallback
}
