package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/push/auth"
	"keyhole/push/config"
)

// The names that the demo makes up.
const (
	demoHost    = "localhost" // a name that every machine resolves, so that a browser finds the edge, too
	demoUser    = "alice"
	demoApp     = "demo"
	demoVersion = "1.0"
	demoDevice  = "phone"
	demoPage    = "web" // the app of the page, which cannot read the TLS exporter
)

func demoCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Start pushd and the edge before it, and print what to try",
		Long: `Start pushd and the edge before it in one process, with a user, a publisher's
key and a certificate made on the spot, and print commands to try. Nothing is
kept: everything lies in a temporary folder until the demo ends.`,
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
	dir, err := os.MkdirTemp("", "pushd-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c, err := demoConfig(dir)
	if err != nil {
		return err
	}
	log := logger(c.Log, stderr)
	n, err := startNode(ctx, c, log)
	if err != nil {
		return err
	}
	defer n.close()
	edge, closeEdge, err := startEdge(listen, demoHost, n.addr.String(), stdout, log)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; `demo --listen 127.0.0.1:0` takes a free port", err)
	}
	if err != nil {
		return err
	}
	defer closeEdge()
	a, err := n.populate(ctx)
	if err != nil {
		return err
	}
	a.dir, a.edge = dir, edge
	if a.program, err = os.Executable(); err != nil {
		return err
	}
	a.print(stdout)
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.failed:
		return err
	}
}

// demoConfig makes a certificate, and a configuration that uses it.
func demoConfig(dir string) (*config.Config, error) {
	ca, err := cli.NewAuthority("pushd demo authority")
	if err != nil {
		return nil, err
	}
	cert, err := ca.Issue(demoHost)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, err
	}
	c := config.Default()
	c.Listen, c.Admin, c.Data, c.Node = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(dir, "data"), "demo"
	c.Certificate = config.Certificate{Cert: filepath.Join(dir, "push.pem"), Key: filepath.Join(dir, "push.key")}
	c.Apps[demoPage] = auth.AppPolicy{Binding: auth.Waived}
	for name, data := range map[string][]byte{
		filepath.Join(dir, "ca.pem"): ca.CertificatePEM(),
		c.Certificate.Cert:           pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		c.Certificate.Key:            pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return nil, err
		}
	}
	return c, os.Mkdir(c.Data, 0o700)
}

// Attractions are what there is to try.
type attractions struct {
	program, dir         string
	edge                 netip.AddrPort
	password, key, token string
}

// populate makes the user, the publisher and the token of the user's phone.
func (n *node) populate(ctx context.Context) (a attractions, err error) {
	a.password = rand.Text()
	if err := n.auth.CreateUser(ctx, demoUser, a.password); err != nil {
		return a, err
	}
	if a.key, err = n.auth.CreatePublisher(ctx, "newsroom", nil); err != nil {
		return a, err
	}
	a.token, _, err = n.store.TokenOf(ctx, demoUser, demoDevice, demoApp)
	return a, err
}

func (a attractions) print(w io.Writer) {
	url := fmt.Sprintf("https://%s:%d", demoHost, a.edge.Port())
	ca := cli.ShellQuote(filepath.Join(a.dir, "ca.pem"))
	program := cli.ShellQuote(a.program)
	fmt.Fprintf(w, `pushd runs behind an edge at %s, which holds no key.

A terminal, in another shell; it prints each message that arrives:

    PUSHD_PASSWORD=%s %s listen --server %[1]s --ca %[4]s --user %s --device %s --app %s --app-version %s --state network=cellular

A message to that terminal, one that waits until the terminal is on wifi (type
network=wifi into it), and one to everybody who has the app in that version:

    PUSHD_KEY=%[9]s %[3]s publish --server %[1]s --ca %[4]s --token %[10]s 'Hello, phone'
    PUSHD_KEY=%[9]s %[3]s publish --server %[1]s --ca %[4]s --token %[10]s --condition network=wifi 'A large one'
    curl --noproxy '*' --cacert %[4]s -H 'Authorization: Bearer %[9]s' -H 'Content-Type: application/json' -d '{"app":"%[7]s","version":"%[8]s","text":"Hello, everybody"}' %[1]s/v1/messages

A terminal in a browser, once it trusts %[4]s: %[1]s/
as %[5]s with the password %[2]s and the app %[11]s.

Ctrl-C ends the demo. The edge writes a record of each connection here:

`, url, a.password, program, ca, demoUser, demoDevice, demoApp, demoVersion, a.key, a.token, demoPage)
}
