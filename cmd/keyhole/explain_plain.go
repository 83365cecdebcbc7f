package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"keyhole/cmd/internal/cli"
	"keyhole/config"
	"keyhole/routes"
	"keyhole/sni"
)

// explainPlain says where a client goes that has sent b, or nothing if b is empty, on each listener
// or on the one that was asked for. Listeners with one answer share it.
func (q *question) explainPlain(out io.Writer, c *config.Config, from netip.Addr) error {
	listeners := make([]int, len(c.Listen))
	for i := range listeners {
		listeners[i] = i
	}
	if q.listen != "" {
		i, err := listenerNamed(c, q.listen)
		if err != nil {
			return err
		}
		listeners = []int{i}
	}
	b, err := firstBytes(q.begins)
	if err != nil {
		return err
	}
	var answers []string
	on := map[string][]string{}
	for _, i := range listeners {
		a := plainAnswer(c, i, b, from)
		if on[a] == nil {
			answers = append(answers, a)
		}
		on[a] = append(on[a], c.Listen[i].Label())
	}
	for i, a := range answers {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if _, err := fmt.Fprintf(out, "%s, on %s\n%s\n", q.beginning(b), strings.Join(on[a], ", "), a); err != nil {
			return err
		}
	}
	return nil
}

// beginning describes what a client has sent.
func (q *question) beginning(b []byte) string {
	switch {
	case !q.plain:
		return "any client"
	case len(b) == 0:
		return "a client that sends nothing"
	}
	quoted := strconv.QuoteToASCII(string(b))
	var p sni.Parser
	if _, err := p.Parse(b); errors.Is(err, sni.ErrNotTLS) {
		return fmt.Sprintf("%s (%v)", quoted, err)
	}
	return quoted
}

// plainAnswer says what becomes of a client on one listener.
func plainAnswer(c *config.Config, listener int, b []byte, from netip.Addr) string {
	l := &c.Listen[listener]
	var p sni.Parser
	_, err := p.Parse(b)
	switch {
	case from.IsValid() && !l.Access.Admits(from):
		return fmt.Sprintf("rejected with a TCP reset: the listener does not let %s in", from)
	case l.TCP != nil:
		return fmt.Sprintf("reads no TLS: %s\n%s", l.TCP.Where(), plainConsequence(c, c.Table.Admit(l.TCP, from, listener), from))
	case l.StartTLS != "" && errors.Is(err, sni.ErrNotTLS):
		return "asks for TLS as Postgres clients do and then goes by its ClientHello, or is turned away"
	case len(b) > 0 && !errors.Is(err, sni.ErrNotTLS):
		return "begins TLS: goes by its ClientHello, and without a right one nowhere"
	case len(l.NotTLS) == 0 && len(b) == 0:
		return "no `not_tls`: closed when the hello times out"
	case len(l.NotTLS) == 0:
		return "no `not_tls`\n" + plainConsequence(c, routes.Match{Outcome: routes.NoRoute, Reject: c.Table.Reject(listener)}, from)
	}
	rule, text := l.NotTLS.Explain(b)
	switch _, settled := l.NotTLS.Find(b); {
	case rule != nil:
		return text + plainConsequence(c, c.Table.Admit(rule.Route, from, listener), from)
	case len(b) == 0 || !settled:
		return strings.TrimSuffix(text, "\n")
	}
	return text + plainConsequence(c, routes.Match{Outcome: routes.NoRoute, Reject: c.Table.Reject(listener)}, from)
}

// plainConsequence is consequence for a client that reads no alert.
func plainConsequence(c *config.Config, m routes.Match, from netip.Addr) string {
	if m.Reject == routes.RejectAlert {
		m.Reject = routes.RejectClose
	}
	what := consequence(c, m, from, false)
	if m.Outcome == routes.Denied {
		what += ": `allow` and `deny` do not let it in"
	}
	return what
}

// firstBytes reads --begins, with the escapes that YAML and Go have: no shell passes a zero byte.
func firstBytes(s string) (b []byte, err error) {
	for rest := s; rest != ""; {
		c, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return nil, cli.UsageError{Err: fmt.Errorf(`explain: --begins %q: write a backslash as \\, and a byte as in \x05`, s)}
		}
		if rest = tail; multibyte {
			b = append(b, string(c)...)
		} else {
			b = append(b, byte(c))
		}
	}
	return b, nil
}

// withoutTLS reports whether the listener that is asked for reads no names, or none does.
func (q *question) withoutTLS(c *config.Config) bool {
	return !slices.ContainsFunc(c.Listen, func(l config.Listener) bool {
		return l.TCP == nil && (q.listen == "" || q.listen == l.Label() || q.listen == l.Address)
	})
}

// asksPlain reports whether the question is about a client that does not speak TLS. It refuses what
// only a hello has.
func (q *question) asksPlain(args []string, changed func(flag string) bool) (bool, error) {
	begins := changed("begins")
	switch {
	case !begins && !q.silent:
		return false, nil
	case begins && q.silent:
		return true, cli.UsageError{Err: errors.New("explain: leave out --begins or --silent")}
	case begins && q.begins == "":
		return true, cli.UsageError{Err: errors.New("explain: --begins is empty, write --silent for a client that sends nothing")}
	case len(args) > 0 || slices.ContainsFunc([]string{"alpn", "no-sni", "ja4"}, changed):
		return true, cli.UsageError{Err: errors.New("explain: a client without TLS has no name, no protocols and no JA4, leave them out")}
	}
	return true, nil
}
