package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/config"
	"keyhole/routes"
)

func checkCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Read the configuration and print every problem in it",
		Long: `Read the configuration and print every problem in it, each with its line and
column, to the standard error. It opens no socket and resolves no name.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := load(*file)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %s, %s, %s\n", *file,
				count(len(c.Listen), "listener"), count(len(c.Routes), "route"), count(len(c.Backends), "backend"))
			return err
		},
	}
}

// count returns "1 route" or "2 routes".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func explainCommand(file *string) *cobra.Command {
	var alpn []string
	var client string
	var noSNI bool
	c := &cobra.Command{
		Use:   "explain NAME | --no-sni",
		Short: "Say which route a server name takes, and why",
		Long: `Say which route a server name takes, why, and which others it passed over.
NAME is a server name as a client would send it; --no-sni, or "" for a name, is
a hello without one.`,
		Example: `  keyhole explain shop.example.com
  keyhole explain shop.example.com --alpn h2,http/1.1 --client 192.0.2.7`,
		Args: func(cmd *cobra.Command, args []string) error { return oneName(cmd, args, noSNI) },
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := clientAddress(client)
			if err != nil {
				return err
			}
			if slices.Contains(alpn, "") {
				return cli.UsageError{Err: errors.New("explain: --alpn has an empty protocol, write it as in --alpn h2,http/1.1")}
			}
			c, err := load(*file)
			if err != nil {
				return err
			}
			name := "" // of a hello without one
			if len(args) > 0 {
				name = args[0]
			}
			e := c.Table.Explain(name, alpn, from)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s%s\n", e, consequence(c, e.Match))
			return err
		},
	}
	c.Flags().StringSliceVar(&alpn, "alpn", nil, "`PROTOCOLS` that the client offers, in its order, with commas between")
	c.Flags().StringVar(&client, "client", "", "the client's `ADDRESS`; without it, no allow list lets it in")
	c.Flags().BoolVar(&noSNI, "no-sni", false, "the client sends no name")
	return c
}

// clientAddress parses --client. It returns the zero Addr for an empty one.
func clientAddress(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, cli.UsageError{Err: fmt.Errorf("explain: --client %q is not an IP address, write it as in 192.0.2.7", s)}
	}
	return a, nil
}

// consequence returns what the edge does with a client, after the outcome of its look-up.
func consequence(c *config.Config, m routes.Match) string {
	switch m.Outcome {
	case routes.Matched, routes.MatchedDefault, routes.MatchedNoName:
		b := c.Backends[m.Route.Backend]
		if len(b.Servers) == 1 && b.Servers[0].Address == b.Name {
			return "goes to " + b.Name
		}
		return fmt.Sprintf("goes to backend %s: %s", b.Name, list(b.Servers))
	}
	how := c.Table.Default().Reject
	if m.Route != nil && m.Route.Reject != routes.RejectInherit {
		how = m.Route.Reject
	}
	alert := "unrecognized_name"
	if m.Outcome == routes.BadName {
		alert = "decode_error"
	}
	return "rejected with " + map[routes.Reject]string{
		routes.RejectAlert:   "the TLS alert " + alert,
		routes.RejectClose:   "a clean close",
		routes.RejectReset:   "a TCP reset",
		routes.RejectSilence: "silence",
	}[how]
}

// list returns the servers of a backend, as configured.
func list(servers []config.Server) string {
	all := make([]string, len(servers))
	for i, s := range servers {
		all[i] = s.Address
		if s.Backup {
			all[i] += " (backup)"
		}
	}
	return strings.Join(all, ", ")
}

// oneName wants a server name, which may be empty, or none with --no-sni.
func oneName(c *cobra.Command, args []string, noSNI bool) error {
	if noSNI && len(args) > 0 {
		return cli.UsageError{Err: fmt.Errorf("%s: leave out the name or --no-sni", c.Name())}
	}
	switch len(args) {
	case 0:
		if noSNI {
			return nil
		}
		return cli.UsageError{Err: fmt.Errorf("%s: no name given, write `keyhole %[1]s shop.example.com`", c.Name())}
	case 1:
		return nil
	}
	return cli.UsageError{Err: fmt.Errorf("%s: takes one name, got %d", c.Name(), len(args))}
}
