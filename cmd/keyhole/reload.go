package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"keyhole/backend"
	"keyhole/config"
)

// nameTime is how long unknown names can hold up the start or a reload.
const nameTime = time.Second

// A plan is a configuration and what is made from it. A reload replaces the edge's plan.
type plan struct {
	config    *config.Config
	pools     []*backend.Pool
	splits    []*backend.Split
	room      room
	resolver  *backend.Resolver
	listeners int // that the resolver knows of
}

// newPlan makes the plan for c, after one with the pools before. It waits for names without an
// address, for nameTime.
func (e *edge) newPlan(ctx context.Context, c *config.Config, before []*backend.Pool) (*plan, error) {
	p := &plan{config: c, listeners: e.own.count()}
	var err error
	if p.room, err = roomFor(c); err != nil {
		return nil, err
	}
	if p.pools, err = pools(c, before, e.names); err != nil {
		return nil, err
	}
	if p.splits, err = splits(c); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	p.resolver = e.resolver(c, p.pools)
	p.resolver.Resolve(ctx)
	return p, nil
}

// loadAside reads the configuration file again and makes a plan, on a goroutine of its own. When
// ctx ends nobody waits for it any more, and it gives up between two steps.
func (e *edge) loadAside(ctx context.Context) <-chan outcome[*plan] {
	file, before := e.plan.config.File, e.plan.pools
	return aside(func() (*plan, error) {
		return inBackground(file, func() (*plan, error) {
			c, err := load(file)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, err
			}
			return e.newPlan(ctx, c, before)
		})
	})
}

// use puts a plan in force. A listener that was opened after the plan was made may be one of its
// servers, which a new resolver drops.
func (e *edge) use(p *plan) {
	if p.listeners != e.own.count() {
		p.resolver = e.resolver(p.config, p.pools)
		e.forget(p.pools)
	}
	for _, w := range p.config.Warnings {
		e.log.Warn("configuration has a warning", "warning", w)
	}
	e.plan = p
	e.server.Reload(proxyConfig(p.config, p.pools, p.splits, p.room))
	e.resolve(p.resolver)
}

// finishReload puts a plan in force. On an error the edge goes on with what it has.
func (e *edge) finishReload(p *plan, err error) {
	if err != nil {
		e.complain(err)
		return
	}
	c := p.config
	e.warnFixed(c)
	e.use(p)
	e.log.Info("configuration reloaded", "file", c.File, "routes", len(c.Routes), "backends", len(c.Backends))
}

// warnFixed logs what a reload does not change, and keeps it in c as it is.
func (e *edge) warnFixed(c *config.Config) {
	now := e.plan.config
	if !slices.Equal(bindings(c), e.opened) {
		e.log.Warn("the addresses in listen have changed; the open listeners stay until a restart, with what the file says of them")
	}
	if c.Log != now.Log {
		e.log.Warn("log has changed; it stays as it is until a restart")
	}
	c.Log = now.Log
}

// A binding is what a reload does not change of a listener.
type binding struct {
	address  string
	ipv6Only bool
}

// bindings returns those of all listeners, in the same order for the same ones.
func bindings(c *config.Config) []binding {
	var all []binding
	for _, l := range c.Listen {
		all = append(all, binding{l.Address, l.IPv6Only})
	}
	slices.SortFunc(all, func(a, b binding) int { return strings.Compare(a.address, b.address) })
	return all
}

// reopenAside opens the access log's file again, on a goroutine of its own, and lets go of the
// former, which may have been rotated away. The outcome is nil when the log is no file.
func (e *edge) reopenAside() <-chan outcome[*sink] {
	former := e.sink
	return aside(func() (*sink, error) {
		next, err := former.reopened()
		if next == nil {
			return nil, err
		}
		if err := e.access.Reopen(next.out); err != nil {
			next.close()
			return nil, err
		}
		former.close()
		return next, nil
	})
}

func (e *edge) finishReopen(next *sink, err error) {
	switch {
	case err != nil:
		e.log.Error("access log not reopened; the former file stays in use", "error", err)
	case next != nil:
		e.sink = next
	}
}
