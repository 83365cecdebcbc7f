package main

import (
	"io"
	"log/slog"
	"net/netip"
	"time"

	"keyhole/backend"
	"keyhole/proxy"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// startEdge runs an edge that sends name to origin and refuses every other
// name; close ends it. It holds no key: it has only heard of a name and an
// address.
func startEdge(listen, name, origin string, access io.Writer, log *slog.Logger) (at netip.AddrPort, close func(), err error) {
	table, err := routes.New(routes.Config{Routes: []routes.Route{{SNI: []string{name}}}})
	if err != nil {
		return at, nil, err
	}
	pool, err := backend.New(backend.Config{Name: "pushd", Servers: []backend.ServerConfig{{Address: origin}}})
	if err != nil {
		return at, nil, err
	}
	listener, err := netip.ParseAddrPort(listen)
	if err != nil {
		return at, nil, err
	}
	records := proxy.NewAccessLog(access, proxy.LogOptions{}, log)
	edge, err := proxy.New(&proxy.Config{
		Table:          table,
		Pools:          []*backend.Pool{pool},
		Timeouts:       relay.Timeouts{Hello: 5 * time.Second, Connect: 3 * time.Second, HalfClose: time.Minute},
		Idle:           time.Hour,
		HelloBytes:     65536,
		MaxConnections: 1000,
	}, records, log)
	if err != nil {
		records.Close()
		return at, nil, err
	}
	close = func() {
		edge.Close()
		records.Close()
	}
	ln, err := edge.Listen(listener, proxy.ListenOptions{Name: listen})
	if err != nil {
		close()
		return at, nil, err
	}
	edge.Start()
	return ln.Addr(), close, nil
}
