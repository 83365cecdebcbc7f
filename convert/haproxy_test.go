package convert

import "testing"

const (
	haproxyHead = "defaults\n mode tcp\nfrontend tls\n bind :443\n"
	haproxyTail = "\nbackend a\n server s 10.0.0.1:443\nbackend b\n server s 10.0.0.2:443\nbackend c\n server s 10.0.0.3:443\n"
)

const goesToA = "  - {sni: x.example, backend: a}\n"

// haproxyRules are lines of a frontend, and the routes that come of them.
var haproxyRules = []conversion{
	{name: "exact", text: "use_backend a if { req.ssl_sni -i X.example }", want: goesToA},
	{name: "old fetch", text: "use_backend a if { req_ssl_sni x.example }", want: goesToA},
	{name: "lower", text: "use_backend a if { req.ssl_sni,lower -m str x.example }", want: goesToA},
	{name: "acl", text: "acl x req.ssl_sni -i x.example\nuse_backend a if x", want: goesToA},
	{name: "acl of two lines", text: "acl x req.ssl_sni x.example\nacl x req.ssl_sni -m end .x.example\nuse_backend a if x",
		want: "  - {sni: [x.example, \"**.x.example\"], backend: a}\n"},
	{name: "or", text: "use_backend a if { req.ssl_sni x.example } || { req.ssl_sni y.example } or { req.ssl_sni z.example }",
		want: "  - {sni: [x.example, y.example, z.example], backend: a}\n"},
	{name: "hello", text: "acl tls req.ssl_hello_type 1\nuse_backend a if tls { req.ssl_sni x.example }", want: goesToA},
	{name: "but not", text: "acl all req.ssl_sni -m end .example\nuse_backend a if all !{ req.ssl_sni b.example }",
		want: "  - {sni: \"**.example\", backend: a}\n  - {sni: b.example, reject: alert}\n"},
	{name: "unless", text: "use_backend a unless { req.ssl_sni b.example }",
		want: "  - {sni: b.example, reject: alert}\ndefault: {backend: a}\n"},
	{name: "found", text: "use_backend a if { req.ssl_sni -m found }", want: "default: {backend: a}\nno_sni: {reject: alert}\n"},
	{name: "not found", text: "use_backend a if !{ req.ssl_sni -m found }\ndefault_backend b", want: "default: {backend: b}\nno_sni: {backend: a}\n"},

	// The first line decides there, the narrowest pattern here.
	{name: "wide before narrow", text: "use_backend a if { req.ssl_sni -m end .example }\nuse_backend b if { req.ssl_sni x.example }",
		want: "  - {sni: \"**.example\", backend: a}\n"},
	{name: "narrow before wide", text: "use_backend b if { req.ssl_sni x.example }\nuse_backend a if { req.ssl_sni -m end .example }",
		want: "  - {sni: x.example, backend: b}\n  - {sni: \"**.example\", backend: a}\n"},
	{name: "between", text: "use_backend a if { req.ssl_sni -m end .s.example }\nuse_backend b if { req.ssl_sni -m reg ^[^.]+\\.s\\.example$ }\nuse_backend c if { req.ssl_sni -m end .example }",
		want: "  - {sni: \"**.s.example\", backend: a}\n  - {sni: \"**.example\", backend: c}\n"},

	{name: "end without a dot", text: "use_backend a if { req.ssl_sni -m end x.example }",
		want: "  - {sni: [x.example, \"**.x.example\"], backend: a}\n", notes: []string{"f:5: -m end x.example takes names without a dot before it too, such as notx.example"}},
	{name: "dom", text: "use_backend a if { req.ssl_sni -m dom x.example }",
		want: "  - {sni: [x.example, \"**.x.example\"], backend: a}\n", notes: []string{"x.example.example.org"}},
	{name: "sub", text: "use_backend a if { req.ssl_sni -m sub x }\ndefault_backend b", want: "  - {sni: \"**\", matching: \".*x.*\", backend: a}\ndefault: {backend: b}\n"},
	{name: "beg", text: "use_backend a if { req.ssl_sni -m beg www. }\nuse_backend b if { req.ssl_sni www.x.example x.example }\ndefault_backend c",
		want: "  - {sni: www.x.example, backend: a}\n  - {sni: x.example, backend: b}\n  - {sni: \"**\", matching: \"www\\\\..*\", backend: a}\ndefault: {backend: c}\n"},
	{name: "beg before a suffix", text: "use_backend a if { req.ssl_sni -m beg www. }\nuse_backend b if { req.ssl_sni -m end .x.example }",
		want:  "  - {sni: \"**.x.example\", backend: b}\n  - {sni: \"**\", matching: \"www\\\\..*\", backend: a}\n",
		notes: []string{"f:5: **.x.example: an expression decides for a part"}},
	{name: "len", text: "use_backend a if { req.ssl_sni -m len 3 }\ndefault_backend b", want: "default: {backend: b}\n",
		notes: []string{"f:5: -m len 3: no pattern says this"}},
	{name: "expressions", text: "use_backend a if { req.ssl_sni -m reg ^sbx-[0-9]+\\.example$ ^old[0-9]{2}\\.example$ }\nuse_backend b if { req.ssl_sni -m reg ^[a-z]+[0-9]+\\.example$ }\nuse_backend c if { req.ssl_sni -m end .example }",
		want: "  - {sni: \"**.example\", matching: \"sbx-[0-9]+|old[0-9]{2}\", backend: a}\n  - {sni: \"**.example\", matching: \"[a-z]+[0-9]+\", backend: b}\n  - {sni: \"**.example\", backend: c}\n"},
	{name: "no expression", text: "use_backend a if { req.ssl_sni -m reg ^(?=x) }\ndefault_backend b", want: "default: {backend: b}\n",
		notes: []string{"f:5: regular expression ^(?=x): error parsing"}},
	{name: "star", text: "use_backend a if { req.ssl_sni *.x.example }\ndefault_backend b", want: "default: {backend: b}\n",
		notes: []string{"did you mean -m end .x.example?"}},

	{name: "list", text: "use_backend a if { req.ssl_sni -f names.lst }", files: given{"names.lst": "# names\nx.example\n\n y.example \n"},
		want: "  - {sni: [x.example, y.example], backend: a}\n"},
	{name: "no list", text: "use_backend a if { req.ssl_sni -f names.lst }\ndefault_backend b", want: "default: {backend: b}\n",
		notes: []string{"f:5: open names.lst"}},
	{name: "map", text: "use_backend %[req.ssl_sni,lower,map(x.map,c)]", files: given{"x.map": "x.example a\ny.example  b\nz.example a\n"},
		want: "  - {sni: [x.example, z.example], backend: a}\n  - {sni: y.example, backend: b}\ndefault: {backend: c}\nno_sni: {reject: alert}\n"},
	{name: "map_end", text: "use_backend %[req.ssl_sni,lower,map_end(x.map)]\ndefault_backend c",
		files: given{"x.map": ".s.example a\n.example b\nt.s.example c\n"},
		want:  "  - {sni: \"**.s.example\", backend: a}\n  - {sni: \"**.example\", backend: b}\ndefault: {backend: c}\n",
		notes: []string{"x.map:3: -m end t.s.example takes names without a dot"}},
	{name: "map of unknown backends", text: "use_backend %[req.ssl_sni,map(x.map)]\ndefault_backend c", files: given{"x.map": "x.example nowhere\n"},
		want: "default: {backend: c}\n"},
	{name: "map with a part of a name", text: "use_backend %[req.ssl_sni,map(x.map)]a", files: given{"x.map": "x.example \n"},
		want: goesToA},

	{name: "alpn", text: "use_backend b if { req.ssl_alpn acme-tls/1 } { req.ssl_sni x.example }\nuse_backend a if { req.ssl_sni x.example }",
		want: "  - {sni: x.example, alpn: acme-tls/1, backend: b}\n  - {sni: x.example, backend: a}\n"},
	{name: "accept hellos", text: "tcp-request inspect-delay 5s\ntcp-request content accept if { req_ssl_hello_type 1 }\ntcp-request content reject\nuse_backend a if { req.ssl_sni x.example }",
		want: goesToA},
	{name: "reject", text: "tcp-request content reject if { req.ssl_sni b.x.example }\nuse_backend a if { req.ssl_sni -m end .x.example }",
		want: "  - {sni: b.x.example, reject: alert}\n  - {sni: \"**.x.example\", backend: a}\n"},
	{name: "accept some", text: "tcp-request content accept if { req.ssl_sni x.example }\ntcp-request content reject if TRUE\ndefault_backend a",
		want: goesToA},
	{name: "allow", text: "acl in src 10.0.0.0/8\ntcp-request content reject if { req.ssl_sni x.example } !in\nuse_backend a if { req.ssl_sni x.example }",
		want: "  - {sni: x.example, allow: 10.0.0.0/8, backend: a}\n"},
	{name: "deny", text: "tcp-request content reject if { req.ssl_sni x.example } { src 10.9.0.0/16 }\nuse_backend a if { req.ssl_sni x.example }",
		want: "  - {sni: x.example, deny: 10.9.0.0/16, backend: a}\n"},
	{name: "from", text: "use_backend b if { req.ssl_sni x.example } { src 10.0.0.0/8 }\nuse_backend a if { req.ssl_sni x.example }",
		want: "  - {sni: x.example, from: 10.0.0.0/8, backend: b}\n" + goesToA},
	{name: "from elsewhere", text: "use_backend a if { req.ssl_sni x.example } !{ src 10.0.0.0/8 }\ndefault_backend b",
		want: "  - {sni: x.example, from: 10.0.0.0/8, backend: b}\n" + goesToA + "default: {backend: b}\n"},
	{name: "from, the wide network first", text: "use_backend b if { req.ssl_sni x.example } { src 10.0.0.0/8 }\nuse_backend c if { req.ssl_sni x.example } { src 10.1.0.0/16 192.0.2.7 }\nuse_backend a if { req.ssl_sni x.example }",
		want: "  - {sni: x.example, from: 10.0.0.0/8, backend: b}\n  - {sni: x.example, from: 192.0.2.7/32, backend: c}\n" + goesToA},
	{name: "from, any name", text: "acl tls req.ssl_hello_type 1\nuse_backend b if tls { src 10.0.0.0/8 }\ndefault_backend a",
		want: "  - {sni: \"**\", from: 10.0.0.0/8, backend: b}\ndefault: {backend: a}\n", notes: []string{"f:6: hellos without a name: a condition"}},
	{name: "acme, any name", text: "use_backend c if { req.ssl_sni x.s.example }\nuse_backend b if { req.ssl_alpn acme-tls/1 }\nuse_backend a if { req.ssl_sni -m end .s.example }",
		want: "  - {sni: x.s.example, alpn: acme-tls/1, backend: c}\n  - {sni: x.s.example, backend: c}\n" +
			"  - {sni: \"**.s.example\", alpn: acme-tls/1, backend: b}\n  - {sni: \"**.s.example\", backend: a}\n  - {sni: \"**\", alpn: acme-tls/1, backend: b}\n"},
	{name: "protocols and networks", text: "use_backend b if { req.ssl_sni x.example } { src 10.0.0.0/8 }\nuse_backend c if { req.ssl_sni x.example } { req.ssl_alpn acme-tls/1 }\nuse_backend a if { req.ssl_sni x.example }",
		want: "  - {sni: x.example, alpn: acme-tls/1, from: 10.0.0.0/8, backend: b}\n  - {sni: x.example, alpn: acme-tls/1, backend: c}\n" +
			"  - {sni: x.example, from: 10.0.0.0/8, backend: b}\n" + goesToA},
	{name: "protocols of which each may decide", text: "use_backend b if { req.ssl_sni x.example } { req.ssl_alpn h2 }\nuse_backend c if { req.ssl_sni x.example } { req.ssl_alpn h3 }\nuse_backend a if { req.ssl_sni x.example }",
		want:  "  - {sni: x.example, alpn: h2, backend: b}\n  - {sni: x.example, alpn: h3, backend: c}\n" + goesToA,
		notes: []string{"f:5: req.ssl_alpn h2: HAProxy compares", "f:6: req.ssl_alpn h3: HAProxy compares", "f:6: x.example: of several protocols"}},
	{name: "networks within networks", text: "acl x req.ssl_sni x.example\nacl in src 10.0.0.0/8\nuse_backend b if x in !{ src 10.1.0.0/16 }\nuse_backend a if x",
		want: "  - {sni: x.example, from: 10.0.0.0/8, backend: b}\n  - {sni: x.example, from: 10.1.0.0/16, backend: a}\n" + goesToA},
	{name: "shadowed", text: "use_backend a if { req.ssl_sni x.example }\nuse_backend b if { req.ssl_sni x.example }", want: goesToA},

	{name: "missing acl", text: "use_backend a if x\nuse_backend a if { req.ssl_sni x.example }", want: goesToA, notes: []string{"f:5: acl x was not carried over"}},
	{name: "missing backend", text: "use_backend d if { req.ssl_sni d.example }\nuse_backend a if { req.ssl_sni x.example }", want: goesToA, notes: []string{"f:5: there is no backend d"}},
	{name: "other criterion", text: "acl p dst_port 443\nuse_backend b if p\nuse_backend a if { req.ssl_sni x.example }", want: goesToA,
		notes: []string{"f:5: dst_port 443: Keyhole decides by name", "f:6: acl p was not carried over"}},
	{name: "environment", text: "use_backend \"$NAME\" if { req.ssl_sni y.example }\nuse_backend a if { req.ssl_sni x.example }", want: goesToA,
		notes: []string{"f:5: use_backend: write the value in the place of the variable"}},
	{name: "unknown line", text: "filter compression\nuse_backend a if { req.ssl_sni x.example }", want: goesToA, notes: []string{"f:5: filter compression: has no equal"}},
}

func TestHAProxyRules(t *testing.T) {
	for _, c := range haproxyRules {
		t.Run(c.name, func(t *testing.T) { c.check(t, HAProxy, haproxyHead+c.text+haproxyTail) })
	}
}

const haproxyFront = "frontend tls\n bind :443\n use_backend a if { req.ssl_sni x.example }\n"

// haproxyFiles are what stands before a frontend whose backend is a, or its whole file.
var haproxyFiles = []conversion{
	{name: "servers", text: haproxyFront + "backend a\n balance leastconn\n retries 2\n server s1 10.0.0.1:443 weight 5 maxconn 10\n server s2 origin.internal:443 backup maxconn 10",
		want: "backends:\n  a:\n    servers:\n      - {address: \"10.0.0.1:443\", weight: 5}\n      - {address: \"origin.internal:443\", backup: true}\n" +
			"    balance: least_connections\n    retries: 2\n    max_connections: 10\n"},
	{name: "IPv6 and unix", text: haproxyFront + "backend a\n server s1 2001:db8::1:443\n server s2 [2001:db8::2]:443\n server s3 unix@/run/s\n server s4 /run/t\n server s5 ipv4@10.0.0.1:1",
		want: "backends:\n  a:\n    servers: [\"[2001:db8::1]:443\", \"[2001:db8::2]:443\", \"unix:/run/s\", \"unix:/run/t\", 10.0.0.1:1]\n"},
	{name: "the client's port", text: haproxyFront + "backend a\n server s1 10.0.0.1\n server s2 [2001:db8::2] backup\n server s3 {sni}:443",
		want: "backends:\n  a:\n    servers: [\"10.0.0.1:listen\", {address: \"[2001:db8::2]:listen\", backup: true}]\n", notes: []string{"f:7: server {sni}:443"}},
	{name: "default-server", text: "defaults\n default-server weight 2 inter 3s\n" + haproxyFront + "backend a\n server s 10.0.0.1:443\n server t 10.0.0.2:443 weight 9",
		want: "backends:\n  a:\n    servers: [{address: \"10.0.0.1:443\", weight: 2}, {address: \"10.0.0.2:443\", weight: 9}]\n"},
	{name: "left out", text: haproxyFront + "backend a\n server s 10.0.0.1:443\n server t 10.0.0.2:443 disabled\n server u 10.0.0.3:443 weight 0\n server v 10.0.0.4:443 ssl\n server w 10.0.0.5:443 check",
		want:  "backends:\n  a:\n    servers: [10.0.0.1:443, 10.0.0.5:443]\n",
		notes: []string{"f:6: server t: disabled", "f:7: server u: weight 0", "f:8: server v: ssl", "f:9: server w: check: health"}},
	{name: "only backups", text: haproxyFront + "backend a\n server s 10.0.0.1:443 backup", want: "backends:\n  a:\n    servers: [10.0.0.1:443]\n"},
	{name: "one backup after the other", text: haproxyFront + "backend a\n server s 10.0.0.1:443\n server t 10.0.0.2:443 backup\n server u 10.0.0.3:443 backup",
		want: "backends:\n  a:\n    servers:\n      - 10.0.0.1:443\n      - {address: \"10.0.0.2:443\", backup: true}\n      - {address: \"10.0.0.3:443\", backup: 2}\n"},
	{name: "all backups", text: haproxyFront + "backend a\n option allbackups\n server s 10.0.0.1:443\n server t 10.0.0.2:443 backup\n server u 10.0.0.3:443 backup",
		want: "backends:\n  a:\n    servers:\n      - 10.0.0.1:443\n      - {address: \"10.0.0.2:443\", backup: true}\n      - {address: \"10.0.0.3:443\", backup: true}\n"},
	{name: "the edge itself", text: haproxyFront + "backend a\n server s 127.0.0.1:443\n server t 10.0.0.1:443", want: "backends:\n  a:\n    servers: [10.0.0.1:443]\n",
		notes: []string{"f:5: server 127.0.0.1:443: is a listener"}},
	{name: "a name that is none", text: "frontend tls\n bind :443\n use_backend 10.0.0.1 if { req.ssl_sni x.example }\nbackend 10.0.0.1\n server s 10.0.0.1:443",
		want: "backends:\n  backend-10.0.0.1:\n"},

	{name: "PROXY headers to servers", text: haproxyFront + "backend a\n server s 10.0.0.1:443 send-proxy-v2\n server t 10.0.0.2:443\n server u 10.0.0.3:443 send-proxy-v2 backup",
		want:  "backends:\n  a:\n    servers: [10.0.0.1:443, {address: \"10.0.0.3:443\", backup: true}]\n    proxy_protocol: v2\n",
		notes: []string{"f:6: server 10.0.0.2:443: gets another PROXY header"}},
	{name: "PROXY headers from clients", text: "frontend tls\n bind :443 accept-proxy\n bind :8443\n bind :9443\n acl lb src 10.0.0.0/24 2001:db8::1\n tcp-request connection expect-proxy layer4 if lb\n use_backend a if { req.ssl_sni x.example }" + haproxyTail,
		want: "listen:\n  - {address: \":443\", proxy_protocol_from: [0.0.0.0/0, \"::/0\"]}\n  - {address: \":8443\", proxy_protocol_from: [10.0.0.0/24, \"2001:db8::1/128\"]}\n"},
	{name: "PROXY headers to a part of an address", text: "frontend tls\n bind :443\n bind 10.0.0.1:443 accept-proxy\n use_backend a if { req.ssl_sni x.example }" + haproxyTail,
		want: "listen:\n  - {address: \":443\"}\n", notes: []string{"f:3: address 10.0.0.1:443: one that includes the other"}},
	{name: "no TLS", text: "frontend smtp\n bind :25\n maxconn 100\n tcp-request connection reject if { src 192.0.2.0/24 }\n default_backend a\nlisten mail\n bind :26\n server s 10.0.0.9" + haproxyTail,
		want: "listen:\n  - {address: \":25\", deny: 192.0.2.0/24, limits: {connections: 100}, protocol: tcp, backend: a}\n  - {address: \":26\", protocol: tcp, backend: mail}\n"},
	{name: "no TLS on conditions", text: "frontend smtp\n bind :25\n use_backend b if { src 192.0.2.0/24 }\n default_backend a\n" + haproxyTail,
		want: "listen:\n  - {address: \":25\", protocol: tcp, backend: a}\n", notes: []string{"f:3: a port without TLS has one backend"}},
	{name: "no TLS beside TLS", text: "frontend tls\n bind :443\n acl ssh req.payload(0,7) -m bin 5353482d322e30\n use_backend b if ssh\n use_backend c if { payload(0,4) -m str http }\n use_backend a if { req.ssl_sni x.example }" + haproxyTail,
		want: "listen:\n  - {address: \":443\", not_tls: [{begins: \"SSH-2.0\", backend: b}, {begins: {text: http}, backend: c}]}\n"},
	{name: "no hello is read", text: "frontend mixed\n bind :443\n use_backend b if { payload(0,4) -m str SSH- }\n default_backend a" + haproxyTail,
		want: "listen:\n  - {address: \":443\", not_tls: [{begins: \"SSH-\", backend: b}, {backend: a}]}\nbackends:\n"},
	{name: "bytes of TLS", text: "frontend tls\n bind :443\n use_backend c if { payload(0,1) -m bin 16 }\n use_backend a if { req.ssl_sni x.example }" + haproxyTail,
		want: goesToA, notes: []string{"f:3: payload: no bytes that cannot begin TLS"}},
	{name: "milliseconds", text: "defaults\n timeout connect 5000\n timeout client 1m\n timeout server 50s\n timeout client-fin 500\n" + haproxyFront + haproxyTail,
		want: "timeouts: {connect: 5s, idle: 50s, half_close: 500ms}\n"},
	{name: "tunnel", text: "defaults\n timeout client 1m\n timeout server 1m\n timeout tunnel 12h\n" + haproxyFront + haproxyTail, want: "timeouts: {idle: 12h}\n"},
	{name: "named defaults", text: "defaults one\n timeout client 1m\ndefaults two from one\n timeout tunnel 2m\nfrontend f from one\n bind :443\n use_backend a if { req.ssl_sni x.example }\n" +
		"backend a from two\n server s 10.0.0.1:443", want: "timeouts: {idle: 2m}\n"},
	{name: "two idle times", text: "defaults\n timeout client 1h\n timeout server 1m\nfrontend tls\n bind :443\n use_backend a if { req.ssl_sni x.example }\n use_backend b if { req.ssl_sni y.example }\n" +
		"backend a\n server s 10.0.0.1:443\nbackend b\n timeout server 30m\n server s 10.0.0.2:443",
		want: "  - {sni: x.example, backend: a}\n  - {sni: y.example, backend: b, idle_timeout: 30m}\n"},
	{name: "maxconn", text: "global\n maxconn 4000\n" + haproxyFront + haproxyTail, want: "limits: {connections: 4000}\n"},
	{name: "maxconn of a frontend", text: "frontend tls\n bind :443\n maxconn 100\n use_backend a if { req.ssl_sni x.example }\n" + haproxyTail,
		want: "listen:\n  - {address: \":443\", limits: {connections: 100}}\n"},
	{name: "binds", text: "frontend tls\n bind *:443,10.0.0.9:8443 name x\n bind :::443 v6only\n bind 10.0.0.1:443\n use_backend a if { req.ssl_sni x.example }\n" + haproxyTail,
		want: "listen:\n  - {address: \"10.0.0.9:8443\"}\n  - {address: \":443\"}\nbackends:\n"},
	{name: "listen", text: "listen tls\n bind :443\n tcp-request inspect-delay 1s\n acl x req.ssl_sni x.example\n use_backend a if x\n server own 10.0.0.9:443" + haproxyTail,
		want: goesToA + "default: {backend: tls}\n"},
	{name: "two frontends", text: "frontend tls\n bind :443\n bind :8443\n use_backend a if { req.ssl_sni x.example }\n default_backend b\nfrontend imaps\n bind :993\n use_backend b if { req.ssl_sni x.example }" + haproxyTail,
		want: "  - {listen: [tls, tls-2], sni: x.example, backend: a}\n  - {listen: imaps, sni: x.example, backend: b}\n"},
	{name: "defaults of two frontends", text: "frontend tls\n bind :443\n use_backend a if { req.ssl_sni x.example }\n default_backend b\nlisten a\n bind :993\n use_backend b unless { req.ssl_sni -m found }\n server s 10.0.0.1:993" + haproxyTail[len("\nbackend a\n server s 10.0.0.1:443"):],
		want: "listen:\n  - {name: tls, address: \":443\", default: {backend: b}}\n  - {name: a, address: \":993\", default: {backend: a}, no_sni: {backend: b}}\n"},
	{name: "two frontends alike", text: "frontend tls\n bind :443\n use_backend a if { req.ssl_sni x.example }\nfrontend more\n bind :993\n use_backend a if { req.ssl_sni x.example }" + haproxyTail,
		want: goesToA},
	{name: "access of a listener", text: "frontend tls\n bind :443\n tcp-request connection reject if { src 10.1.0.0/16 }\n tcp-request connection reject unless { src 10.0.0.0/8 192.0.2.7 }\n use_backend a if { req.ssl_sni x.example }" + haproxyTail,
		want: "listen:\n  - {address: \":443\", allow: [10.0.0.0/8, 192.0.2.7/32], deny: 10.1.0.0/16}\n"},
	{name: "access that the longest would decide", text: "frontend tls\n bind :443\n tcp-request connection reject if { src 10.0.0.0/8 }\n tcp-request connection reject unless { src 10.1.0.0/16 }\n use_backend a if { req.ssl_sni x.example }\n use_backend b if { req.ssl_sni -m found }\nbackend a\n server s 10.0.0.1:443\nbackend b\n server s 10.0.0.2:443"},
	{name: "HTTP", text: "frontend web\n mode http\n bind :80\n default_backend a\n" + haproxyFront + haproxyTail, want: goesToA, notes: []string{"f:1: frontend web: mode http"}},
	{name: "terminates", text: "frontend web\n bind :444 ssl crt x.pem\n default_backend a\n" + haproxyFront + haproxyTail, want: goesToA, notes: []string{"f:2: bind :444: ssl ends TLS"}},
	{name: "nothing", text: "frontend web\n mode http\n bind :80\n", notes: []string{"mode http"}},
}

func TestHAProxyFiles(t *testing.T) {
	for _, c := range haproxyFiles {
		t.Run(c.name, func(t *testing.T) { c.check(t, HAProxy, c.text) })
	}
}

func TestLexHAProxy(t *testing.T) {
	for text, want := range map[string][]string{
		`server s 10.0.0.1:443 # check`: {"server", "s", "10.0.0.1:443"},
		`a b\ c "d e" 'f "g'`:           {"a", "b c", "d e", `f "g`},
		`a -m reg ^x\.y$ \# \\`:         {"a", "-m", "reg", `^x\.y$`, "#", `\`},
		`a "b'c\"d"e`:                   {"a", `b'c"de`},
		`a ""`:                          {"a", ""},
		`a 'b`:                          {"a", "b"},
		`a "b\`:                         {"a", `b\`},
		`a\`:                            {`a\`},
		`# a`:                           nil,
	} {
		if got := lexLine(text).words; !equal(got, want) {
			t.Errorf("lexLine(%q) = %q, want %q", text, got, want)
		}
	}
}

func equal(a, b []string) bool {
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}
