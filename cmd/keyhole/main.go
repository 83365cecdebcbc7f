// Command keyhole is a TLS edge without keys: it reads the ClientHello of each connection, finds
// the origin for its server name in a YAML table, and forwards the bytes both ways.
//
//	keyhole demo                             # two origins and an edge, to try
//	keyhole check --config keyhole.yaml      # every problem of a file
//	keyhole explain shop.example.com         # which route a name takes, and why
//	keyhole run --config keyhole.yaml        # the edge itself
//	keyhole convert haproxy.cfg              # the same in the words of this edge, or of nginx.conf
//
// It exits with 0 after success, 1 after a failure, and 2 when the command line or the
// configuration is wrong. The manual is in docs/.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"keyhole/cmd/internal/cli"
)

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, cli.Message("keyhole", err))
		os.Exit(cli.Status(err))
	}
}

// run is the whole program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := cli.Root("keyhole", "A TLS edge that routes by server name and holds no key", ", `keyhole demo` shows it at work")
	root.SetOut(stdout)
	root.SetErr(stderr)
	file := root.PersistentFlags().StringP("config", "c", "keyhole.yaml", "configuration `FILE`")
	root.AddCommand(runCommand(file), checkCommand(file), explainCommand(file), demoCommand(), convertCommand(), cli.VersionCommand("keyhole"))
	return cli.Execute(ctx, root, args)
}
