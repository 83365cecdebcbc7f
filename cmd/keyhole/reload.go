package main

import (
	"context"
	"slices"

	"keyhole/config"
)

// reload reads the configuration file again. On any error the edge goes on
// with what it has.
func (e *edge) reload(ctx context.Context) error {
	c, err := load(e.config.File)
	if err != nil {
		return err
	}
	most, err := connections(c.Limits.Connections)
	if err != nil {
		return err
	}
	next, err := pools(c, e.pools)
	if err != nil {
		return err
	}
	e.warnFixed(c)
	e.stopResolver()
	e.pools, e.config = next, c
	e.resolve(ctx)
	e.server.Reload(proxyConfig(c, next, most))
	e.log.Info("configuration reloaded", "file", c.File, "routes", len(c.Routes), "backends", len(c.Backends))
	return nil
}

// warnFixed says what a reload does not change, and keeps it in c as it is.
func (e *edge) warnFixed(c *config.Config) {
	if !slices.Equal(c.Listen, e.config.Listen) {
		e.log.Warn("listen has changed; the listeners stay as they are until a restart")
	}
	if c.Log != e.config.Log {
		e.log.Warn("log has changed; it stays as it is until a restart")
	}
	c.Listen, c.Log = e.config.Listen, e.config.Log
}

// reopen opens the access log's file again, so that one that was rotated
// away is let go of.
func (e *edge) reopen() error {
	next, err := e.sink.reopened()
	if next == nil {
		return err
	}
	if err := e.access.Reopen(next.out); err != nil {
		next.close()
		return err
	}
	e.sink.close()
	e.sink = next
	return nil
}
