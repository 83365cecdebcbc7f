package main

import (
	"keyhole/backend"
	"keyhole/config"
	"keyhole/proxy"
	"keyhole/proxy/relay"
)

// pools makes the pool of every backend of c, in its order. A pool that old
// has by the same name hands over its addresses and counts.
func pools(c *config.Config, old []*backend.Pool, names *backend.Lookups) ([]*backend.Pool, error) {
	before := make(map[string]*backend.Pool, len(old))
	for _, p := range old {
		before[p.Name()] = p
	}
	all := make([]*backend.Pool, 0, len(c.Backends))
	for _, b := range c.Backends {
		p, err := pool(b, c.Resolver.Family, names)
		if err != nil {
			return nil, err
		}
		p.Adopt(before[b.Name])
		all = append(all, p)
	}
	return all, nil
}

func pool(b config.Backend, f backend.Family, names *backend.Lookups) (*backend.Pool, error) {
	c := backend.Config{
		Name: b.Name, Balance: b.Balance, Retries: b.Retries, MaxConnections: b.MaxConnections,
		ProxyProtocol: b.ProxyProtocol, To: b.To, Family: f, Lookups: names,
	}
	for _, s := range b.Servers {
		c.Servers = append(c.Servers, backend.ServerConfig{Address: s.Address, Weight: s.Weight, Backup: s.Backup})
	}
	return backend.New(c)
}

func splits(c *config.Config) ([]*backend.Split, error) {
	all := make([]*backend.Split, 0, len(c.Splits))
	for _, s := range c.Splits {
		split, err := split(c, s)
		if err != nil {
			return nil, err
		}
		all = append(all, split)
	}
	return all, nil
}

func split(c *config.Config, s config.Split) (*backend.Split, error) {
	shares := make([]backend.Share, len(s.Backends))
	for i, b := range s.Backends {
		shares[i] = backend.Share{Name: c.Backends[b].Name, Pool: b, Weight: s.Weights[i]}
	}
	return backend.NewSplit(shares, s.Sticky)
}

func proxyConfig(c *config.Config, pools []*backend.Pool, splits []*backend.Split, r room) *proxy.Config {
	return &proxy.Config{
		Table:     c.Table,
		Listeners: rules(c.Listen),
		Pools:     pools,
		Splits:    splits,
		Timeouts: relay.Timeouts{
			Hello:     c.Timeouts.Hello,
			Connect:   c.Timeouts.Connect,
			HalfClose: c.Timeouts.HalfClose,
		},
		Idle:           c.Timeouts.Idle,
		Keepalive:      c.Timeouts.Keepalive,
		HelloBytes:     c.Limits.HelloBytes,
		HelloMemory:    c.Limits.HelloMemory,
		MaxConnections: r.connections,
		JA4:            c.Log.JA4,
		Pipes:          r.pipes,
	}
}

func rules(listeners []config.Listener) []proxy.Rules {
	all := make([]proxy.Rules, len(listeners))
	for i, l := range listeners {
		all[i] = proxy.Rules{
			Address: l.Address, Access: l.Access, TCP: l.TCP, NotTLS: l.NotTLS, NoName: l.NoSNI,
			MaxConnections: l.Connections, HelloBytes: l.HelloBytes, ProxyFrom: l.ProxyFrom,
		}
		if l.StartTLS == config.StartTLSPostgres {
			all[i].StartTLS = proxy.PostgresStartTLS
		}
	}
	return all
}
