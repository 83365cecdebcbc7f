package config

import (
	"net/netip"
	"strings"
	"testing"

	"keyhole/routes"
	"keyhole/sni"
)

func TestListenersOwn(t *testing.T) {
	c := mustParse(t, `listen:
  - {address: ":443", allow: 192.0.2.0/24, deny: 192.0.2.9}
  - {name: imaps, address: ":993", default: {backend: "10.0.0.5:993", alpn: imap}, no_sni: {reject: reset}}
  - {name: smtps, address: ":465"}
routes:
  - {listen: imaps, sni: mail.example, backend: "10.0.0.6:993"}
  - {listen: [smtps, imaps], sni: "**", from: 10.0.0.0/8, backend: "10.0.0.7:1"}
  - {sni: mail.example, backend: "10.0.0.8:443", deny: 10.0.0.0/8}
default: {backend: "10.0.0.9:443", allow: 192.0.2.0/24}
`)
	for _, x := range []struct {
		name, alpn, client string
		listener           int
		backend            string // or the outcome
	}{
		{"mail.example", "", "192.0.2.1", 0, "10.0.0.8:443"},
		{"mail.example", "", "10.0.0.1", 0, "denied"},
		{"mail.example", "", "10.0.0.1", 1, "10.0.0.6:993"},
		{"mail.example", "", "10.0.0.1", 2, "denied"},
		{"a.example", "", "10.0.0.1", 2, "10.0.0.7:1"},
		{"a.example", "imap", "192.0.2.1", 1, "10.0.0.5:993"},
		{"a.example", "", "192.0.2.1", 1, "10.0.0.9:443"},
		{"a.example", "", "198.51.100.1", 0, "denied"},
		{"", "", "192.0.2.1", 1, "no name"},
		{"", "", "192.0.2.1", 2, "10.0.0.9:443"},
	} {
		q := routes.Query{ALPN: sni.MakeProtocols(strings.Fields(x.alpn)), Client: netip.MustParseAddr(x.client), Listener: x.listener}
		if x.name != "" {
			q.Name = []byte(x.name)
		}
		m := c.Table.Lookup(q)
		got := m.Outcome.String()
		if m.Outcome == routes.Matched || m.Outcome == routes.MatchedDefault {
			got = c.Backends[m.Route.Backend].Name
		}
		if got != x.backend {
			t.Errorf("Lookup(%+v) = %s, want %s", x, got, x.backend)
		}
	}
	if a := c.Listen[0].Access; a.Admits(netip.MustParseAddr("192.0.2.9")) || !a.Admits(netip.MustParseAddr("192.0.2.1")) || c.Listen[1].Access != nil {
		t.Errorf("Access of the listeners = %v, %v, want 192.0.2.0/24 without 192.0.2.9, and none", a, c.Listen[1].Access)
	}
}

func TestListenersOwnProblems(t *testing.T) { checkProblems(t, ownCases) }

var ownCases = []problemCase{
	{
		"names",
		"listen:\n  - {address: \":1\", name: a b}\n  - {address: \":2\", name: x}\n  - {address: \":3\", name: x}\n" + routesLine,
		"2:27: listener name \"a b\" may hold only letters, digits, dots, underscores and hyphens\n" +
			"4:27: duplicate listener name \"x\", first on line 3",
	},
	{
		"unknown listener, of several",
		"listen: [{address: \":1\", name: imaps}]\nroutes:\n  - {sni: a.example, listen: [imapss, imaps, imaps], backend: \"10.0.0.5:1\"}\n",
		"3:31: unknown listener \"imapss\", did you mean \"imaps\"?\n3:46: duplicate listener \"imaps\" in one route",
	},
	{
		"unknown listener, of none",
		"listen: [{address: \":1\"}]\nroutes:\n  - {sni: a.example, listen: imaps, backend: \"10.0.0.5:1\"}\n",
		"3:30: unknown listener \"imaps\": no listener has a name, write {name: imaps, address: ...} under `listen`",
	},
	{
		"a listener that cannot be read has a name all the same",
		"listen: [{address: \":x\", name: imaps}, {name: web}]\nroutes:\n  - {sni: a.example, listen: imaps, backend: \"10.0.0.5:1\"}\n  - {sni: a.example, listen: web, backend: \"10.0.0.5:1\"}\n",
		"1:20: address \":x\": port \"x\" is not a number up to 65535\n1:40: missing key `address`",
	},
	{
		"one name on two listeners is no conflict, on one it is",
		"listen: [{address: \":1\", name: a}, {address: \":2\", name: b}]\nroutes:\n" +
			"  - {sni: x.example, listen: a, backend: \"10.0.0.5:1\"}\n  - {sni: x.example, listen: b, backend: \"10.0.0.5:1\"}\n" +
			"  - {sni: x.example, backend: \"10.0.0.5:1\"}\n  - {sni: x.example, listen: [a, b], backend: \"10.0.0.5:1\"}\n",
		"6:11: \"x.example\" on listener a is already routed on line 3\n6:11: \"x.example\" on listener b is already routed on line 4",
	},
	{
		"default and no_sni of a listener",
		"listen: [{address: \":1\", default: {backend: x, sni: a}, no_sni: {reject: alert, allow: 10.0.0.0/8, from: \"::/0\"}}]\n" + routesLine,
		"1:45: unknown backend \"x\"\n1:48: unknown key `sni`: it has no names; write a route for them\n" +
			"1:100: unknown key `from`: write a route with sni \"**\", which is any name",
	},
	{
		"networks",
		"listen: [{address: \":1\", allow: [10.0.0.0/8, 10.0.0.0/8], deny: 10.0.0.1/8}]\n" + routesLine,
		"1:46: duplicate network \"10.0.0.0/8\"\n1:65: deny \"10.0.0.1/8\": has bits set beyond its length, did you mean \"10.0.0.0/8\"?",
	},
	{
		"allowed and denied",
		"listen: [{address: \":1\", allow: 10.0.0.0/8, deny: 10.0.0.0/8}]\n" + routesLine,
		"1:51: deny 10.0.0.0/8 is in allow too",
	},
	{
		"limits",
		"listen: [{address: \":1\", limits: {connections: 0, hello_bytes: 1, hello_memory: 9}}]\n" + routesLine,
		"1:48: `connections` must be a whole number from 1 to 10000000, got \"0\"\n" +
			"1:64: `hello_bytes` must be a whole number from 512 to 1048576, got \"1\"\n" +
			"1:67: unknown key `hello_memory`: it is shared by all listeners, write it into `limits` of the file",
	},
	{
		"matching",
		"listen: [{address: \":1\"}]\nroutes:\n  - {sni: \"*.a.example\", matching: \"x(\", backend: \"10.0.0.5:1\"}\n  - {sni: [\"*.a.example\", a.example], matching: x, backend: \"10.0.0.5:1\"}\n",
		"3:36: matching \"x(\": error parsing regexp: missing closing ): `x(`; the syntax is RE2's\n" +
			"4:27: \"a.example\" has no star, and `matching` is asked of what a star stands for",
	},
}
