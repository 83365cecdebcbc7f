package proxy

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"keyhole/backend"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// Config is what connections are decided by. It must not change once a
// Server has it.
type Config struct {
	Table          *routes.Table
	Listeners      []Rules          // by routes.Query.Listener
	Pools          []*backend.Pool  // by routes.Route.Backend
	Splits         []*backend.Split // by routes.Route.Backend, from backend.FirstSplit on; among Pools
	Timeouts       relay.Timeouts
	Idle           time.Duration // for routes that set none; 0: no limit
	Keepalive      time.Duration // for routes that set none, in whole seconds; 0: off
	HelloBytes     int           // 0: sni.DefaultLimit
	HelloMemory    int           // bytes that all unfinished hellos hold together; 0: no limit
	MaxConnections int           // 0: no limit
	JA4            bool          // records have it, whether or not the table wants it
	Pipes          int           // see relay.Options; a reload does not change it

	places []int // in Listeners, by Listener.id; -1 for one that is not there
}

// A Server is one edge. Make one with New.
type Server struct {
	engine *relay.Engine
	prefix [8]byte // of the ids of connections
	config atomic.Pointer[Config]
	access *AccessLog

	mu        sync.Mutex // guards what follows, and stores to config; no loop may wait for it
	listeners []*Listener
	names     []string // of all listeners that were ever open, by Listener.id

	deskMu sync.Mutex
	desks  []*desk // by loop
}

// New returns a server with no listener yet. access may be nil: then no
// records are written. The log gets what the kernel refuses; it may be nil.
func New(c *Config, access *AccessLog, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{access: access}
	rand.Read(s.prefix[:])
	s.config.Store(c)
	e, err := relay.New(relay.Options{
		Timeouts: c.Timeouts, HelloMemory: int64(c.HelloMemory), Pipes: c.Pipes, Apart: true, NewSession: s.newSession,
		Trouble: func(t relay.Trouble, cause error, times uint64) {
			log.Warn(t.String(), "error", cause, "times", times)
		},
	})
	if err != nil {
		return nil, err
	}
	s.engine = e
	return s, nil
}

// Start accepts connections until Shutdown or Close.
func (s *Server) Start() { s.engine.Start() }

// Reload has connections that are accepted from now on decided by c. Those
// that are open stay where they are.
func (s *Server) Reload(c *Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish(*c)
	s.engine.SetTimeouts(c.Timeouts)
	s.engine.SetHelloMemory(int64(c.HelloMemory))
	for _, ln := range s.listeners {
		ln.SetKeepalive(c.Keepalive)
		ln.SetAtOnce(s.config.Load().rules(ln).serverFirst())
	}
}

// Threads returns the ids of the threads that serve connections, once the
// server has started.
func (s *Server) Threads() []int { return s.engine.Threads() }

// Shutdown stops accepting and waits until every connection has ended by
// itself; when ctx ends first it closes the rest, as drained, and returns
// ctx's error. It does not close the access log.
func (s *Server) Shutdown(ctx context.Context) error { return s.engine.Shutdown(ctx) }

// Close ends every connection at once, as killed.
func (s *Server) Close() error { return s.engine.Close() }

// Active returns the number of open connections.
func (s *Server) Active() int { return s.engine.Active() }

// Accepted returns how many connections were ever accepted.
func (s *Server) Accepted() uint64 { return s.engine.Accepted() }

// Stats returns what each event loop holds at the moment.
func (s *Server) Stats() []relay.LoopStats { return s.engine.Stats() }
