package proxy

import (
	"net/netip"
	"time"

	"keyhole/backend"
	"keyhole/routes"
	"keyhole/sni"
)

// A Query is what a client asks for: the server name and the protocols of its
// hello, the address that it has, and the listener that it reached.
type Query struct {
	Name     []byte // as it was sent; nil for a hello without one
	ALPN     sni.Protocols
	Client   netip.Addr
	Listener *Listener
	JA4      *sni.JA4 // nil: not known
}

// A Decision is where a query goes, or why it goes nowhere.
type Decision struct {
	Route     *routes.Route // nil when nothing took the client
	Pool      *backend.Pool // nil when the client is rejected for Reason
	Reason    Reason
	Outcome   routes.Outcome
	Literal   bool          // the name is an IP address, and counts as none
	Idle      time.Duration // 0: no limit
	Keepalive time.Duration // 0: off
	Reject    routes.Reject
}

// Decide looks a query up. It reads nothing but c and the query, and throws
// dice where a route has several backends. It allocates nothing and never
// waits, so that streams and datagrams can share it.
func (c *Config) Decide(q Query) Decision {
	return c.decision(q.Client, c.Table.Lookup(routes.Query{
		Name: q.Name, ALPN: q.ALPN, Client: q.Client, Listener: c.place(q.Listener), JA4: q.JA4,
	}))
}

// DecideWithout is Decide for a client that is sent to r without a hello. The
// query has no name.
func (c *Config) DecideWithout(r *routes.Route, q Query) Decision {
	return c.decision(q.Client, c.Table.Admit(r, q.Client, c.place(q.Listener)))
}

func (c *Config) decision(client netip.Addr, m routes.Match) Decision {
	d := Decision{
		Route: m.Route, Outcome: m.Outcome, Literal: m.Literal,
		Idle: c.Idle, Keepalive: c.Keepalive, Reject: m.Reject,
	}
	if r := m.Route; r != nil {
		if r.IdleTimeout != 0 {
			d.Idle = r.IdleTimeout
		}
		if r.Keepalive != 0 {
			d.Keepalive = max(r.Keepalive, 0)
		}
	}
	switch m.Outcome {
	case routes.Matched, routes.MatchedDefault, routes.MatchedNoName:
		d.Pool = c.pool(m.Route.Backend, client)
	case routes.NoName:
		d.Reason = NoSNI
	case routes.BadName:
		d.Reason = HelloMalformed
	case routes.Denied:
		d.Reason = DeniedAddress
	case routes.DeniedJA4:
		d.Reason = DeniedJA4
	case routes.Rejected:
		d.Reason = RouteRejects
	default:
		d.Reason = NoRoute
	}
	return d
}

// pool returns the one that the backend of a route stands for.
func (c *Config) pool(number int, client netip.Addr) *backend.Pool {
	if number >= backend.FirstSplit {
		number = c.Splits[number-backend.FirstSplit].Pick(client)
	}
	return c.Pools[number]
}
