package main

import (
	"bytes"
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
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

// The names of the two origins, and a name without an origin.
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
of a new authority, and print curl commands to try. Nothing is kept: the
authority's certificate lies in a temporary folder until the demo ends.`,
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

// demoValues fill the template of the demo's configuration.
type demoValues struct{ Listen, Shop, Blog string }

// demoEdge runs the edge before the two origins, and prints commands to try.
func demoEdge(ctx context.Context, v demoValues, caFile string, stdout, stderr io.Writer) error {
	var text bytes.Buffer
	if err := demoTemplate.Execute(&text, v); err != nil {
		return err
	}
	c, err := config.Parse("demo.yaml", text.Bytes())
	if err != nil { // only the address is the user's
		return cli.UsageError{Err: fmt.Errorf("--listen %s: %w", v.Listen, demoProblem(err))}
	}
	e, err := newEdge(ctx, c, &sink{out: stdout}, logger(c.Log, stderr))
	if err != nil && ctx.Err() != nil {
		return nil // the user has ended it
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; `keyhole demo --listen 127.0.0.1:0` takes a free port", err)
	}
	if err != nil {
		return err
	}
	defer e.close()
	e.start()
	printDemo(stdout, text.String(), caFile, e.ready[0])
	<-ctx.Done()
	return nil
}

// demoProblem drops the position: the user has not seen the file.
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

// demoCurl returns a command to paste into a shell. It has --noproxy, since a proxy from the
// environment does not know the name that --resolve gives.
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

// startDemoOrigin starts an HTTPS server with its own key; Close ends it. Its Addr is the address
// that it listens on.
func startDemoOrigin(ca *cli.Authority, name string) (*http.Server, error) {
	cert, err := ca.Issue(name)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "This is %s: %s over %s, with a key that the edge has never seen.\n",
			name, r.Proto, tls.VersionName(r.TLS.Version))
	}
	s := &http.Server{
		Addr:      l.Addr().String(),
		Handler:   http.HandlerFunc(answer),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		// A client that does not trust the authority says so itself.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go s.ServeTLS(l, "", "") // ends with Close
	return s, nil
}
