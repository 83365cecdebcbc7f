package convert

import (
	"reflect"
	"testing"
)

const (
	nginxHead = "stream { upstream a { server 10.0.0.1:443; } upstream b { server 10.0.0.2:443; } upstream c { server 10.0.0.3:443; }\n"
	nginxTail = "\nserver { listen 443; ssl_preread on; proxy_pass $up; } }"
	nameMap   = "map $ssl_preread_server_name $up {\n"
)

// nginxRules are maps, and the routes that come of them.
var nginxRules = []conversion{
	{name: "exact", text: nameMap + "x.example a; }", want: goesToA},
	{name: "quotes", text: nameMap + "'X.example' \"a\"; # one\n}", want: goesToA},
	{name: "default", text: nameMap + "x.example b; default a; }", want: "  - {sni: x.example, backend: b}\ndefault: {backend: a}\n"},
	{name: "no name", text: nameMap + "\"\" b; default a; }", want: "default: {backend: a}\nno_sni: {backend: b}\n"},
	{name: "no name, escaped", text: nameMap + "'' b; \\default.example c; default a; }",
		want: "  - {sni: default.example, backend: c}\ndefault: {backend: a}\nno_sni: {backend: b}\n"},
	{name: "any depth", text: nameMap + "hostnames; *.x.example a; }", want: "  - {sni: \"**.x.example\", backend: a}\n"},
	{name: "name and below", text: nameMap + "hostnames; .x.example a; }", want: "  - {sni: [x.example, \"**.x.example\"], backend: a}\n"},
	{name: "exact goes before stars", text: nameMap + "hostnames; *.example a; *.s.example b; x.s.example c; }",
		want: "  - {sni: x.s.example, backend: c}\n  - {sni: \"**.s.example\", backend: b}\n  - {sni: \"**.example\", backend: a}\n"},
	{name: "stars without hostnames", text: nameMap + "*.x.example b; .y.example b; x.example a; }", want: goesToA,
		notes: []string{"f:3: *.x.example: without `hostnames`", "f:3: .y.example: without"}},
	{name: "star behind", text: nameMap + "hostnames; www.* b; x.example a; }", want: goesToA + "  - {sni: \"**\", matching: \"www\\\\..+\", backend: b}\n"},
	{name: "star within", text: nameMap + "hostnames; www.*.example b; x.example a; }", want: goesToA, notes: []string{"www.*.example: a star within a name has no equal"}},
	{name: "regular expressions go last", text: nameMap + "~\\.example$ b; ~^x\\.example$ c; x.example a; }", want: "  - {sni: x.example, backend: a}\n  - {sni: \"**.example\", backend: b}\n"},
	{name: "odd expression", text: nameMap + "~^sbx-[0-9]+\\.example$ b; x.example a; }", want: goesToA + "  - {sni: \"**.example\", matching: \"sbx-[0-9]+\", backend: b}\n  - {sni: \"**.example\", reject: alert}\n"},
	{name: "include", text: nameMap + "include names.d/*.conf; default b; }", files: given{"names.d/a.conf": "x.example a;\n"},
		want: "  - {sni: x.example, backend: a}\ndefault: {backend: b}\n"},
	{name: "no file", text: nameMap + "include names.map; x.example a; }", want: goesToA, notes: []string{"f:3: open names.map"}},
	{name: "addresses", text: nameMap + "x.example 10.0.0.9:443; y.example origin.internal:8443; z.example unix:/run/z; w.example 10.0.0.9:443; }",
		want: "  - {sni: [x.example, w.example], backend: 10.0.0.9:443}\n  - {sni: y.example, backend: \"origin.internal:8443\"}\n  - {sni: z.example, backend: \"unix:/run/z\"}\n"},
	{name: "the name itself", text: "map $ssl_preread_server_name $up { x.example a; default $ssl_preread_server_name:$server_port; }", want: "  - {sni: x.example, backend: a}\ndefault: {backend: \"{sni}:listen\"}\n",
		notes: []string{"f:2: $ssl_preread_server_name:$server_port: private addresses"}},
	{name: "not an address", text: nameMap + "x.example a; y.example nowhere; }", want: "  - {sni: x.example, backend: a}\n",
		notes: []string{"f:3: server nowhere: missing port"}},
	{name: "map of a map", text: "map $ssl_preread_server_name $one { x.example $two; default b; }\nmap $ssl_preread_alpn_protocols $up0 { acme-tls/1 c; default a; }\nmap $ssl_preread_server_name $up { x.example $up0; default $one; }",
		want:  "  - {sni: x.example, alpn: acme-tls/1, backend: c}\n  - {sni: x.example, backend: a}\ndefault: {backend: b}\n",
		notes: []string{"f:2: $two: only a variable"}},
	{name: "circle", text: "map $ssl_preread_server_name $up { x.example a; default $up; }", want: goesToA, notes: []string{"f:2: $up: only a variable of a `map`"}},
	{name: "unknown variable", text: nameMap + "x.example a; default $host; }", want: goesToA, notes: []string{"f:3: $host: only a variable of a `map`"}},
	{name: "other source", text: nameMap + "x.example a; default $p; }\nmap $remote_addr $p { default b; }", want: goesToA,
		notes: []string{"f:4: map $remote_addr: Keyhole decides by"}},
	{name: "no TLS", text: nameMap + "x.example a; default $p; }\nmap $ssl_preread_protocol $p { '' c; default b; }", want: "listen:\n  - {address: \":443\", not_tls: [{backend: c}]}\nbackends:\n"},
	{name: "only these versions", text: "map $ssl_preread_protocol $up { default c; TLSv1.2 $n; TLSv1.3 $n; }\nmap $ssl_preread_server_name $n { x.example a; }", want: "listen:\n  - {address: \":443\", not_tls: [{backend: c}]}\nbackends:\n"},
	{name: "versions apart", text: "map $ssl_preread_protocol $up { default c; TLSv1.2 b;\n TLSv1.3 a; }", want: "default: {backend: b}\n",
		notes: []string{"f:3: TLSv1.3: Keyhole does not tell"}},
	{name: "any version of TLS", text: nameMap + "x.example a; default $p; }\nmap $ssl_preread_protocol $p { default b; }", want: goesToA + "default: {backend: b}\n"},
	{name: "part of a value", text: "map $ssl_preread_server_name $host { x.example 10.0.0.9; }\nmap $ssl_preread_server_name $up { default $host:8443; }", want: "  - {sni: x.example, backend: 10.0.0.9:8443}\n"},
	{name: "alpn", text: "map $ssl_preread_server_name $up { x.example $p; }\nmap $ssl_preread_alpn_protocols $p { ~\\bacme-tls/1\\b b; default a; }",
		want: "  - {sni: x.example, alpn: acme-tls/1, backend: b}\n  - {sni: x.example, backend: a}\n"},
	{name: "h2", text: "map $ssl_preread_server_name $up { x.example $p; }\nmap $ssl_preread_alpn_protocols $p { ~h2 b; default a; }",
		want:  "  - {sni: x.example, alpn: h2, backend: b}\n  - {sni: x.example, backend: a}\n",
		notes: []string{"~h2: nginx compares the whole list"}},
}

func TestNginxRules(t *testing.T) {
	for _, c := range nginxRules {
		t.Run(c.name, func(t *testing.T) { c.check(t, Nginx, nginxHead+c.text+nginxTail) })
	}
}

const nginxServer = "stream {\nmap $ssl_preread_server_name $up { x.example a; }\nserver { listen 443; ssl_preread on; proxy_pass $up; }\n"

var nginxFiles = []conversion{
	{name: "servers", text: nginxServer + "upstream a { least_conn; server 10.0.0.1:443 weight=5 max_conns=10;\n server origin.internal:443 backup max_conns=10; }}",
		want: "backends:\n  a:\n    servers:\n      - {address: \"10.0.0.1:443\", weight: 5}\n      - {address: \"origin.internal:443\", backup: true}\n    balance: least_connections\n    max_connections: 10\n"},
	{name: "a path like a variable", text: "stream { server { listen 443; ssl_preread on; proxy_pass u; } upstream u { server 'unix:/run/${X}'; } }",
		want: "backends:\n  u:\n    servers: [\"unix:/run/$${X}\"]\n"},
	{name: "hash", text: nginxServer + "upstream a { hash $remote_addr consistent; server [2001:db8::1]:443; server unix:/run/s; }}",
		want: "backends:\n  a:\n    servers: [\"[2001:db8::1]:443\", \"unix:/run/s\"]\n    balance: client_hash\n"},
	{name: "random", text: nginxServer + "upstream a { random two; server 10.0.0.1:443; }}", want: "backends:\n  a:\n    servers: [10.0.0.1:443]\n    balance: random_two\n"},
	{name: "left out", text: nginxServer + "upstream a { server 10.0.0.1:443;\n server 10.0.0.2:443 down;\n server 10.0.0.3:443 max_fails=3; hash $server_port; }}",
		want:  "backends:\n  a:\n    servers: [10.0.0.1:443, 10.0.0.3:443]\n",
		notes: []string{"f:5: server 10.0.0.2:443: is down", "f:6: server 10.0.0.3:443: max_fails: servers are not ejected", "f:6: hash $server_port"}},
	{name: "times", text: "stream { proxy_timeout 1h30m; server { listen 443; ssl_preread on; proxy_connect_timeout 3; preread_timeout 500ms; proxy_pass 10.0.0.1:443; } }",
		want: "timeouts: {hello: 500ms, connect: 3s, idle: 1h30m}\n"},
	{name: "addresses", text: "stream { server { listen 443 reuseport; listen [::]:443 ipv6only=on; listen 10.0.0.9:8443; ssl_preread on; proxy_pass 10.0.0.1:443; } }",
		want: "listen:\n  - {address: \":443\"}\n  - {address: \"10.0.0.9:8443\"}\nroutes: []\ndefault: {backend: 10.0.0.1:443}\n"},
	{name: "access", text: "stream { server { listen 443; ssl_preread on; allow 10.0.0.0/8; allow 192.0.2.7; deny all; proxy_pass 10.0.0.1:443; } }",
		want: "listen:\n  - {address: \":443\", allow: [10.0.0.0/8, 192.0.2.7/32]}\n"},
	{name: "denied", text: "stream { deny 10.0.0.0/8; server { listen 443; ssl_preread on; proxy_pass 10.0.0.1:443; } }",
		want: "listen:\n  - {address: \":443\", deny: 10.0.0.0/8}\n"},
	{name: "two servers", text: nginxServer + "server { listen 993; ssl_preread on; proxy_pass b; } upstream a { server 10.0.0.1:443; } upstream b { server 10.0.0.1:993; }}",
		want: "listen:\n  - {name: port-443, address: \":443\"}\n  - {name: port-993, address: \":993\", default: {backend: b}}\n"},
	{name: "PROXY headers", text: "stream { set_real_ip_from 10.0.0.0/24; upstream u { server 10.0.0.1:443; }\n server { listen 443 proxy_protocol; listen 8443; ssl_preread on; proxy_protocol on; proxy_pass u; }\n server { listen 993; ssl_preread on; proxy_pass u; } }",
		want: "listen:\n  - {name: port-443, address: \":443\", proxy_protocol_from: 10.0.0.0/24, default: {backend: u-proxy}}\n  - {name: port-443-2, address: \":8443\", default: {backend: u-proxy}}\n" +
			"  - {name: port-993, address: \":993\", default: {backend: u}}\nbackends:\n  u:\n    servers: [10.0.0.1:443]\n  u-proxy:\n    servers: [10.0.0.1:443]\n    proxy_protocol: v1\n",
		notes: []string{"f:2: listen proxy_protocol: nginx takes a header from others"}},
	{name: "PROXY header to an address", text: "stream { server { listen 443; ssl_preread on; proxy_protocol on; proxy_pass 10.0.0.1:443; } }",
		want: "backends:\n  \"10.0.0.1-443-proxy\":\n    servers: [10.0.0.1:443]\n    proxy_protocol: v1\n"},
	{name: "no TLS", text: "stream { server { listen 25; proxy_pass 10.0.0.1:25; } }", want: "listen:\n  - {address: \":25\", protocol: tcp, backend: 10.0.0.1:25}\n"},
	{name: "a protocol without preread", text: "map $ssl_preread_protocol $up { '' 10.0.0.1:22; default 10.0.0.1:443; }\nserver { listen 443; proxy_pass $up; }", want: "listen:\n  - {address: \":443\", protocol: tcp, backend: 10.0.0.1:22}\n"},
	{name: "a part", text: "map $ssl_preread_server_name $up { x.example 10.0.0.1:443; }\nserver { listen 443; ssl_preread on; proxy_pass $up; }\n",
		want: "  - {sni: x.example, backend: 10.0.0.1:443}\n"},
	{name: "HTTP", text: "http { server { listen 80; } }\n" + nginxServer + "upstream a { server 10.0.0.1:443; }}", want: goesToA, notes: []string{"f:1: http: Keyhole passes"}},
	{name: "brace too many", text: nginxServer + "upstream a { server 10.0.0.1:443; }}}", want: goesToA},
	{name: "no end", text: nginxServer + "upstream a { server 10.0.0.1:443; }} user", want: goesToA, notes: []string{"f:4: user: has no end"}},
	{name: "circle of files", text: "include f;\n", files: given{"f": "include f;\n"}},
	{name: "unknown", text: nginxServer + "upstream a { server 10.0.0.1:443; }\nsplit_clients $remote_addr $x { 1% a; }\n}", want: goesToA, notes: []string{"f:5: split_clients $remote_addr $x: has no equal"}},
}

func TestNginxFiles(t *testing.T) {
	for _, c := range nginxFiles {
		t.Run(c.name, func(t *testing.T) { c.check(t, Nginx, c.text) })
	}
}

func TestLexNginx(t *testing.T) {
	for text, want := range map[string][]directive{
		"a b;":                    {{place{"f", 1}, []string{"a", "b"}, nil}},
		"# x\na 'b c' \"d\\\"\";": {{place{"f", 2}, []string{"a", "b c", `d"`}, nil}},
		"a {\n b ~^x\\.y$;\n}":    {{place{"f", 1}, []string{"a"}, []directive{{place{"f", 2}, []string{"b", `~^x\.y$`}, nil}}}},
		"a ${b}c;":                {{place{"f", 1}, []string{"a", "${b}c"}, nil}},
		"a \"x{2}\" ''; }":        {{place{"f", 1}, []string{"a", "x{2}", ""}, nil}},
		"a":                       nil,
		"a \"":                    nil,
		"{}};;":                   nil,
	} {
		got, err := (&nginxLexer{notes: &notes{}}).parse("f", text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parse(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}
