package main

import (
	"context"
	"errors"
	"io"

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
connections up to timeouts.drain; a second one ends at once.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(*file)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// serve runs the edge of c until a signal or ctx ends it.
func serve(ctx context.Context, c *config.Config, stdout, stderr io.Writer) error {
	patient := cli.NewPatientWriter(stderr)
	defer patient.Close()
	log := logger(c.Log, patient)
	// Caught before the first listener: whoever sees the edge listening may
	// signal it.
	asked, stop := watchSignals(ctx, log)
	defer stop()
	out, err := openSink(c.Log.Access, stdout, stderr)
	if err != nil {
		return err
	}
	e, err := startEdge(asked.end, c, out, log)
	if err != nil {
		return err
	}
	defer e.close()
	e.attend(asked)
	log.Info("draining", "connections", e.server.Active(), "at_most", e.config.Timeouts.Drain.String())
	closed := e.drain(asked.now)
	log.Info("stopped", "accepted", e.server.Accepted(), "closed_by_drain", closed)
	return nil
}

// attend serves reloads until the end is asked for.
func (e *edge) attend(asked *requests) {
	for {
		select {
		case <-asked.end.Done():
			return
		case <-asked.reload:
			// By itself, so that a mistake in the configuration does not keep
			// a rotated log open.
			if err := e.reopen(); err != nil {
				e.log.Error("access log not reopened; the former file stays in use", "error", err)
			}
			if err := e.reload(asked.end); err != nil {
				e.complain(err)
			}
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
