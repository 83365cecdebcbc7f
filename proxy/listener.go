package proxy

import (
	"net/netip"
	"sync/atomic"

	"keyhole/proxy/relay"
	"keyhole/routes"
)

// A Listener accepts connections for a Server.
type Listener struct {
	*relay.Listener
	Name string       // its address as configured, by which it finds its Rules
	id   int          // in the order of Listen
	open atomic.Int64 // connections
}

// Rules are what a Config says of one listener. Its place in Config.Listeners
// is its number in the table.
type Rules struct {
	Address string         // ListenOptions.Name
	Access  *routes.Access // the clients that it takes; nil: all
	TCP     *routes.Route  // where all of them go, who need not speak TLS; nil: by their hello
	NotTLS  routes.Plain   // where those go that speak something else than TLS

	MaxConnections int // open at once on this listener; 0: no limit but the Config's
	HelloBytes     int // 0: the Config's

	ProxyFrom *routes.Access // the peers that begin with a PROXY header; nil: none

	StartTLS StartTLS
	NoName   *routes.Route // its own in the table, which alone takes CancelRequests; nil: none
}

// ListenOptions are the settings of one listener.
type ListenOptions struct {
	Name     string // see Listener
	OnlyIPv6 bool   // of "[::]": leave IPv4 to another listener
}

// Listen opens a listening socket. An address without an IP is every address
// of the machine, IPv6 and IPv4.
func (s *Server) Listen(at netip.AddrPort, o ListenOptions) (*Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ln := &Listener{Name: o.Name, id: len(s.names)}
	// Known before the first connection: the engine may have started.
	s.names = append(s.names, o.Name)
	s.publish(*s.config.Load())
	c := s.config.Load()
	var err error
	ln.Listener, err = s.engine.Listen(at, relay.ListenOptions{
		Keepalive: c.Keepalive, OnlyIPv6: o.OnlyIPv6, AtOnce: c.rules(ln).serverFirst(), Value: ln,
	})
	if err != nil {
		s.names = s.names[:ln.id]
		return nil, err
	}
	s.listeners = append(s.listeners, ln)
	return ln, nil
}

// publish has connections that are accepted from now on decided by c. The
// caller holds s.mu.
func (s *Server) publish(c Config) {
	free := make(map[string][]int, len(c.Listeners)) // several listeners may have an address with port 0
	for i, r := range c.Listeners {
		free[r.Address] = append(free[r.Address], i)
	}
	c.places = make([]int, len(s.names))
	for id, name := range s.names {
		c.places[id] = routes.NoListener
		if at := free[name]; len(at) > 0 {
			c.places[id], free[name] = at[0], at[1:]
		}
	}
	s.config.Store(&c)
}

// place returns a listener's number in c. A listener that c does not name has
// none: it goes on with what is for all listeners.
func (c *Config) place(ln *Listener) int {
	if ln == nil || ln.id >= len(c.places) {
		return routes.NoListener
	}
	return c.places[ln.id]
}

// rules returns what c says of a listener; nil is nothing.
func (c *Config) rules(ln *Listener) *Rules {
	if i := c.place(ln); i >= 0 {
		return &c.Listeners[i]
	}
	return nil
}
