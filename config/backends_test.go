package config

import (
	"testing"

	"gopkg.in/yaml.v3"
)

func TestBackendProblems(t *testing.T) { checkProblems(t, backendCases) }

var backendCases = []problemCase{
	{
		"words of HAProxy and nginx",
		listenLine + "backends:\n  a: {servers: [{address: 10.0.0.1:443, check: true, send_proxy: true}], balance: source}\n" +
			"  b: {servers: [10.0.0.1:443], balance: leastconn}\n  c: {servers: [10.0.0.1:443], balance: roundrobin}\n" +
			"  d: {servers: [s1 10.0.0.1:443 check, 10.0.0.2:443 weight=5 backup]}\n" + routesLine,
		"3:41: unknown key `check`: servers are not checked; an attempt that fails goes to another server, see `retries` of the backend\n" +
			"3:54: unknown key `send_proxy`: write `proxy_protocol: v1` of the backend, which is for all its servers\n" +
			"3:83: unknown value \"source\" for `balance`, did you mean \"client_hash\"?\n" +
			"4:41: unknown value \"leastconn\" for `balance`, did you mean \"least_connections\"?\n" +
			"5:41: unknown value \"roundrobin\" for `balance`, did you mean \"round_robin\"?\n" +
			"6:17: server \"s1 10.0.0.1:443 check\": write the address alone, 10.0.0.1:443\n" +
			"6:40: server \"10.0.0.2:443 weight=5 backup\": write the address alone, 10.0.0.2:443; " +
			"weight and backup are keys, as in {address: \"10.0.0.2:443\", weight: 2, backup: true}",
	},
	{
		"every address is no server",
		listenLine + "backends: {a: {servers: [\"*:8443\"]}}\n" + routesLine,
		"2:26: server \"*:8443\": * is no server's address, write 127.0.0.1:8443 for this machine",
	},
	{
		"a refused name is one problem",
		listenLine + "backends: {a b: {servers: [10.0.0.1:443]}}\nroutes: [{sni: a.example, backend: a b}]\n",
		"2:12: backend name \"a b\" may hold only letters, digits, dots, underscores and hyphens",
	},
	{
		"unreadable backends are one problem",
		listenLine + "backends: [a]\nroutes: [{sni: a.example, backend: a}]\n",
		"2:11: `backends` must be a mapping of names to backends, got a list",
	},
	{
		"misspelt backends are one problem",
		listenLine + "backend: {a: {servers: [10.0.0.1:443]}}\nroutes: [{sni: a.example, backend: a}]\n",
		"2:1: unknown key `backend`, did you mean `backends`?",
	},
	{
		"list",
		listenLine + "backends:\n  [a]\n" + routesLine,
		"3:3: `backends` must be a mapping of names to backends, got a list",
	},
	{
		"nothing",
		listenLine + "backends:\n" + routesLine,
		"2:10: `backends` must be a mapping of names to backends, got nothing",
	},
	{
		"backend is nothing",
		listenLine + "backends:\n  shop:\n" + routesLine,
		`3:8: a backend must be a mapping such as {servers: [10.0.0.5:443]}, got nothing`,
	},
	{
		"backend is a list",
		listenLine + "backends:\n  shop: [10.0.0.5:443]\n" + routesLine,
		`3:9: a backend must be a mapping such as {servers: [10.0.0.5:443]}, got a list`,
	},
	{
		"no servers",
		listenLine + "backends:\n  shop: {}\n" + routesLine,
		"3:9: missing key `servers`",
	},
	{
		"empty servers",
		listenLine + "backends:\n  shop: {servers: []}\n" + routesLine,
		"3:19: `servers` is an empty list",
	},
	{
		"servers is a word",
		listenLine + "backends:\n  shop: {servers: 10.0.0.5:443}\n" + routesLine,
		"3:19: `servers` must be a list, got \"10.0.0.5:443\"",
	},
	{
		"misspelt keys",
		listenLine + "backends:\n  shop: {server: [10.0.0.5:443], retrys: 1, max-connections: 5, frobnicate: 1}\n" + routesLine,
		"3:10: unknown key `server`, did you mean `servers`?\n" +
			"3:34: unknown key `retrys`, did you mean `retries`?\n" +
			"3:45: unknown key `max-connections`, did you mean `max_connections`?\n" +
			"3:65: unknown key `frobnicate`, want one of `servers`, `balance`, `proxy_protocol`, `retries`, `max_connections`, `to`",
	},
	{
		"name like an address",
		listenLine + "backends:\n  \"a:1\": {servers: [1.2.3.4:1]}\n  10.0.0.1: {servers: [1.2.3.4:1]}\n" + routesLine,
		"3:3: backend name \"a:1\" looks like an address, give the backend a name and list the address in `servers`\n" +
			"4:3: backend name \"10.0.0.1\" looks like an address, give the backend a name and list the address in `servers`",
	},
	{
		"bad names",
		listenLine + "backends:\n  a b: {servers: [1.2.3.4:1]}\n  \"\": {servers: [1.2.3.4:1]}\n  [x]: {servers: [1.2.3.4:1]}\n  büro: {servers: [1.2.3.4:1]}\n" + routesLine,
		"3:3: backend name \"a b\" may hold only letters, digits, dots, underscores and hyphens\n" +
			"4:3: a backend's name must be a word, got the quoted text \"\"\n" +
			"5:3: a backend's name must be a word, got a list\n" +
			"6:3: backend name \"büro\" may hold only letters, digits, dots, underscores and hyphens",
	},
	{
		"duplicate name",
		listenLine + "backends:\n  shop: {servers: [1.2.3.4:1]}\n  shop: {servers: [1.2.3.4:2]}\n" + routesLine,
		`4:3: duplicate backend "shop", first on line 3`,
	},
	{
		"ranks out of range",
		listenLine + "backends:\n  shop: {servers: [1.2.3.4:1, {address: 1.2.3.4:2, backup: 101}, {address: 1.2.3.4:3, backup: -1}, {address: 1.2.3.4:4, backup: [1]}]}\n" + routesLine,
		"3:60: `backup` must be true, false or a whole number from 1 to 100, got \"101\"\n" +
			"3:95: `backup` must be true, false or a whole number from 1 to 100, got \"-1\"\n" +
			"3:129: `backup` must be true, false or a whole number from 1 to 100, got a list",
	},
	{
		"only backups of several ranks",
		listenLine + "backends:\n  shop: {servers: [{address: 1.2.3.4:1, backup: 2}, {address: 1.2.3.4:2, backup: 1}]}\n" + routesLine,
		`3:19: backend "shop" has only backup servers, at least one must not be`,
	},
	{
		"only backups",
		listenLine + "backends:\n  shop: {servers: [{address: 1.2.3.4:1, backup: true}]}\n" + routesLine,
		`3:19: backend "shop" has only backup servers, at least one must not be`,
	},
	{
		"duplicate server",
		listenLine + "backends:\n  shop:\n    servers:\n      - 10.0.0.5:443\n      - {address: \"10.0.0.5:0443\", weight: 2}\n" + routesLine,
		`6:19: duplicate server "10.0.0.5:443", first on line 5`,
	},
	{
		"server values",
		listenLine + "backends:\n  shop: {servers: [{address: 1.2.3.4:1, weight: 0, backup: yes}, {address: 1.2.3.4:2, weight: 257, backup: \"true\"}, {address: 1.2.3.4:3, weight: 1.5, backup: }]}\n" + routesLine,
		"3:49: `weight` must be a whole number from 1 to 256, got \"0\"\n" +
			"3:60: `backup` must be true, false or a whole number from 1 to 100, got \"yes\"\n" +
			"3:95: `weight` must be a whole number from 1 to 256, got \"257\"\n" +
			"3:108: `backup` must be true, false or a whole number from 1 to 100, got the quoted text \"true\"\n" +
			"3:146: `weight` must be a whole number from 1 to 256, got \"1.5\"\n" +
			"3:159: `backup` must be true, false or a whole number from 1 to 100, got nothing",
	},
	{
		"server without an address",
		listenLine + "backends:\n  shop: {servers: [{weight: 2}, [x], {addres: 1.2.3.4:1}, ~, {address: }]}\n" + routesLine,
		"3:20: missing key `address`\n" +
			"3:33: a server must be an address or a mapping such as {address: 10.0.0.5:443}, got a list\n" +
			"3:39: unknown key `addres`, did you mean `address`?\n" +
			"3:59: `address` has no value\n" +
			"3:72: `address` has no value",
	},
	{
		"balance",
		listenLine + "backends:\n  shop: {servers: [1.2.3.4:1], balance: least-connections}\n  mail: {servers: [1.2.3.4:1], balance: fastest}\n" + routesLine,
		"3:41: unknown value \"least-connections\" for `balance`, did you mean \"least_connections\"?\n" +
			"4:41: unknown value \"fastest\" for `balance`, want one of \"round_robin\", \"least_connections\", \"random_two\", \"client_hash\"",
	},
	{
		"numbers",
		listenLine + "backends:\n  shop: {servers: [1.2.3.4:1], retries: 11, max_connections: -1}\n" + routesLine,
		"3:41: `retries` must be a whole number from 0 to 10, got \"11\"\n" +
			"3:62: `max_connections` must be a whole number from 0 to 10000000, got \"-1\"",
	},
	{
		"not supported yet",
		listenLine + "backends:\n  shop:\n    servers: [1.2.3.4:1]\n    http_port: 80\n    health: {type: tls}\n    eject: {failures: 5}\n" + routesLine,
		"5:5: `http_port`: not supported yet\n" +
			"6:5: `health`: not supported yet\n" +
			"7:5: `eject`: not supported yet",
	},
	{
		"proxy_protocol unknown",
		listenLine + "backends:\n  shop: {servers: [1.2.3.4:1], proxy_protocol: v3}\n" + routesLine,
		"3:48: unknown value \"v3\" for `proxy_protocol`, want one of \"off\", \"v1\", \"v2\"",
	},
	{
		"proxy_protocol is the backend's",
		listenLine + "backends:\n  shop: {servers: [{address: 1.2.3.4:1, proxy_protocol: v2}], proxy_protocol: on}\n" + routesLine,
		"3:41: unknown key `proxy_protocol`: write it into the backend, it is for all its servers\n" +
			"3:79: unknown value \"on\" for `proxy_protocol`, want one of \"off\", \"v1\", \"v2\"",
	},
	{
		"missing port",
		listenLine + "backends:\n  shop: {servers: [10.0.0.5, origin.internal, \"2001:db8::1\", \"[2001:db8::1]\", \"origin.internal:\"]}\n" + routesLine,
		"3:20: server \"10.0.0.5\": missing port, did you mean 10.0.0.5:443?\n" +
			"3:30: server \"origin.internal\": missing port, did you mean origin.internal:443?\n" +
			"3:47: server \"2001:db8::1\": an IPv6 address needs brackets and a port, did you mean [2001:db8::1]:443?\n" +
			"3:62: server \"[2001:db8::1]\": missing port, did you mean [2001:db8::1]:443?\n" +
			"3:79: server \"origin.internal:\": missing port, did you mean origin.internal:443?",
	},
	{
		"bad addresses",
		listenLine + "backends:\n  shop: {servers: [\":443\", \"10.0.0.5:0\", \"https://x.example:443\", \"10.0.0.300:443\", \"10.0.0.5:x\", \"[fe80::1]:443\"]}\n" + routesLine,
		"3:20: server \":443\": missing host, write 127.0.0.1:443 for this machine\n" +
			"3:28: server \"10.0.0.5:0\": port 0 cannot be connected to, want 1 to 65535\n" +
			"3:42: server \"https://x.example:443\": an address has no scheme, leave out \"https://\"\n" +
			"3:67: server \"10.0.0.300:443\": neither an IP address nor a host name, whose last label is no number\n" +
			"3:85: server \"10.0.0.5:x\": port \"x\" is not a number up to 65535\n" +
			"3:99: server \"[fe80::1]:443\": a link-local address needs its interface, as in [fe80::1%eth0]:443",
	},
	{
		"addresses that no server can have",
		listenLine + "backends:\n  shop: {servers: [0.0.0.0:9001, \"[::]:9001\", 224.0.0.1:443, \"[ff02::1]:443\", \"[::1%lo]:1\"]}\n" + routesLine,
		"3:20: server \"0.0.0.0:9001\": 0.0.0.0 is no server's address, write 127.0.0.1 for this machine\n" +
			"3:34: server \"[::]:9001\": :: is no server's address, write [::1] for this machine\n" +
			"3:47: server \"224.0.0.1:443\": 224.0.0.1 is a multicast address, want a unicast one\n" +
			"3:62: server \"[ff02::1]:443\": ff02::1 is a multicast address, want a unicast one\n" +
			"3:79: server \"[::1%lo]:1\": only a link-local address has a zone, leave out \"%lo\"",
	},
	{
		"bad host",
		listenLine + "backends:\n  shop: {servers: [\"ex ample:443\", \"a..b:443\"]}\n" + routesLine,
		"3:20: server \"ex ample:443\": host name has a character that no host name has\n" +
			"3:36: server \"a..b:443\": host name has an empty label",
	},
	{
		"unix paths",
		listenLine + "backends:\n  shop: {servers: [\"unix:run/x.sock\", \"unix:\", \"unix:/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\", \"unix:/a\\0\"]}\n" + routesLine,
		"3:20: server \"unix:run/x.sock\": the path of a Unix socket must be absolute, such as unix:/run/origin.sock\n" +
			"3:39: server \"unix:\": the path of a Unix socket must be absolute, such as unix:/run/origin.sock\n" +
			"3:48: server \"unix:/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"...: the path of a Unix socket is at most 107 bytes long, this one is 108\n" +
			"3:165: server \"unix:/a\\x00\": the path of a Unix socket cannot hold a zero byte",
	},
	{
		"loop through every address",
		listenLine + "backends:\n  shop: {servers: [127.0.0.1:443, 127.9.9.9:443, \"[::1]:443\", localhost:443, Localhost.:443, \"[::ffff:127.0.0.1]:443\"]}\n" + routesLine,
		"3:20: server \"127.0.0.1:443\": would connect the edge to itself, it listens on \":443\"; name the origin's own address or another port\n" +
			"3:35: server \"127.9.9.9:443\": would connect the edge to itself, it listens on \":443\"; name the origin's own address or another port\n" +
			"3:50: server \"[::1]:443\": would connect the edge to itself, it listens on \":443\"; name the origin's own address or another port\n" +
			"3:63: server \"localhost:443\": would connect the edge to itself, it listens on \":443\"; name the origin's own address or another port\n" +
			"3:78: server \"Localhost.:443\": would connect the edge to itself, it listens on \":443\"; name the origin's own address or another port\n" +
			"3:94: server \"[::ffff:127.0.0.1]:443\": would connect the edge to itself, it listens on \":443\"; name the origin's own address or another port",
	},
	{
		"loop through every IPv4 address",
		"listen: [{address: \"0.0.0.0:443\"}]\nbackends: {shop: {servers: [127.0.0.1:443, \"[::1]:443\", localhost:443]}}\n" + routesLine,
		"2:29: server \"127.0.0.1:443\": would connect the edge to itself, it listens on \"0.0.0.0:443\"; name the origin's own address or another port\n" +
			"2:57: server \"localhost:443\": would connect the edge to itself, it listens on \"0.0.0.0:443\"; name the origin's own address or another port",
	},
	{
		"loop through every IPv6 address",
		"listen: [{address: \"[::]:443\"}, {address: \"192.0.2.1:443\"}]\nbackends: {shop: {servers: [127.0.0.1:443, \"[::1]:443\", localhost:443]}}\n" + routesLine,
		"2:44: server \"[::1]:443\": would connect the edge to itself, it listens on \"[::]:443\"; name the origin's own address or another port\n" +
			"2:57: server \"localhost:443\": would connect the edge to itself, it listens on \"[::]:443\"; name the origin's own address or another port",
	},
	{
		"loop through [::] alone",
		"listen: [{address: \"[::]:443\"}]\nbackends: {shop: {servers: [127.0.0.1:443, \"[::1]:443\"]}}\n" + routesLine,
		"2:29: server \"127.0.0.1:443\": would connect the edge to itself, it listens on \"[::]:443\"; name the origin's own address or another port\n" +
			"2:44: server \"[::1]:443\": would connect the edge to itself, it listens on \"[::]:443\"; name the origin's own address or another port",
	},
	{
		"loop through an address",
		"listen: [{address: \"192.0.2.1:443\"}, {address: \"127.0.0.1:444\"}, {address: edge.example:445}, {address: localhost:446}]\nbackends: {shop: {servers: [192.0.2.1:443, localhost:444, Edge.example.:445, 127.0.0.1:446, 127.0.0.2:446]}}\n" + routesLine,
		"2:29: server \"192.0.2.1:443\": would connect the edge to itself, it listens on \"192.0.2.1:443\"; name the origin's own address or another port\n" +
			"2:44: server \"localhost:444\": would connect the edge to itself, it listens on \"127.0.0.1:444\"; name the origin's own address or another port\n" +
			"2:59: server \"Edge.example.:445\": would connect the edge to itself, it listens on \"edge.example:445\"; name the origin's own address or another port\n" +
			"2:78: server \"127.0.0.1:446\": would connect the edge to itself, it listens on \"localhost:446\"; name the origin's own address or another port",
	},
}

// Ten thousand routes that name missing backends do not take minutes.
func TestSuggestionsAreBounded(t *testing.T) {
	d := newDecoder("k.yaml", Source{})
	d.names = make([]string, 1<<18)
	for i := range d.names {
		d.names[i] = "b"
	}
	d.names[0] = "shop"
	for i := range 5 {
		d.unknownBackend(&yaml.Node{Line: i + 1}, "shpo")
	}
	for i, p := range d.Problems() {
		want := `unknown backend "shpo", did you mean "shop"?`
		if i == 4 {
			want = `unknown backend "shpo"`
		}
		if p.Message != want {
			t.Errorf("problem %d = %q, want %q", i, p.Message, want)
		}
	}
}
