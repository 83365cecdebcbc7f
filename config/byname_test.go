package config

import (
	"strings"
	"testing"

	"keyhole/backend"
)

func TestByName(t *testing.T) {
	c := mustParse(t, `
listen: [{address: ":8443"}]
resolver: {family: ipv4}
backends:
  any: {servers: ["{sni}:443"]}
  listen: {servers: [{address: "{sni}.Internal", port: listen}], to: [10.0.0.0/8, "fd00::/8"]}
  both: {servers: [{address: "{sni}", port: 8443}], to: [public, 192.0.2.7]}
  fixed: {servers: [{address: 10.0.0.244, port: listen}, {address: "2001:db8::1", port: listen}, {address: "[2001:db8::1]", port: 993}]}
routes:
  - {sni: "**.example", backend: any}
  - {sni: "**.test", backend: "{sni}:443"}
`)
	if c.Resolver.Family != backend.IPv4 {
		t.Errorf("Resolver.Family = %v, want IPv4", c.Resolver.Family)
	}
	for i, want := range []struct{ server, describes string }{
		{"{sni}:443", "the name itself, port 443, public addresses only"},
		{"{sni}.internal:listen", "the name with .internal behind it, the listener's port, addresses in 10.0.0.0/8, fd00::/8 only"},
		{"{sni}:8443", "the name itself, port 8443, public addresses and addresses in 192.0.2.7/32 only"},
		{"10.0.0.244:listen", ""},
		{"{sni}:443", "the name itself, port 443, public addresses only"},
	} {
		b := &c.Backends[i]
		if b.Servers[0].Address != want.server || b.ByName() != (want.describes != "") {
			t.Errorf("backend %s has server %q, want %q", b.Name, b.Servers[0].Address, want.server)
		}
		if b.ByName() && b.NameServer() != want.describes {
			t.Errorf("backend %s is %q, want %q", b.Name, b.NameServer(), want.describes)
		}
	}
	if s := c.Backends[3].Servers; s[1].Address != "[2001:db8::1]:listen" || s[2].Address != "[2001:db8::1]:993" {
		t.Errorf("servers with a port of their own are %+v", s)
	}
}

func TestByNameProblems(t *testing.T) { checkProblems(t, byNameCases) }

var byNameCases = func() []problemCase {
	const head = "listen: [{address: \":8443\"}, {address: \"192.0.2.1:9443\"}]\n"
	const routes = "routes: [{sni: \"**.example\", backend: a}]\n"
	one := func(b string) string { return head + "backends: {a: " + b + "}\n" + routes }
	return []problemCase{
		{"family", head + "resolver: {family: ipv5}\n" + routesLine, `2:20: unknown value "ipv5" for ` + "`family`" + `, did you mean "ipv4"?`},
		{"resolver of nothing", head + "resolver:\n" + routesLine, "2:10: `resolver` must be a mapping such as {family: ipv4}, got nothing"},
		{"name servers", head + "resolver: {servers: [192.0.2.1]}\n" + routesLine, "2:12: unknown key `servers`: the name servers of /etc/resolv.conf are asked"},
		{"no quotes", one("{servers: [{sni}:443]}"), "2:26: {sni} must be in quotes, YAML takes it for a mapping: write \"{sni}:443\""},
		{"no quotes, alone", one("{servers: [{sni}]}"), "2:26: {sni} must be in quotes, YAML takes it for a mapping: write \"{sni}:443\""},
		{"no quotes, port apart", one("{servers: [{address: {sni}, port: 443}]}"), "2:36: {sni} must be in quotes, YAML takes it for a mapping: write \"{sni}:443\""},
		{"no quotes in a route", head + "routes: [{sni: a.example, backend: {sni}:443}]\n", "2:36: a value that begins with { must be quoted, did you mean \"{sni}:443\"?"},
		{"no quotes in a block", head + "backends:\n  a:\n    servers:\n      - {sni}.internal:443\n" + routes, "5:9: a value that begins with { must be quoted, did you mean \"{sni}.internal:443\"?"},
		{"text before", one(`{servers: ["www.{sni}:443"]}`), `2:26: server "www.{sni}:443": {sni} is the whole name that the client asks for, leave out "www."`},
		{"nginx's word", one(`{servers: ["$ssl_preread_server_name:443"]}`), `2:26: server "$ssl_preread_server_name:443": the one placeholder is {sni}, the name that the client asks for, as in {sni}:443`},
		{"beside others", one(`{servers: ["{sni}:443", 10.0.0.1:443]}`), "2:25: {sni} must be the only server of a backend, since it stands for every name"},
		{"twice", one(`{servers: ["{sni}:443", "{sni}:8443"]}`), "2:25: {sni} must be the only server of a backend, since it stands for every name"},
		{"to of others", one(`{servers: [10.0.0.1:443], to: public}`), "2:45: `to` is for a backend whose server is {sni}, the addresses of others are known"},
		{"to of what cannot be read", one(`{servers: [10.0.0.1], to: public}`), `2:26: server "10.0.0.1": missing port, did you mean 10.0.0.1:443?`},
		{"to a word", one(`{servers: ["{sni}:443"], to: private}`), `2:44: to "private": neither public nor an address or a network, such as 10.0.0.0/8`},
		{"to a wrong network", one(`{servers: ["{sni}:443"], to: [10.0.0.1/8]}`), `2:45: to "10.0.0.1/8": has bits set beyond its length, did you mean "10.0.0.0/8"?`},
		{"to nothing", one(`{servers: ["{sni}:443"], to: []}`), "2:44: `to` is an empty list"},
		{"port", one(`{servers: [{address: 10.0.0.1, port: https}]}`), "2:52: `port` must be listen or a whole number from 1 to 65535, got \"https\""},
		{"port 0", one(`{servers: [{address: 10.0.0.1, port: 0}]}`), "2:52: `port` must be listen or a whole number from 1 to 65535, got \"0\""},
		{"two ports", one(`{servers: [{address: "10.0.0.1:443", port: listen}]}`), `2:58: server "10.0.0.1:443" has a port already, leave out ` + "`port` or that"},
		{"port of a socket", one(`{servers: [{address: "unix:/run/x.sock", port: listen}]}`), "2:62: a Unix socket has no port, leave out `port`"},
		{"port alone", one(`{servers: [{port: listen}]}`), "2:26: missing key `address`"},
		{"the edge at its own port", one(`{servers: [{address: 127.0.0.1, port: listen}]}`), `2:36: server "127.0.0.1:listen": would connect the edge to itself, it listens on ":8443"; name the origin's own address or another port`},
		{"another listener's address", one(`{servers: ["192.0.2.1:listen"]}`), `2:26: server "192.0.2.1:listen": would connect the edge to itself, it listens on "192.0.2.1:9443"; name the origin's own address or another port`},
		{"no_sni", head + "backends: {a: {servers: [\"{sni}:443\"]}}\n" + routes + "no_sni: {backend: a}\n", `4:19: the server of backend "a" is {sni}, the name that the client asks for, and here is none`},
		{"no_sni of a listener", "listen: [{address: \":8443\", no_sni: {backend: \"{sni}:0443\"}}]\n" + routesLine, `1:47: the server of backend "{sni}:443" is {sni}, the name that the client asks for, and here is none`},
		{"unknown backend of no_sni", head + "backends: {a: {servers: [\"{sni}:443\"]}}\n" + routes + "no_sni: {backend: b}\n", `4:19: unknown backend "b"`},
		{"no_sni to several", head + "backends: {a: {servers: [\"{sni}:443\"]}}\n" + routes + "no_sni: {backend: [\"10.0.0.1:443\", a]}\n",
			`4:19: the server of backend "a" is {sni}, the name that the client asks for, and here is none`},
		{"listener", "listen: [{address: \":listen\"}]\n" + routesLine, `1:20: address ":listen": port "listen" is for servers, a listener has a number`},
	}
}()

// An open proxy is said to be one.
func TestOpenProxies(t *testing.T) {
	const any = "backends: {any: {servers: [\"{sni}:443\"]}, suffix: {servers: [\"{sni}.internal:443\"]}, fixed: {servers: [10.0.0.1:443]}}\n"
	const open = "warning: an open proxy: everybody can reach any name through \"any\", whose server is {sni}; add `allow`, or name the names in a route"
	const listen = "listen: [{name: a, address: \":8443\", allow: 192.0.2.0/24}, {name: b, address: \":9443\"}]\n"
	for _, c := range []struct{ name, text, want string }{
		{"route of any name", listenLine + any + "routes: [{sni: \"**\", backend: any}]\n", "3:31: " + open},
		{"among others", listenLine + any + "routes:\n  - {sni: [a.example, \"**\"], alpn: h2, backend: any}\n", "4:49: " + open},
		{"one of several", listenLine + any + "routes: [{sni: \"**\", backend: [fixed, suffix, any]}]\n", "3:31: " + open},
		{"deny only", listenLine + any + "routes: [{sni: \"**\", backend: any, deny: 192.0.2.0/24}]\n", "3:31: " + open},
		{"default", listenLine + any + "routes: []\ndefault: {backend: any}\n", "4:20: " + open},
		{"inline", listenLine + "routes: []\ndefault: {backend: \"{sni}:443\"}\n",
			"3:20: " + strings.Replace(open, "any\"", "{sni}:443\"", 1)},
		{"default of a listener", "listen: [{address: \":8443\", default: {backend: any}}]\n" + any + "routes: []\n", "1:48: " + open},
		{"one listener is open", listen + any + "routes: [{sni: \"**\", listen: [a, b], backend: any}]\n", "3:47: " + open},
		{"default of the open listener", listen + any + "routes: []\ndefault: {backend: any}\n", "4:20: " + open},
		{"all", listenLine + any + "routes: [{sni: \"**\", backend: any}]\ndefault: {backend: any}\n", "3:31: " + open + "\n4:20: " + open},

		{"names", listenLine + any + "routes: [{sni: \"**.example\", backend: any}]\n", ""},
		{"allow", listenLine + any + "routes: [{sni: \"**\", backend: any, allow: 192.0.2.0/24}]\n", ""},
		{"allow of the default", listenLine + any + "routes: []\ndefault: {backend: any, allow: 192.0.2.0/24}\n", ""},
		{"from", listenLine + any + "routes: [{sni: \"**\", backend: any, from: 192.0.2.0/24}]\n", ""},
		{"matching", listenLine + any + "routes: [{sni: \"**\", backend: any, matching: \"a.*\"}]\n", ""},
		{"suffix", listenLine + any + "routes: [{sni: \"**\", backend: suffix}]\n", ""},
		{"the listener is fenced", listen + any + "routes: [{sni: \"**\", listen: a, backend: any}]\n", ""},
		{"the open listener has a default of its own", strings.Replace(listen, "9443\"", "9443\", default: {backend: fixed}", 1) + any +
			"routes: []\ndefault: {backend: any}\n", ""},
		{"another backend", listenLine + any + "routes: [{sni: \"**\", backend: fixed}]\n", ""},
		{"nothing", listenLine + any + "routes: [{sni: \"**\", reject: alert}, {sni: a.example, backend: any}]\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if w := mustParse(t, c.text).Warnings; w != nil {
				got = strings.ReplaceAll("\n"+w.Error(), "\nk.yaml:", "\n")[1:]
			}
			if got != c.want {
				t.Errorf("Warnings of %q =\n%s\nwant\n%s", c.text, got, c.want)
			}
		})
	}
}
