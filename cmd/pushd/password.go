package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func bindPassword(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "password-file", "", "`FILE` whose first line is the password")
}

// readPassword never takes one from the command line, which every process of
// the machine can read.
func readPassword(cmd *cobra.Command, file string) (string, error) {
	if p := os.Getenv("PUSHD_PASSWORD"); p != "" && file == "" {
		return p, nil
	}
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("password: %w", err)
		}
		defer f.Close()
		return firstLine("password", f)
	}
	if in, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), "Password: ")
		p, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(p), err
	}
	return firstLine("password", cmd.InOrStdin())
}

func firstLine(what string, r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("%s: the first line is empty; give it by the environment, a file or standard input, see --help", what)
	}
	return line, nil
}
