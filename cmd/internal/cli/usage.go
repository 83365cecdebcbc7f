// Package cli holds the parts of the command line that the programs of this module share: error
// messages, exit statuses, the version, and the certificate authority of a demo.
package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"keyhole/config/strict"
)

// A UsageError is the caller's mistake on the command line.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// NoArgs refuses arguments to a command that takes none.
func NoArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return UsageError{fmt.Errorf("%s: takes no argument, got %q; see `%s --help`", c.Name(), args[0], c.CommandPath())}
}

// Root returns the command of a program. To call it without a subcommand is a mistake; hint says
// what to try instead.
func Root(program, short, hint string) *cobra.Command {
	root := &cobra.Command{Use: program, Short: short, Version: Version(), SilenceUsage: true, SilenceErrors: true}
	Group(root, hint)
	root.SetVersionTemplate(VersionLine(program))
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// Execute runs the program, after every subcommand has been added.
func Execute(ctx context.Context, root *cobra.Command, args []string) error {
	root.SetArgs(args)
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Args = knownCommand
		}
	}
	return root.ExecuteContext(ctx)
}

// Group makes c a command that does nothing without a subcommand.
func Group(c *cobra.Command, hint string) {
	c.Args = knownCommand
	c.SuggestionsMinimumDistance = 2
	c.RunE = func(c *cobra.Command, _ []string) error {
		return UsageError{fmt.Errorf("no command given; `%s --help` lists them%s", c.CommandPath(), hint)}
	}
}

// knownCommand refuses an unknown command, of a group or as the argument of help.
func knownCommand(c *cobra.Command, args []string) error {
	group := c
	if !c.HasSubCommands() {
		group = c.Root()
	}
	if len(args) == 0 {
		return nil
	}
	if found, _, err := group.Find(args); err == nil && found != group {
		return nil
	}
	hint := fmt.Sprintf("`%s --help` lists the commands", group.CommandPath())
	if near := group.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean `%s`?", near[0])
	}
	return UsageError{fmt.Errorf("unknown command `%s`, %s", args[0], hint)}
}

// flagError turns cobra's error for a flag into a UsageError.
func flagError(c *cobra.Command, err error) error {
	return UsageError{fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
}

// Message returns the text of an error for the user: each problem of a configuration on a line of
// its own, any other error behind the program's name.
func Message(program string, err error) string {
	if p, ok := errors.AsType[strict.Problems](err); ok {
		return p.Error()
	}
	return program + ": " + err.Error()
}

// Status returns the exit status for an error: 2 when the command line or the configuration is
// wrong, 1 for any other failure.
func Status(err error) int {
	if _, ok := errors.AsType[strict.Problems](err); ok {
		return 2
	}
	if _, ok := errors.AsType[UsageError](err); ok {
		return 2
	}
	return 1
}
