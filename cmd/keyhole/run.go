package main

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/config"
)

func runCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the edge",
		Long: `Run the edge in the foreground. SIGHUP reloads the configuration and opens the
access log's file anew. SIGTERM or SIGINT stops accepting and waits for open
connections up to timeouts.drain; a second one ends at once, unless it is a
SIGTERM within a second of the first.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), *file, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// serve runs the edge of a configuration file until a signal or ctx ends it.
func serve(ctx context.Context, file string, stdout, stderr io.Writer) error {
	asked := watchSignals(ctx)
	patient := cli.NewPatientWriter(stderr)
	defer patient.Close()
	e, err := startAside(asked.end, file, stdout, stderr, patient)
	if asked.end.Err() != nil {
		return nil // nothing has been served; the end of the process closes what is open
	}
	if err != nil {
		// The caller prints the error, perhaps to a pipe that nobody reads.
		signal.Reset(syscall.SIGTERM, syscall.SIGINT)
		return err
	}
	defer e.close()
	e.start()
	e.attend(asked)
	e.log.Info("draining", "connections", e.server.Active(), "at_most", e.plan.config.Timeouts.Drain.String())
	closed := e.drain(asked.now)
	e.log.Info("stopped", "accepted", e.server.Accepted(), "closed_by_drain", closed)
	return nil
}

// startAside prepares an edge, or returns when ctx ends, whatever the preparation is waiting for.
func startAside(ctx context.Context, file string, stdout, stderr, log io.Writer) (*edge, error) {
	prepared := aside(func() (*edge, error) {
		c, err := load(file)
		if err != nil {
			return nil, err
		}
		out, err := openSink(c.Log.Access, stdout, stderr)
		if err != nil {
			return nil, err
		}
		return newEdge(ctx, c, out, logger(c.Log, log))
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case o := <-prepared:
		return o.value, o.err
	}
}

// attend serves the requests of signals and names until one of them asks for the end. Work that takes
// time runs aside.
func (e *edge) attend(asked *requests) {
	var loaded <-chan outcome[*plan]
	var opened <-chan outcome[*sink]
	for {
		reload := asked.reload
		if loaded != nil || opened != nil {
			reload = nil
		}
		select {
		case <-asked.end.Done():
			if loaded != nil {
				e.log.Warn("configuration not reloaded: the edge is ending")
			}
			return
		case <-reload:
			// Both, so that a mistake in the configuration does not keep a rotated log open.
			opened, loaded = e.reopenAside(), e.loadAside(asked.end)
		case o := <-opened:
			opened = nil
			e.finishReopen(o.value, o.err)
		case o := <-loaded:
			loaded = nil
			e.finishReload(o.value, o.err)
		case r := <-e.answers:
			if e.noteListener(r); r.err == nil {
				e.resolve(e.resolver(e.plan.config, e.plan.pools)) // drops the servers that have the new address
				e.forget(e.plan.pools)
			}
		case <-asked.upgrade:
			e.log.Warn("SIGUSR2 is ignored: live upgrade is not supported yet")
		}
	}
}

// complain logs why a reload failed, a line for each problem.
func (e *edge) complain(err error) {
	const what = "configuration not reloaded; the former one stays in force"
	problems, ok := errors.AsType[config.Problems](err)
	if !ok {
		e.log.Error(what, "error", err)
	}
	for _, p := range problems {
		e.log.Error(what, "error", p)
	}
}
