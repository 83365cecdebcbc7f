// Command pushd is an origin that pushes messages to mobile terminals, over
// long-lived connections that it terminates itself, behind an edge that never
// sees inside.
//
//	pushd demo                                             # pushd, the edge before it, and what to try
//	pushd serve --data DIR --cert push.pem --key push.key  # the server itself
//	pushd user add alice --data DIR                        # somebody who may log in
//	pushd key add news --data DIR                          # somebody who may publish
//	pushd listen --server https://push.example.com ...     # a terminal in a shell
//	pushd publish --server https://push.example.com ...    # one message
//
// It exits with 0 when it has done what was asked, 1 when that failed, and 2
// when the command line or the configuration is wrong. See docs/pushd.md.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"keyhole/cmd/internal/cli"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, cli.Message("pushd", err))
		os.Exit(cli.Status(err))
	}
}

// run is the whole program.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	root := cli.Root("pushd", "A push server for mobile terminals, behind an edge without keys", ", `pushd demo` shows it at work")
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(serveCommand(), userCommand(), keyCommand(), tokenCommand(), sessionCommand(), terminalsCommand(), publishCommand(),
		listenCommand(), pullCommand(), demoCommand(), cli.VersionCommand("pushd"))
	return cli.Execute(ctx, root, args)
}
