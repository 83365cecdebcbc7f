package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keyhole/backend"
	"keyhole/cmd/internal/cli"
	"keyhole/config"
	"keyhole/routes"
	"keyhole/sni"
)

// A question is what explain is asked.
type question struct {
	name   string // "" for a hello without one
	alpn   []string
	client string
	listen string
	noSNI  bool
	ja4    string

	fingerprint *sni.JA4 // of ja4; nil: not known

	// Of a client that does not speak TLS; see explainPlain.
	plain  bool
	begins string // its first bytes
	silent bool   // it sends none
}

func explainCommand(file *string) *cobra.Command {
	var q question
	c := &cobra.Command{
		Use:   "explain NAME | --no-sni | --begins BYTES | --silent",
		Short: "Say which route a server name takes, and why",
		Long: `Say which route a server name takes, why, and which others it passed over.
NAME is a server name as a client would send it; --no-sni, or "" for a name, is
a hello without one. Without --listen, listeners whose answers differ are told
apart. --begins and --silent ask about clients that do not speak TLS.`,
		Example: `  keyhole explain shop.example.com
  keyhole explain shop.example.com --alpn h2,http/1.1 --client 192.0.2.7
  keyhole explain mail.example.com --listen imaps
  keyhole explain --begins SSH-2.0`,
		Args: func(cmd *cobra.Command, args []string) (err error) {
			if q.plain, err = q.asksPlain(args, cmd.Flags().Changed); q.plain {
				return err
			}
			return oneName(cmd, args, q.noSNI)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.name = args[0]
			}
			return q.explain(cmd.OutOrStdout(), *file)
		},
	}
	c.Flags().StringSliceVar(&q.alpn, "alpn", nil, "`PROTOCOLS` that the client offers, in its order, with commas between")
	c.Flags().StringVar(&q.client, "client", "", "the client's `ADDRESS`; without it, no allow list lets it in")
	c.Flags().StringVar(&q.listen, "listen", "", "the `LISTENER` that the client reaches: its name or its address")
	c.Flags().BoolVar(&q.noSNI, "no-sni", false, "the client sends no name")
	c.Flags().StringVar(&q.ja4, "ja4", "", "the `JA4` of the client's hello; without it, no ja4 list that allows lets it in")
	c.Flags().StringVar(&q.begins, "begins", "", "the first `BYTES` of a client that does not speak TLS, \\x05 for one byte")
	c.Flags().BoolVar(&q.silent, "silent", false, "the client sends nothing, and waits for the server")
	return c
}

func (q *question) explain(out io.Writer, file string) error {
	from, err := clientAddress(q.client)
	if err != nil {
		return err
	}
	if q.ja4 != "" {
		j, err := routes.ParseJA4(q.ja4)
		if err != nil {
			return cli.UsageError{Err: fmt.Errorf("explain: --ja4 %q %w", q.ja4, err)}
		}
		q.fingerprint = &j
	}
	if slices.Contains(q.alpn, "") {
		return cli.UsageError{Err: errors.New("explain: --alpn has an empty protocol, write it as in --alpn h2,http/1.1")}
	}
	c, err := load(file)
	if err != nil {
		return err
	}
	if q.plain || q.withoutTLS(c) {
		return q.explainPlain(out, c, from)
	}
	answers, err := q.answers(c, from)
	if err != nil {
		return err
	}
	for i, a := range answers {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if _, err := fmt.Fprintf(out, "%s%s\n", a.Explanation, a.consequence); err != nil {
			return err
		}
	}
	return nil
}

// A finding is what becomes of a hello on one listener or several.
type finding struct {
	routes.Explanation
	consequence string
}

// answers returns one for the listener that was asked for, or one for each group of listeners with
// the same.
func (q *question) answers(c *config.Config, from netip.Addr) ([]finding, error) {
	if q.listen != "" {
		i, err := listenerNamed(c, q.listen)
		if err != nil {
			return nil, err
		}
		return []finding{q.find(c, from, i)}, nil
	}
	var all []finding
	for i := range c.Listen {
		if c.Listen[i].TCP != nil {
			continue // it reads no names
		}
		a := q.find(c, from, i)
		same := func(b finding) bool { return b.Match == a.Match && b.consequence == a.consequence }
		if at := slices.IndexFunc(all, same); at >= 0 {
			all[at].Listener += ", " + a.Listener
			continue
		}
		all = append(all, a)
	}
	if len(all) == 1 {
		all[0].Listener = "" // it is the same on all of them
	}
	return all, nil
}

func (q *question) find(c *config.Config, from netip.Addr, listener int) finding {
	a := finding{Explanation: c.Table.Explain(q.name, q.alpn, from, listener, q.fingerprint)}
	if l := c.Listen[listener]; from.IsValid() && !l.Access.Admits(from) {
		a.consequence = fmt.Sprintf("rejected with a TCP reset before all that: the listener does not let %s in", from)
		return a
	}
	a.consequence = consequence(c, a.Match, from, a.Name != "")
	return a
}

// listenerNamed returns the number of a listener.
func listenerNamed(c *config.Config, name string) (int, error) {
	var labels []string
	for i, l := range c.Listen {
		if l.Label() == name || l.Address == name {
			return i, nil
		}
		labels = append(labels, l.Label())
	}
	return 0, cli.UsageError{Err: fmt.Errorf("explain: --listen %q is no listener of the configuration, which has %s",
		name, strings.Join(labels, ", "))}
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
func consequence(c *config.Config, m routes.Match, from netip.Addr, named bool) string {
	why := ""
	switch m.Outcome {
	case routes.Matched, routes.MatchedDefault, routes.MatchedNoName:
		number := m.Route.Backend
		if named || number >= backend.FirstSplit || !c.Backends[number].ByName() {
			return goesTo(c, number, from)
		}
		why = ": the server is the name, and there is none"
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
	}[m.Reject] + why
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
