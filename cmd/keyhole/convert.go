package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/convert"
)

func convertCommand() *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:   "convert FILE",
		Short: "Write a configuration of HAProxy or nginx as Keyhole's",
		Long: `Read a configuration of HAProxy or nginx, with the files that it names, and print
Keyhole's for what passes TLS or TCP through. Each line that has no equal is
listed on the standard error with its place and the reason, and the exit status
is then 1. Relative names of files are read beside FILE.`,
		Example: `  keyhole convert haproxy.cfg >keyhole.yaml
  keyhole convert --from nginx stream.conf`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.UsageError{Err: fmt.Errorf("convert: takes one file, got %d", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return convertFile(cmd, args[0], convert.Language(from))
		},
	}
	c.Flags().StringVar(&from, "from", "", "`PROGRAM` whose file it is, haproxy or nginx; without it, the text tells")
	return c
}

// convertFile prints what becomes of a file.
func convertFile(cmd *cobra.Command, file string, from convert.Language) error {
	if from != "" && from != convert.HAProxy && from != convert.Nginx {
		return cli.UsageError{Err: fmt.Errorf("convert: --from %q is unknown, write haproxy or nginx", from)}
	}
	text, err := readFile(file, fileTime)
	if err != nil {
		return cli.UsageError{Err: fmt.Errorf("convert: %w", err)}
	}
	if from == "" {
		var known bool
		if from, known = convert.Detect(text); !known {
			return cli.UsageError{Err: fmt.Errorf("convert: %s looks like neither haproxy.cfg nor nginx.conf, say which with --from", file)}
		}
	}
	r, err := convert.Convert(file, text, from, beside(filepath.Dir(file)))
	if err == nil {
		_, err = fmt.Fprint(cmd.OutOrStdout(), r.YAML)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), n)
	}
	switch {
	case errors.Is(err, convert.ErrNothing), errors.Is(err, convert.ErrTooLarge):
		return fmt.Errorf("%s: %w", file, err)
	case err == nil && len(r.Notes) > 0:
		return fmt.Errorf("%s: %s not carried over, or not exactly", file, count(lines(r.Notes), "line"))
	}
	return err
}

// lines returns the number of lines that have notes, which are sorted by them.
func lines(notes []convert.Note) int {
	return len(slices.CompactFunc(slices.Clone(notes), func(a, b convert.Note) bool { return a.File == b.File && a.Line == b.Line }))
}

// beside reads the files that a configuration in dir names.
func beside(dir string) convert.Files {
	at := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	return convert.Files{
		Read: func(name string) ([]byte, error) { return readFile(at(name), fileTime) },
		Glob: func(pattern string) ([]string, error) {
			found, err := filepath.Glob(at(pattern))
			slices.Sort(found)
			return found, err
		},
	}
}
