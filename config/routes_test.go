package config

import (
	"slices"
	"strconv"
	"testing"
)

func TestRouteProblems(t *testing.T) { checkProblems(t, routeCases) }

var routeCases = []problemCase{
	{
		"mapping",
		listenLine + "routes: {a: b}\n",
		"2:9: `routes` must be a list, got a mapping",
	},
	{
		"nothing",
		listenLine + "routes:\n",
		"2:8: `routes` must be a list, got nothing",
	},
	{
		"empty",
		listenLine + "routes: []\n",
		"2:9: no route has a backend, and neither has `default` or `no_sni`, so that no connection could be forwarded",
	},
	{
		"elements",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - x\n  - ~\n  - [a]\n",
		"4:5: a route must be a mapping such as {sni: shop.example.com, backend: shop}, got \"x\"\n" +
			"5:5: a route must be a mapping such as {sni: shop.example.com, backend: shop}, got nothing\n" +
			"6:5: a route must be a mapping such as {sni: shop.example.com, backend: shop}, got a list",
	},
	{
		"missing keys",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {backend: shop}\n  - {sni: a.example}\n  - {}\n",
		"4:5: missing key `sni`\n" +
			"5:5: missing key `backend` or `reject`\n" +
			"6:5: missing key `sni`\n" +
			"6:5: missing key `backend` or `reject`",
	},
	{
		"misspelt key is one problem",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: m.example, bakend: shop}\n",
		"4:22: unknown key `bakend`, did you mean `backend`?",
	},
	{
		"unknown key",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: m.example, backend: shop, priority: 1}\n",
		"4:37: unknown key `priority`, want one of `sni`, `listen`, `from`, `matching`, `alpn`, `backend`, `sticky`, `allow`, `deny`, `ja4`, `idle_timeout`, `keepalive`, `reject`",
	},
	{
		"duplicate key",
		listenLine + "routes:\n  - sni: a.example\n    backend: 10.0.0.9:1\n    sni: b.example\n",
		"5:5: duplicate key `sni`, first on line 3",
	},
	{
		"unknown backends",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: shpo}\n  - {sni: b.example, backend: warehouse}\n  - {sni: c.example, backend: origin.internal}\n  - {sni: d.example, backend: shop_eu}\n",
		"4:31: unknown backend \"shpo\", did you mean \"shop\"?\n" +
			"5:31: unknown backend \"warehouse\"\n" +
			"6:31: unknown backend \"origin.internal\"; if it is an address, add its port: \"origin.internal:443\"\n" +
			"7:31: unknown backend \"shop_eu\", did you mean \"shop-eu\"?",
	},
	{
		"inline addresses",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: 10.0.0.5}\n  - {sni: b.example, backend: \"::1\"}\n  - {sni: c.example, backend: \"unix:run/x\"}\n  - {sni: d.example, backend: \"10.0.0.5:0\"}\n  - {sni: e.example, backend: \":443\"}\n",
		"4:31: backend \"10.0.0.5\": missing port, did you mean 10.0.0.5:443?\n" +
			"5:31: backend \"::1\": an IPv6 address needs brackets and a port, did you mean [::1]:443?\n" +
			"6:31: backend \"unix:run/x\": the path of a Unix socket must be absolute, such as unix:/run/origin.sock\n" +
			"7:31: backend \"10.0.0.5:0\": port 0 cannot be connected to, want 1 to 65535\n" +
			"8:31: backend \":443\": missing host, write 127.0.0.1:443 for this machine",
	},
	{
		"inline loop",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: \"127.0.0.1:443\"}\n  - {sni: b.example, backend: \"localhost:443\"}\n",
		"4:31: backend \"127.0.0.1:443\": would connect the edge to itself, it listens on \":443\"; name the origin's own address or another port\n" +
			"5:31: backend \"localhost:443\": would connect the edge to itself, it listens on \":443\"; name the origin's own address or another port",
	},
	{
		"backend types",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: }\n  - {sni: b.example, backend: {shop: 1}}\n  - {sni: c.example, backend: \"\"}\n",
		"4:31: `backend` has no value\n" +
			"5:31: `backend` must be a name, an address or a list of them, got a mapping\n" +
			"6:31: `backend` is empty",
	},
	{
		"empty lists",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: [], backend: shop, alpn: [], allow: []}\n",
		"4:11: `sni` is an empty list\n" +
			"4:36: `alpn` is an empty list\n" +
			"4:47: `allow` is an empty list",
	},
	{
		"list types",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: {a: b}, backend: shop, alpn: [[h2]], allow: [~]}\n",
		"4:11: `sni` must be a list, got a mapping\n" +
			"4:41: `alpn` must be a single value, got a list\n" +
			"4:56: `allow` has no value",
	},
	{
		"alpn",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: shop, alpn: [h2, \"\", h2, \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"]}\n",
		"4:48: `alpn` is empty\n" +
			"4:52: duplicate protocol \"h2\" in one route\n" +
			"4:56: alpn \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"...: a protocol is at most 255 bytes long, this one is 256",
	},
	{
		"allow",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: shop, allow: [192.0.2.1/24, x, 10.0.0.0/33, \"fe80::1%eth0\", \"::ffff:192.0.2.1/120\"]}\n",
		"4:45: allow \"192.0.2.1/24\": has bits set beyond its length, did you mean \"192.0.2.0/24\"?\n" +
			"4:59: allow \"x\": not an address or a network, write 192.0.2.7 or 192.0.2.0/24\n" +
			"4:62: allow \"10.0.0.0/33\": not an address or a network, write 192.0.2.7 or 192.0.2.0/24\n" +
			"4:75: allow \"fe80::1%eth0\": not an address or a network, write 192.0.2.7 or 192.0.2.0/24\n" +
			"4:91: allow \"::ffff:192.0.2.1/120\": has bits set beyond its length, did you mean \"192.0.2.0/24\"?",
	},
	{
		"idle_timeout and reject",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: shop, idle_timeout: 5, reject: drop}\n  - {sni: b.example, backend: shop, idle_timeout: 0s, reject: rest}\n",
		"4:51: bad duration \"5\" for `idle_timeout`, did you mean \"5s\"?\n" +
			"4:62: unknown value \"drop\" for `reject`, want one of \"alert\", \"close\", \"reset\", \"silence\"\n" +
			"5:51: `idle_timeout` must be above 0s and at most 720h, got \"0s\"\n" +
			"5:63: unknown value \"rest\" for `reject`, did you mean \"reset\"?",
	},
	{
		"reject inherit is no word",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: shop, reject: inherit}\n",
		"4:45: unknown value \"inherit\" for `reject`, want one of \"alert\", \"close\", \"reset\", \"silence\"",
	},
	{
		"duplicate route",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: shop}\n  - {sni: [b.example, A.Example.], backend: shop-eu}\n",
		`5:23: "a.example" is already routed on line 4`,
	},
	{
		"duplicate wildcard",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: \"*.a.example\", backend: shop}\n  - {sni: \"**.a.example\", backend: shop}\n  - {sni: \"**.A.example\", backend: shop}\n",
		`6:11: "**.a.example" is already routed on line 5`,
	},
	{
		"overlapping alpn",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, alpn: h2, backend: shop}\n  - {sni: a.example, alpn: [http/1.1, h2], backend: shop}\n",
		`5:11: "a.example" with alpn "h2" is already routed on line 4`,
	},
	{
		"duplicate name in one route",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: [z.example, Z.example], backend: shop}\n",
		`4:23: duplicate name "z.example" in one route`,
	},
	{
		"conflict beside another problem",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: nope}\n  - {sni: a.example, backend: shop}\n",
		"4:31: unknown backend \"nope\"\n" +
			"5:11: \"a.example\" is already routed on line 4",
	},
	{
		"rejecting route with keys for clients that are let through",
		listenLine + "routes:\n  - {sni: a.example, reject: reset, alpn: h2, allow: 192.0.2.0/24, idle_timeout: 5s, keepalive: off}\n  - {sni: b.example, backend: \"10.0.0.5:443\"}\n",
		"3:47: `allow` has no effect without a backend, every client is rejected\n" +
			"3:68: `idle_timeout` has no effect without a backend, every client is rejected\n" +
			"3:86: `keepalive` has no effect without a backend, every client is rejected",
	},
	{
		"a rejecting route takes its names from others",
		listenLine + "routes:\n  - {sni: a.example, reject: alert}\n  - {sni: a.example, backend: \"10.0.0.5:443\"}\n",
		`4:11: "a.example" is already routed on line 3`,
	},
	{
		"misspelt backend beside reject is one problem",
		listenLine + "routes:\n  - {sni: a.example, bakend: shop, reject: reset, allow: 192.0.2.0/24}\n",
		"3:22: unknown key `bakend`, did you mean `backend`?",
	},
	{
		"unreadable reject without a backend is one problem",
		listenLine + "routes:\n  - {sni: a.example, reject: alarm, allow: 192.0.2.0/24}\n",
		"3:30: unknown value \"alarm\" for `reject`, want one of \"alert\", \"close\", \"reset\", \"silence\"",
	},
	{
		"unreadable alpn is one problem",
		listenLine + "routes:\n  - {sni: a.example, alpn: [\"\"], backend: \"10.0.0.5:443\"}\n  - {sni: a.example, backend: \"10.0.0.5:443\"}\n",
		"3:29: `alpn` is empty",
	},
	{
		"misspelt default is one problem",
		listenLine + "routes: []\ndefualt: {backend: \"10.0.0.5:443\"}\n",
		"3:1: unknown key `defualt`, did you mean `default`?",
	},
	{
		"every route rejects",
		listenLine + "routes: [{sni: a.example, reject: alert}]\ndefault: {reject: close}\n",
		"2:9: no route has a backend, and neither has `default` or `no_sni`, so that no connection could be forwarded",
	},
	{
		"default is a word",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: shop}\ndefault: shop\n",
		"5:10: `default` must be a mapping such as {reject: alert}, got \"shop\"",
	},
	{
		"default is empty",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: shop}\ndefault: {}\n",
		"5:10: missing key `reject` or `backend`",
	},
	{
		"no_sni values",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: shop}\nno_sni: {reject: allert, backend: shp, sni: x}\n",
		"5:18: unknown value \"allert\" for `reject`, did you mean \"alert\"?\n" +
			"5:35: unknown backend \"shp\", did you mean \"shop\"?\n" +
			"5:40: unknown key `sni`: it has no names; write a route for them",
	},
	{
		"no_sni is empty",
		listenLine + "routes: [{sni: a.example, backend: \"10.0.0.5:443\"}]\nno_sni: {}\n",
		"3:9: missing key `reject` or `backend`",
	},
	{
		"no_sni is a word",
		listenLine + "routes: [{sni: a.example, backend: \"10.0.0.5:443\"}]\nno_sni: kube\n",
		"3:9: `no_sni` must be a mapping such as {reject: alert}, got \"kube\"",
	},
	{
		"unreadable backend of default is one problem",
		listenLine + "routes: []\ndefault: {backend: nope}\n",
		"3:20: unknown backend \"nope\"",
	},
	{
		"unreadable backend of no_sni is one problem",
		listenLine + "routes: []\nno_sni: {backend: {10.0.0.5:443}}\n",
		"3:19: `backend` must be a name, an address or a list of them, got a mapping",
	},
	{
		"default values",
		listenLine + "backends: {shop: {servers: [10.0.0.5:443]}, shop-eu: {servers: [10.0.1.5:443]}}\nroutes:\n  - {sni: a.example, backend: shop}\ndefault: {reject: allert, backend: shp, sni: x}\n",
		"5:19: unknown value \"allert\" for `reject`, did you mean \"alert\"?\n" +
			"5:36: unknown backend \"shp\", did you mean \"shop\"?\n" +
			"5:41: unknown key `sni`: it has no names; write a route for them",
	},
}

func TestSet(t *testing.T) {
	var s set
	var want []string
	for i := range 100 {
		w := strconv.Itoa(i)
		want = append(want, w)
		if !s.add(w) {
			t.Errorf("add(%q) = false, want true", w)
		}
		for _, old := range []string{"0", strconv.Itoa(i / 2), w} {
			if s.add(old) {
				t.Errorf("add(%q) again, after %d, = true, want false", old, i)
			}
		}
	}
	if !slices.Equal(s.list, want) {
		t.Errorf("list = %q, want %q", s.list, want)
	}
}
