package config

import (
	"fmt"
	"testing"
)

// A listener on [::] leaves IPv4 to one that has the port for it.
func TestIPv6Only(t *testing.T) {
	for _, c := range []struct{ beside, want string }{
		{`":8443"`, "[::]:443 false, :8443 false"},
		{`"192.0.2.1:8443"`, "[::]:443 false, 192.0.2.1:8443 false"},
		{`"0.0.0.0:443"`, "[::]:443 true, 0.0.0.0:443 false"},
		{`"[::ffff:0.0.0.0]:443"`, "[::]:443 true, 0.0.0.0:443 false"},
		{`"192.0.2.1:443"`, "[::]:443 true, 192.0.2.1:443 false"},
		{`"edge.example:443"`, "[::]:443 true, edge.example:443 false"},
	} {
		got := mustParse(t, "listen: [{address: \"[::]:443\"}, {address: "+c.beside+"}]\n"+routesLine)
		a, b := got.Listen[0], got.Listen[1]
		if s := fmt.Sprintf("%s %t, %s %t", a.Address, a.IPv6Only, b.Address, b.IPv6Only); s != c.want {
			t.Errorf("Listen = %s, want %s", s, c.want)
		}
	}
	if c := mustParse(t, "listen: [{address: \"[::]:0\"}, {address: \"0.0.0.0:0\"}]\n"+routesLine); c.Listen[0].IPv6Only {
		t.Errorf("Listen = %v, want the first for IPv4 too: port 0 is another each time", c.Listen)
	}
}

func TestListenProblems(t *testing.T) { checkProblems(t, listenCases) }

var listenCases = []problemCase{
	{
		"every address as nginx and HAProxy write it",
		"listen: [{address: \"*:443\"}]\n" + routesLine,
		"1:20: address \"*:443\": * is no address, write \":443\" for every address of the machine",
	},
	{
		"empty list",
		"listen: []\n" + routesLine,
		"1:9: `listen` is an empty list",
	},
	{
		"scalar",
		"listen: \":443\"\n" + routesLine,
		"1:9: `listen` must be a list, got the quoted text \":443\"",
	},
	{
		"mapping",
		"listen: {address: \":443\"}\n" + routesLine,
		"1:9: `listen` must be a list, got a mapping",
	},
	{
		"nothing",
		"listen:\n" + routesLine,
		"1:8: `listen` must be a list, got nothing",
	},
	{
		"scalar element",
		"listen: [\":443\"]\n" + routesLine,
		`1:10: a listener must be a mapping such as {address: ":443"}, got the quoted text ":443"`,
	},
	{
		"no address",
		"listen: [{protocol: tls}]\n" + routesLine,
		"1:10: missing key `address`",
	},
	{
		"misspelt address",
		"listen: [{adress: \":443\"}]\n" + routesLine,
		"1:11: unknown key `adress`, did you mean `address`?",
	},
	{
		"address is a list",
		"listen: [{address: [\":443\"]}]\n" + routesLine,
		"1:20: `address` must be a single value, got a list",
	},
	{
		"only a port",
		"listen: [{address: 443}]\n" + routesLine,
		`1:20: address "443": missing host, did you mean ":443"?`,
	},
	{
		"only an address",
		"listen: [{address: 0.0.0.0}]\n" + routesLine,
		`1:20: address "0.0.0.0": missing port, did you mean 0.0.0.0:443?`,
	},
	{
		"only an IPv6 address",
		"listen: [{address: \"::\"}]\n" + routesLine,
		`1:20: address "::": an IPv6 address needs brackets and a port, did you mean [::]:443?`,
	},
	{
		"only brackets",
		"listen: [{address: \"[::1]\"}]\n" + routesLine,
		`1:20: address "[::1]": missing port, did you mean [::1]:443?`,
	},
	{
		"brackets without a colon",
		"listen: [{address: \"[::1]443\"}]\n" + routesLine,
		`1:20: address "[::1]443": after the bracket comes the port, such as [2001:db8::1]:443`,
	},
	{
		"brackets around IPv4",
		"listen: [{address: \"[127.0.0.1]:443\"}]\n" + routesLine,
		`1:20: address "[127.0.0.1]:443": brackets are for an IPv6 address, such as [2001:db8::1]:443`,
	},
	{
		"empty port",
		"listen: [{address: \"192.0.2.1:\"}]\n" + routesLine,
		`1:20: address "192.0.2.1:": missing port, did you mean 192.0.2.1:443?`,
	},
	{
		"only a colon",
		"listen: [{address: \":\"}]\n" + routesLine,
		`1:20: address ":": missing port, did you mean :443?`,
	},
	{
		"service name",
		"listen: [{address: \":https\"}]\n" + routesLine,
		`1:20: address ":https": port "https" is not a number up to 65535`,
	},
	{
		"port too high",
		"listen: [{address: \":65536\"}]\n" + routesLine,
		`1:20: address ":65536": port "65536" is not a number up to 65535`,
	},
	{
		"too many colons",
		"listen: [{address: \"a:b:c\"}]\n" + routesLine,
		`1:20: address "a:b:c": too many colons, an IPv6 address is written [2001:db8::1]:443`,
	},
	{
		"unix",
		"listen: [{address: \"unix:/run/x.sock\"}]\n" + routesLine,
		`1:20: address "unix:/run/x.sock": a Unix socket has no clients on the network, write host:port`,
	},
	{
		"bad IP",
		"listen: [{address: \"10.0.0.300:443\"}]\n" + routesLine,
		`1:20: address "10.0.0.300:443": neither an IP address nor a host name, whose last label is no number`,
	},
	{
		"duplicate",
		"listen:\n  - {address: \"192.0.2.1:443\"}\n  - {address: \"192.0.2.1:0443\"}\n" + routesLine,
		`3:15: address "192.0.2.1:0443" is already listened on, by "192.0.2.1:443" on line 2`,
	},
	{
		"every address includes each",
		"listen:\n  - {address: \":443\"}\n  - {address: \"0.0.0.0:443\"}\n  - {address: \"[::]:443\"}\n  - {address: \"127.0.0.1:443\"}\n  - {address: \"edge.example:443\"}\n" + routesLine,
		"3:15: address \"0.0.0.0:443\" is already listened on, by \":443\" on line 2\n" +
			"4:15: address \"[::]:443\" is already listened on, by \":443\" on line 2\n" +
			"5:15: address \"127.0.0.1:443\" is already listened on, by \":443\" on line 2\n" +
			"6:15: address \"edge.example:443\" is already listened on, by \":443\" on line 2",
	},
	{
		"0.0.0.0 is IPv4 and [::] beside it IPv6",
		"listen:\n  - {address: \"[::]:443\"}\n  - {address: \"0.0.0.0:443\"}\n  - {address: \"127.0.0.1:443\"}\n  - {address: \"[::1]:443\"}\n" + routesLine,
		"4:15: address \"127.0.0.1:443\" is already listened on, by \"0.0.0.0:443\" on line 3\n" +
			"5:15: address \"[::1]:443\" is already listened on, by \"[::]:443\" on line 2",
	},
	{
		"link-local without a zone",
		"listen: [{address: \"[fe80::1]:443\"}]\n" + routesLine,
		`1:20: address "[fe80::1]:443": a link-local address needs its interface, as in [fe80::1%eth0]:443`,
	},
	{
		"multicast",
		"listen: [{address: \"224.0.0.1:443\"}]\n" + routesLine,
		`1:20: address "224.0.0.1:443": 224.0.0.1 is a multicast address, want a unicast one`,
	},
	{
		"protocol http",
		"listen: [{address: \":80\", protocol: http}]\n" + routesLine,
		"1:37: `protocol: http`: not supported yet",
	},
	{
		"protocol unknown",
		"listen: [{address: \":80\", protocol: htp}]\n" + routesLine,
		"1:37: unknown value \"htp\" for `protocol`, want one of \"tls\", \"tcp\"",
	},
	{
		"starttls unknown",
		"listen: [{address: \":5432\", starttls: postgre}]\n" + routesLine,
		"1:39: unknown value \"postgre\" for `starttls`, did you mean \"postgres\"?",
	},
	{
		"starttls of another protocol",
		"listen: [{address: \":5432\", starttls: smtp}]\n" + routesLine,
		"1:39: unknown value \"smtp\" for `starttls`, want \"postgres\"",
	},
	{
		"starttls that is no word",
		"listen: [{address: \":5432\", starttls: [postgres]}, {address: \":5433\", starttls: }]\n" + routesLine,
		"1:39: `starttls` must be a single value, got a list\n1:81: `starttls` has no value",
	},
	{
		"starttls beside another protocol",
		"listen: [{address: \":5432\", protocol: http, starttls: postgres}]\n" + routesLine,
		"1:39: `protocol: http`: not supported yet\n" +
			"1:55: `starttls` wants `protocol: tls`, the default: leave one of the two out",
	},
	{
		"proxy_protocol_from",
		"listen: [{address: \":443\", proxy_protocol_from: [10.0.0.0/8, 10.0.0.0/8, 10.0.0.1/8, balancer, \"@none.txt\"]}, {address: \":444\", proxy_protocol_from: []}]\n" + routesLine,
		"1:62: duplicate network \"10.0.0.0/8\"\n" +
			"1:74: proxy_protocol_from \"10.0.0.1/8\": has bits set beyond its length, did you mean \"10.0.0.0/8\"?\n" +
			"1:86: proxy_protocol_from \"balancer\": not an address or a network, write 192.0.2.7 or 192.0.2.0/24\n" +
			"1:96: proxy_protocol_from \"@none.txt\": read none.txt: no such file or directory; a path is relative to the file that names it\n" +
			"1:150: `proxy_protocol_from` is an empty list",
	},
}
