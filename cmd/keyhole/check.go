package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
)

func checkCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read the configuration and print every problem in it",
		Long: `Read the configuration and print every problem in it, each with its line and
column, to the standard error. It opens no socket and resolves no name. A
warning is printed likewise, and changes no exit status.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(*file)
			if err != nil {
				return err
			}
			for _, w := range c.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), w)
			}
			what := []string{count(len(c.Listen), "listener"), count(len(c.Routes), "route"), count(len(c.Backends), "backend")}
			if c.Included != nil {
				what = append(what, count(len(c.Included), "included file"))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %s\n", *file, strings.Join(what, ", "))
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
