// Command keyhole is a TLS edge without keys: it reads the ClientHello of each
// connection, finds the origin for its server name in a YAML table, and
// forwards the bytes both ways.
//
//	keyhole demo                             # two origins and an edge, to try
//	keyhole check --config keyhole.yaml      # every problem of a file
//	keyhole explain shop.example.com         # which route a name takes, and why
//	keyhole run --config keyhole.yaml        # the edge itself
//
// It exits with 0 when it has done what was asked, 1 when that failed, and 2
// when the command line or the configuration is wrong. See docs/ for its
// manual.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, message(err))
		os.Exit(status(err))
	}
}

// run is the whole program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := &cobra.Command{
		Use:           "keyhole",
		Short:         "A TLS edge that routes by server name and holds no key",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("no command given; `keyhole --help` lists them, `keyhole demo` shows it at work")}
		},
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SuggestionsMinimumDistance = 2
	file := root.PersistentFlags().StringP("config", "c", "keyhole.yaml", "configuration `FILE`")
	root.AddCommand(runCommand(file), checkCommand(file), explainCommand(file), demoCommand(), versionCommand())
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Args = knownCommand
		}
	}
	return root.ExecuteContext(ctx)
}
