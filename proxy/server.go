package proxy

import (
	"context"
	"net/netip"
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
	Pools          []*backend.Pool // by routes.Route.Backend
	Timeouts       relay.Timeouts
	Idle           time.Duration // for routes that set none; 0: no limit
	HelloBytes     int           // 0: sni.DefaultLimit
	MaxConnections int           // 0: no limit
}

// A Server is one edge. Make one with New.
type Server struct {
	engine *relay.Engine
	config atomic.Pointer[Config]
	access *AccessLog
}

// New returns a server with no listener yet. access may be nil: then no
// records are written.
func New(c *Config, access *AccessLog) (*Server, error) {
	s := &Server{access: access}
	s.config.Store(c)
	e, err := relay.New(relay.Options{Timeouts: c.Timeouts, NewSession: s.newSession})
	if err != nil {
		return nil, err
	}
	s.engine = e
	return s, nil
}

// Listen opens a listening socket, "HOST:PORT", and returns its address.
func (s *Server) Listen(address string) (netip.AddrPort, error) { return s.engine.Listen(address) }

// Start accepts connections until Shutdown or Close.
func (s *Server) Start() { s.engine.Start() }

// Reload has connections that are accepted from now on decided by c. Those
// that are open stay where they are.
func (s *Server) Reload(c *Config) {
	s.config.Store(c)
	s.engine.SetTimeouts(c.Timeouts)
}

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
