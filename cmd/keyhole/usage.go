package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"keyhole/config"
)

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

// A usageError is the caller's mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// noArgs refuses arguments to a command that takes none.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("%s: takes no argument, got %q; see `keyhole %[1]s --help`", c.Name(), args[0])}
}

// oneName wants a server name, which may be empty.
func oneName(c *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return usageError{fmt.Errorf("%s: no name given, write `keyhole %[1]s shop.example.com`", c.Name())}
	case 1:
		return nil
	}
	return usageError{fmt.Errorf("%s: takes one name, got %d", c.Name(), len(args))}
}

// knownCommand refuses a command that is not there: of the root, and of help.
func knownCommand(c *cobra.Command, args []string) error {
	root := c.Root()
	if len(args) == 0 {
		return nil
	}
	if found, _, err := root.Find(args); err == nil && found != root {
		return nil
	}
	hint := "`keyhole --help` lists the commands"
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean `%s`?", near[0])
	}
	return usageError{fmt.Errorf("unknown command `%s`, %s", args[0], hint)}
}

func flagError(c *cobra.Command, err error) error {
	return usageError{fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
}

// message is what the user sees of an error: the problems of a configuration
// each on its own line, anything else behind the program's name.
func message(err error) string {
	if p, ok := errors.AsType[config.Problems](err); ok {
		return p.Error()
	}
	return "keyhole: " + err.Error()
}

func status(err error) int {
	if _, ok := errors.AsType[config.Problems](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}
