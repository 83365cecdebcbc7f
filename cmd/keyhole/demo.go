package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/config"
)

//go:embed demo.yaml.tmpl
var demoConfig string

var demoTemplate = template.Must(template.New("demo").Parse(demoConfig))

// The names of the two origins, and one that has none.
const (
	demoShop   = "shop.keyhole.test"
	demoBlog   = "blog.keyhole.test"
	demoNobody = "nobody.keyhole.test"
)

func demoCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Start two origins and the edge before them, and print what to try",
		Long: `Start two origins and the edge before them in one process, with certificates
of an authority made on the spot, and print curl commands to try. Nothing is
kept: the authority's certificate lies in a temporary folder until the demo ends.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if err := demo(ctx, listen, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8443", "the edge's `ADDRESS`; port 0 takes any that is free")
	return c
}

// demo runs until ctx ends.
func demo(ctx context.Context, listen string, stdout, stderr io.Writer) error {
	dir, err := os.MkdirTemp("", "keyhole-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ca, err := cli.NewAuthority("Keyhole demo authority")
	if err != nil {
		return err
	}
	caFile := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, ca.CertificatePEM(), 0o644); err != nil {
		return err
	}
	shop, err := startDemoOrigin(ca, demoShop)
	if err != nil {
		return err
	}
	defer shop.Close()
	blog, err := startDemoOrigin(ca, demoBlog)
	if err != nil {
		return err
	}
	defer blog.Close()
	return demoEdge(ctx, demoValues{listen, shop.Addr, blog.Addr}, caFile, stdout, stderr)
}

// demoValues are what the template of the demo's configuration takes.
type demoValues struct{ Listen, Shop, Blog string }

// demoEdge runs the edge before the two origins, and says what to try.
func demoEdge(ctx context.Context, v demoValues, caFile string, stdout, stderr io.Writer) error {
	var text bytes.Buffer
	if err := demoTemplate.Execute(&text, v); err != nil {
		return err
	}
	c, err := config.Parse("demo.yaml", text.Bytes())
	if err != nil { // only the address comes from outside
		return cli.UsageError{Err: fmt.Errorf("--listen %s: %w", v.Listen, demoProblem(err))}
	}
	e, err := startEdge(ctx, c, &sink{out: stdout}, logger(c.Log, stderr))
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; `keyhole demo --listen 127.0.0.1:0` takes a free port", err)
	}
	if err != nil {
		return err
	}
	defer e.close()
	printDemo(stdout, text.String(), caFile, e.bound[0])
	<-ctx.Done()
	return nil
}

// demoProblem leaves out the position in a file that nobody sees.
func demoProblem(err error) error {
	if p, ok := errors.AsType[config.Problems](err); ok {
		return errors.New(p[0].Message)
	}
	return err
}

func printDemo(w io.Writer, yaml, caFile string, edge netip.AddrPort) {
	fmt.Fprintf(w, "The edge runs on this configuration:\n\n")
	for line := range strings.Lines(yaml) {
		fmt.Fprintf(w, "    %s", line)
	}
	fmt.Fprintf(w, "\nTry, in another terminal:\n\n    %s\n    %s\n",
		demoCurl(caFile, demoShop, edge), demoCurl(caFile, demoBlog, edge))
	fmt.Fprintf(w, "\nA name without a route gets the TLS alert unrecognized_name:\n\n    %s\n",
		demoCurl(caFile, demoNobody, edge))
	fmt.Fprintf(w, "\nCtrl-C ends the demo. The edge writes a record of each connection here:\n\n")
}

// demoCurl is a command to paste into a shell. --noproxy, since a proxy of the
// environment would be asked for a name that only --resolve knows.
func demoCurl(caFile, name string, edge netip.AddrPort) string {
	to := edge.Addr()
	if to.IsUnspecified() {
		to = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	host := to.String()
	if to.Is6() {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("curl --noproxy '*' --cacert %s --resolve '%s:%d:%s' https://%[2]s:%[3]d/",
		cli.ShellQuote(caFile), name, edge.Port(), host)
}
