package main

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/config"
)

// load reads the configuration. A file that cannot be read is a mistake in
// usage, like any other in it.
func load(file string) (*config.Config, error) {
	c, err := config.Load(file)
	if _, ok := errors.AsType[config.Problems](err); err == nil || ok {
		return c, err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w; name another with --config FILE, or start from config.example.yaml", err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w; the user that runs keyhole must be able to read it", err)
	case errors.Is(err, syscall.EISDIR):
		err = fmt.Errorf("%w; name a file in it with --config FILE", err)
	}
	return nil, cli.UsageError{Err: err}
}

func checkCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read the configuration and print every problem in it",
		Long: `Read the configuration and print every problem in it, each with its line and
column, to the standard error. It opens no socket and resolves no name.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(*file)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %s, %s, %s\n", *file,
				count(len(c.Listen), "listener"), count(len(c.Routes), "route"), count(len(c.Backends), "backend"))
			return err
		},
	}
}

// count is "1 route" or "2 routes".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
