package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
)

// A remote is a push server as its clients see it.
type remote struct{ server, address, ca string }

func (r *remote) bind(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&r.server, "server", "", "`URL` of the server, https://push.example.com (required)")
	f.StringVar(&r.address, "address", "", "`HOST:PORT` to connect to instead of what the URL says, the edge's for example")
	f.StringVar(&r.ca, "ca", "", "`FILE` of the authority of the server's certificate, PEM (default the system's)")
}

func (r *remote) check() error {
	if r.server == "" {
		return cli.UsageError{Err: errors.New("no server: give --server https://push.example.com")}
	}
	return nil
}

func (r *remote) roots() (*x509.CertPool, error) { return trusted(r.ca) }

// dial connects to --address, or to where it is told to.
func (r *remote) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if r.address != "" {
		address = r.address
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// account is who a terminal is.
type account struct {
	remote
	user, password, device, app, version, profile string
	unbound                                       bool
}

func (a *account) bind(c *cobra.Command) {
	a.remote.bind(c)
	f := c.Flags()
	f.StringVar(&a.user, "user", "", "`NAME` of the account (required)")
	bindPassword(c, &a.password)
	host, _ := os.Hostname() // any name will do
	f.StringVar(&a.device, "device", host, "`NAME` of the device")
	f.StringVar(&a.app, "app", "", "`NAME` of the app (required)")
	f.StringVar(&a.version, "app-version", "", "`VERSION` of the app")
	f.StringVar(&a.profile, "profile", "", "`FILE` to keep keys and session in, so that the password is asked for once")
	f.BoolVar(&a.unbound, "no-binding", false, "do without the proof that nothing in between terminates TLS, where the app's policy allows it")
}

func (a *account) check() error {
	if err := a.remote.check(); err != nil {
		return err
	}
	for _, f := range []struct{ flag, value string }{{"user", a.user}, {"app", a.app}, {"device", a.device}} {
		if f.value == "" {
			return cli.UsageError{Err: fmt.Errorf("no %s: give --%[1]s NAME", f.flag)}
		}
	}
	return nil
}

// pairs reads key=value and, to unset, !key.
func pairs(words []string) (set map[string]string, unset []string, err error) {
	set = map[string]string{}
	for _, w := range words {
		if key, ok := strings.CutPrefix(w, "!"); ok && key != "" {
			unset = append(unset, key)
			continue
		}
		key, value, ok := strings.Cut(w, "=")
		if !ok || key == "" {
			return nil, nil, fmt.Errorf("state %q: write key=value, or !key to take a key back", w)
		}
		set[key] = value
	}
	return set, unset, nil
}
