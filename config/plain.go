package config

import (
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
	"keyhole/routes"
	"keyhole/sni"
)

var (
	// plainKeys are those of what takes clients that speak no TLS.
	plainKeys = []string{"backend", "sticky", "allow", "deny", "idle_timeout", "keepalive", "reject"}

	notTLSSchema = strict.Schema{
		What:   "an element of `not_tls`",
		Want:   "a mapping such as {begins: \"SSH-\", backend: ssh}",
		Keys:   append([]string{"begins", "silent"}, plainKeys...),
		Either: []string{"backend", "reject"},
		Hints: map[string]string{
			"sni":  "what is no TLS has no name",
			"alpn": "what is no TLS offers no protocol, write `begins`",
			"ja4":  "what is no TLS has no JA4",
		},
	}
	tcpSchema = strict.Schema{
		What:   "a listener with `protocol: tcp`",
		Want:   "a mapping such as {address: \":25\", protocol: tcp, backend: smtp}",
		Keys:   plainKeys,
		Either: []string{"backend", "reject"},
	}
	textSchema = strict.Schema{
		What:     "`begins`",
		Want:     "a text such as \"SSH-\", or one of " + strings.Join(sni.Greetings(), ", "),
		Keys:     []string{"text"},
		Required: []string{"text"},
	}
)

// ofTLS and ofTCP are the keys that only a listener of that protocol has.
var (
	ofTLS = []string{"default", "no_sni", "not_tls"}
	ofTCP = []string{"backend", "sticky", "idle_timeout", "keepalive", "reject"}
)

// tcpRoute reads where a listener without TLS sends every client, from the keys beside its address.
func (d *decoder) tcpRoute(l *listener) *routes.Route {
	if strict.Misspelt(l.node, &listenSchema, "backend") || strict.Misspelt(l.node, &listenSchema, "reject") {
		return nil
	}
	n := *l.node
	n.Content = nil
	for i := 0; i < len(l.fields); i += 2 {
		if slices.Contains(plainKeys, l.fields[i].Value) {
			n.Content = append(n.Content, l.fields[i], l.fields[i+1])
		}
	}
	return d.plainRoute(&n, &tcpSchema)
}

// plainRoute reads where clients go that speak no TLS.
func (d *decoder) plainRoute(n *yaml.Node, s *strict.Schema) *routes.Route {
	r, _ := d.take(n, s)
	if r.Reject == routes.RejectAlert {
		d.Fail(valueOf(n, "reject"), "`reject` must be close, reset or silence here: a client that does not speak TLS reads no alert")
	}
	return &r
}

// wrongProtocol refuses the keys of a listener that are for another protocol than it has.
func (d *decoder) wrongProtocol(l *listener) {
	for i := 0; i < len(l.fields); i += 2 {
		k := l.fields[i]
		switch {
		case l.tcp && slices.Contains(ofTLS, k.Value):
			d.Fail(k, "%s has no effect with `protocol: tcp`, whose `backend` takes every client", strict.Key(k.Value))
		case l.tcp && k.Value == "limits":
			if n := valueOf(l.fields[i+1], "hello_bytes"); n != nil {
				d.Fail(n, "`hello_bytes` has no effect with `protocol: tcp`, which reads no hello")
			}
		case !l.tcp && k.Value == "backend":
			d.Fail(k, "`backend` needs `protocol: tcp`, which reads no TLS; names without a route go to `default: {backend: ...}`")
		case !l.tcp && slices.Contains(ofTCP, k.Value):
			d.Fail(k, "%s needs `protocol: tcp`, write it in a route or in `default`", strict.Key(k.Value))
		}
	}
}

// readsNoTLS reports whether every listener of the list has `protocol: tcp`: there are no names then.
func readsNoTLS(listen *yaml.Node) bool {
	return listen != nil && listen.Kind == yaml.SequenceNode && len(listen.Content) > 0 &&
		!slices.ContainsFunc(listen.Content, func(l *yaml.Node) bool {
			p := valueOf(l, "protocol")
			return p == nil || p.Value != "tcp"
		})
}

// notTLS reads the rules for clients of a listener that do not speak TLS.
func (d *decoder) notTLS(n *yaml.Node) (rules routes.Plain) {
	for _, e := range d.List(n, "not_tls") {
		before := d.Count()
		r := d.plainRule(e)
		if d.Count() > before {
			continue // what it would hide is not known
		}
		switch by := rules.Hides(&r); {
		case by == nil:
			rules = append(rules, r)
		case r.Silent > 0:
			d.Fail(e, "a listener has one rule for silent clients, it is on line %d", by.Route.Line)
		default:
			d.Fail(e, "%s is never reached, line %d takes all its clients: leave it out, or put it before that",
				strict.Quote(r.Label), by.Route.Line)
		}
	}
	return rules
}

func (d *decoder) plainRule(n *yaml.Node) routes.PlainRule {
	r := routes.PlainRule{Label: "not_tls", Route: d.plainRoute(n, &notTLSSchema)}
	begins, silent := valueOf(n, "begins"), valueOf(n, "silent")
	switch {
	case begins != nil && silent != nil:
		d.Fail(silent, "`silent` has no effect beside `begins`, write an element for each")
	case begins != nil:
		var what string
		if what, r.Begins = d.begins(begins); r.Begins != nil {
			r.Label += " " + what
		}
	case silent != nil:
		r.Label += " silent"
		r.Silent = d.silence(silent)
	}
	return r
}

// silence reads for how long a client sends nothing.
func (d *decoder) silence(n *yaml.Node) (t time.Duration) {
	if d.Duration(n, "silent", &t); t >= d.config.Timeouts.Hello {
		d.Fail(n, "`silent` must be below the timeout `hello`, %s, which closes the connection first, got %s",
			d.config.Timeouts.Hello, strict.Quote(n.Value))
	}
	return t
}

// maxBegins is how long a text may be, in bytes: what a client has sent is compared with it, each
// time that more comes.
const maxBegins = 256

// begins reads a text, or the name of a protocol. The text that is also a name is {text: http}.
func (d *decoder) begins(n *yaml.Node) (string, *sni.Greeting) {
	literal := n.Kind == yaml.MappingNode
	if literal {
		before := d.Count()
		for _, v := range d.Fields(n, &textSchema) {
			n = v
		}
		if d.Count() > before {
			return "", nil
		}
	} else if n.Kind != yaml.ScalarNode {
		d.WrongType(n, textSchema.What, textSchema.Want)
		return "", nil
	}
	s, ok := d.Text(n, "begins")
	if !ok {
		return "", nil
	}
	if g, ok := sni.GreetingOf(s); ok && !literal {
		return s, &g
	}
	if n.Style == 0 && !literal && strings.Trim(s, bareLetters) == "" {
		d.unknownProtocol(n, s)
		return "", nil
	}
	return d.beginsText(n, s)
}

const bareLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// otherProtocols are words that other programs have, and what to write instead.
var otherProtocols = map[string]string{
	"ssh": "write \"SSH-\"", "rdp": "write \"\\x03\\x00\"", "msrdp": "write \"\\x03\\x00\"", "turn": "write stun, which takes TURN too",
	"tls": tlsByRoutes, "ssl": tlsByRoutes, "https": tlsByRoutes,
	"smtp": serverFirst, "imap": serverFirst, "pop3": serverFirst, "ftp": serverFirst, "mysql": serverFirst,
	"any": "leave `begins` out", "anyprot": "leave `begins` out", "default": "leave `begins` out",
	"timeout": "write `silent: 2s` instead of `begins`",
}

const (
	tlsByRoutes = "TLS goes by `routes`"
	serverFirst = "its server speaks first, write `silent: 2s` instead of `begins`"
)

func (d *decoder) unknownProtocol(n *yaml.Node, s string) {
	if hint := otherProtocols[strings.ToLower(s)]; hint != "" {
		d.Fail(n, "begins: unknown protocol %s: %s", strict.Quote(s), hint)
		return
	}
	if near := strict.Nearest(s, sni.Greetings()); near != "" {
		d.Fail(n, "begins: unknown protocol %s, did you mean %s? A text is written in quotes", strict.Quote(s), strict.Quote(near))
		return
	}
	d.Fail(n, "begins: unknown protocol %s, write one of %s, or the text in double quotes", strict.Quote(s), strings.Join(sni.Greetings(), ", "))
}

// beginsText reads the first bytes as a text. A character up to \xff is one byte: YAML has no other
// way to write one above 0x7f in a text.
func (d *decoder) beginsText(n *yaml.Node, s string) (string, *sni.Greeting) {
	var b []byte
	for _, c := range s {
		if c > 0xff {
			d.Fail(n, "begins %s: %q is no byte, write each byte above 0x7f as \"\\x80\" to \"\\xff\"", strict.Quote(s), c)
			return "", nil
		}
		b = append(b, byte(c))
	}
	g := sni.Text(string(b))
	switch {
	case len(b) > maxBegins:
		d.Fail(n, "`begins` must be at most %d bytes long, this text has %d", maxBegins, len(b))
	case n.Style&yaml.DoubleQuotedStyle == 0 && strings.Contains(s, `\x`):
		d.Fail(n, "begins %s: YAML reads \\x only in double quotes, write them around the text", strict.Quote(s))
	case g.BeginsTLS():
		d.Fail(n, "begins %s: its first byte, 0x%02x, is the type of a TLS record, and such a client never comes to `not_tls`", strict.Quote(s), b[0])
	default:
		return string(b), &g
	}
	return "", nil
}
