package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"time"

	"keyhole/backend"
	"keyhole/config"
	"keyhole/proxy"
	"keyhole/proxy/relay"
)

// An edge is a running server and what it was made from. It belongs to one goroutine, but for what
// runs in tasks.
type edge struct {
	server *proxy.Server
	access *proxy.AccessLog // nil when records are off
	sink   *sink
	log    *slog.Logger
	tasks  *tasks
	plan   *plan
	stop   context.CancelFunc // ends the resolver of the plan
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	names  *backend.Lookups // of names that clients ask for

	own     addresses
	opened  []binding        // the listeners that there are until a restart
	ready   []netip.AddrPort // the listeners that are open before the start
	answers chan answer      // of the listeners that are given by names
}

// newEdge opens the listeners of c and resolves names for a short time, then in the background
// until ctx ends. The edge serves after start. The sink is the edge's to close, on an error too.
func newEdge(ctx context.Context, c *config.Config, out *sink, log *slog.Logger) (*edge, error) {
	e := &edge{log: log, sink: out, lookup: net.DefaultResolver.LookupNetIP, names: &backend.Lookups{}}
	if err := e.prepare(ctx, c); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *edge) prepare(ctx context.Context, c *config.Config) (err error) {
	e.tasks = newTasks(ctx, e.log)
	e.answers = make(chan answer)
	e.openAccessLog(c.Log)
	e.names.Own, e.names.Forbidden = e.own.isOwn, e.own.reachedBy
	e.tasks.Go("names of clients", e.names.Run)
	r, err := roomFor(c)
	if err != nil {
		return err // before a call fails for want of a descriptor
	}
	if e.server, err = proxy.New(proxyConfig(c, nil, nil, r), e.access, e.log); err != nil {
		return err
	}
	runtime.GOMAXPROCS(relay.LoopsApart*relay.Processors + spareProcs)
	grace := time.After(nameTime)
	e.opened = bindings(c)
	named, err := e.listen(c.Listen)
	if err != nil {
		return err
	}
	p, err := e.newPlan(ctx, c, nil)
	if err != nil {
		return err
	}
	if err := e.await(ctx, named, grace); err != nil {
		return err
	}
	e.use(p)
	return nil
}

// start begins to accept connections.
func (e *edge) start() {
	e.server.Start()
	preferThreads(e.server.Threads())
	for _, at := range e.ready {
		e.log.Info("listening", "address", at.String())
	}
}

func (e *edge) openAccessLog(l config.Log) {
	if e.sink == nil {
		return
	}
	o := proxy.LogOptions{SkipNoBytes: l.SkipNoBytes}
	if l.Format == "json" {
		o.Format = proxy.JSON
	}
	e.access = proxy.NewAccessLog(e.sink.out, o, e.log)
}

func (e *edge) resolver(c *config.Config, pools []*backend.Pool) *backend.Resolver {
	f := c.Resolver.Family
	return &backend.Resolver{Pools: pools, Family: f, Forbidden: e.own.reachedBy, Log: e.log,
		Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) { return e.lookup(ctx, f.Network(), host) },
	}
}

// forget has names that clients ask for resolved anew, since a listener has been opened that one of
// them may lead to.
func (e *edge) forget(pools []*backend.Pool) {
	for _, p := range pools {
		p.Forget()
	}
}

// resolve has r look up names in the background, in place of the resolver before.
func (e *edge) resolve(r *backend.Resolver) {
	if e.stop != nil {
		e.stop()
	}
	e.stop = e.tasks.Go("resolver", r.Run)
}

// drain stops accepting and waits for the open connections, up to the configured time. When ctx
// ends first, the rest are killed. It returns how many had to be closed.
func (e *edge) drain(ctx context.Context) int {
	limited, cancel := context.WithTimeout(ctx, e.plan.config.Timeouts.Drain)
	defer cancel()
	// The server learns of the end only after the rest are counted: it closes them at once.
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
	e.tasks.Stop()
	if e.server != nil {
		e.server.Close()
	}
	if e.access != nil {
		e.access.Close()
		e.sink.close()
	}
}
