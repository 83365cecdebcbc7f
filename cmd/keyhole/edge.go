package main

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"keyhole/backend"
	"keyhole/config"
	"keyhole/proxy"
)

// An edge is a running server and what it was made from. It belongs to one
// goroutine.
type edge struct {
	server *proxy.Server
	access *proxy.AccessLog // nil when records are off
	sink   *sink
	log    *slog.Logger
	bound  []netip.AddrPort

	// What a reload replaces.
	config   *config.Config
	pools    []*backend.Pool
	stop     context.CancelFunc // ends the resolver
	resolved sync.WaitGroup     // the resolver has ended
}

// startEdge opens the listeners of c and serves. Names are resolved first, and
// until ctx ends. The sink is the edge's to close, on an error too.
func startEdge(ctx context.Context, c *config.Config, out *sink, log *slog.Logger) (_ *edge, err error) {
	e := &edge{config: c, log: log, sink: out}
	e.openAccessLog()
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	most, err := connections(c.Limits.Connections)
	if err != nil {
		return nil, err
	}
	if e.pools, err = pools(c, nil); err != nil {
		return nil, err
	}
	if e.server, err = proxy.New(proxyConfig(c, e.pools, most), e.access); err != nil {
		return nil, err
	}
	if err := e.listen(); err != nil {
		return nil, err
	}
	e.resolve(ctx)
	e.server.Start()
	for _, at := range e.bound {
		log.Info("listening", "address", at.String())
	}
	return e, nil
}

func (e *edge) openAccessLog() {
	if e.sink == nil {
		return
	}
	format := proxy.Text
	if e.config.Log.Format == "json" {
		format = proxy.JSON
	}
	var names []string
	for _, l := range e.config.Listen {
		names = append(names, l.Address)
	}
	e.access = proxy.NewAccessLog(e.sink.out, format, names, e.log)
}

// nameTime is how long names that are not known yet can hold up the start or a reload.
const nameTime = time.Second

// resolve looks up the names of the present pools for nameTime, then in the background until ctx ends or e.stop is
// called.
func (e *edge) resolve(ctx context.Context) {
	ctx, e.stop = context.WithCancel(ctx)
	r := &backend.Resolver{Pools: e.pools, Forbidden: e.isOwn, Log: e.log}
	brief, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	r.Resolve(brief)
	e.resolved.Go(func() { r.Run(ctx) })
}

func (e *edge) stopResolver() {
	e.stop()
	e.resolved.Wait()
}

// drain stops accepting and waits for the open connections, up to the
// configured time; when ctx ends first, what is left is killed. It reports how
// many had to be closed.
func (e *edge) drain(ctx context.Context) int {
	limited, cancel := context.WithTimeout(ctx, e.config.Timeouts.Drain)
	defer cancel()
	// The server learns of the end only when the rest are counted: it closes
	// them at once.
	patience, lose := context.WithCancel(context.Background())
	defer lose()
	left := make(chan int, 1)
	context.AfterFunc(limited, func() {
		left <- e.server.Active()
		if ctx.Err() != nil {
			e.server.Close()
		}
		lose()
	})
	e.server.Shutdown(patience)
	select {
	case n := <-left:
		return n
	default:
		return 0
	}
}

// close ends what is left of the edge, and writes the last records.
func (e *edge) close() {
	if e.stop != nil {
		e.stopResolver()
	}
	if e.server != nil {
		e.server.Close()
	}
	if e.access != nil {
		e.access.Close()
		e.sink.close()
	}
}
