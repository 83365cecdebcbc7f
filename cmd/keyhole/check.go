package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
)

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

// count returns "1 route" or "2 routes".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
