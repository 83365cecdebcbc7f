package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"keyhole/routes"
	"keyhole/sni"
)

// plainFile is a file with one listener that has these rules.
func plainFile(notTLS string) string {
	return "listen:\n - {address: \":443\", not_tls: [" + notTLS + "]}\n" +
		"backends: {shop: {servers: [10.0.0.5:443]}, ssh: {servers: [10.0.0.6:22]}}\n" +
		"routes: [{sni: a.example, backend: shop}]\n"
}

func TestNotTLS(t *testing.T) {
	c := mustParse(t, plainFile(
		`{begins: "SSH-", backend: ssh, idle_timeout: 2h, keepalive: off}, {begins: http, reject: close},
      {begins: "\x05\x01", backend: "10.0.0.7:1080"}, {begins: {text: socks}, backend: ssh}, {begins: "stun", backend: shop},
      {begins: "\xff\xfb", backend: ssh}, {begins: RFB 003, backend: ssh}, {silent: 2s, backend: ssh, allow: 192.0.2.0/24}, {backend: shop}`))
	p := c.Listen[0].NotTLS
	var labels []string
	for _, r := range p {
		labels = append(labels, r.Label)
	}
	want := []string{"not_tls SSH-", "not_tls http", "not_tls \x05\x01", "not_tls socks", "not_tls stun", "not_tls \xff\xfb",
		"not_tls RFB 003", "not_tls silent", "not_tls"}
	if fmt.Sprintf("%q", labels) != fmt.Sprintf("%q", want) {
		t.Errorf("labels are %q, want %q", labels, want)
	}
	for b, at := range map[string]int{
		"SSH-2.0": 0, "GET / ": 1, "\x05\x01\x00": 2, "socks": 3, "\x00\x01\x00\x00\x21\x12\xa4\x42": 4, "\xff\xfb": 5, "RFB 003.8": 6,
		"\x04\x01\x00\x50\x7f": 8, "soc!": 8, "\xc3\xbf": 8,
	} {
		if r, settled := p.Find([]byte(b)); !settled || r != &p[at] {
			t.Errorf("%q takes %v, want rule %d", b, r, at)
		}
	}
	if r := p[0].Route; r.Backend != 1 || r.IdleTimeout != 2*time.Hour || r.Keepalive != -1 || r.Line != 2 {
		t.Errorf("the first rule goes to %+v", r)
	}
	if r := p[1].Route; r.Backend >= 0 || r.Reject != routes.RejectClose {
		t.Errorf("the second rule goes to %+v", r)
	}
	if r := p.Silent(); r.Silent != 2*time.Second || r.Route.Access == nil {
		t.Errorf("the silent rule is %+v", r)
	}
}

// Every name is a name, with quotes too, and a text only as {text: NAME}.
func TestNamesOfProtocols(t *testing.T) {
	for _, name := range sni.Greetings() {
		for _, c := range []struct {
			begins string
			text   bool
		}{{name, false}, {`"` + name + `"`, false}, {"{text: " + name + "}", true}} {
			r := mustParse(t, plainFile("{begins: "+c.begins+", backend: ssh}")).Listen[0].NotTLS[0]
			if got := r.Begins.Fit([]byte(name)) == sni.Fits; got != c.text {
				t.Errorf("begins: %s takes %q: %t, want %t", c.begins, name, got, c.text)
			}
		}
	}
}

func TestTCPListener(t *testing.T) {
	c := mustParse(t, `listen:
  - {address: ":443"}
  - {address: ":25", protocol: tcp, backend: mail, deny: 192.0.2.0/24, idle_timeout: 5m, keepalive: 20s, reject: reset}
  - {address: ":26", protocol: tcp, reject: silence}
backends: {mail: {servers: ["10.0.0.5:25"]}}
routes: []
`)
	if c.Listen[0].TCP != nil {
		t.Errorf("the first listener reads no TLS: %+v", c.Listen[0])
	}
	l := c.Listen[1]
	if r := l.TCP; r == nil || r.Backend != 0 || r.IdleTimeout != 5*time.Minute || r.Keepalive != 20*time.Second ||
		r.Reject != routes.RejectReset || r.Access == nil || r.Line != 3 || l.Access != nil {
		t.Errorf("the second listener is %+v, to %+v", l, l.TCP)
	}
	if r := c.Listen[2].TCP; r == nil || r.Backend >= 0 || r.Reject != routes.RejectSilence {
		t.Errorf("the third goes to %+v", r)
	}
}

// Without TLS there are no names, and no routes for them.
func TestNoRoutesWithoutTLS(t *testing.T) {
	c := mustParse(t, "listen: [{address: \":25\", protocol: tcp, backend: \"10.0.0.5:25\"}]\n")
	if c.Table == nil || len(c.Routes) != 0 {
		t.Errorf("table %v, routes %v, want a table without routes", c.Table, c.Routes)
	}
	tcp := "listen: [{address: \":25\", protocol: tcp, "
	checkProblems(t, []problemCase{
		{"TLS beside it", tcp + "reject: close}, {address: \":443\"}]\n", "1:1: missing key `routes`"},
		{"no listener", "log: {level: info}\n", "1:1: missing key `listen`\n1:1: missing key `routes`"},
		{"misspelt", "listen: [{address: \":443\"}]\nrutes: []\n", "2:1: unknown key `rutes`, did you mean `routes`?"},
		{"no server at all", tcp + "reject: close}]\n", "1:1: no route has a backend, and neither has `default` or `no_sni`, so that no connection could be forwarded"},
	})
}

func TestPlainProblems(t *testing.T) {
	long := strings.Repeat("x", maxBegins+1)
	var cases []problemCase
	for _, c := range []struct{ name, rules, want string }{
		{"empty list", ``, "2:31: `not_tls` is an empty list"},
		{"text for an element", `SSH-`, "2:32: an element of `not_tls` must be a mapping such as {begins: \"SSH-\", backend: ssh}, got \"SSH-\""},
		{"no backend", `{begins: http}`, "2:32: missing key `backend` or `reject`"},
		{"misspelt key", `{begin: http, backend: ssh}`, "2:33: unknown key `begin`, did you mean `begins`?"},
		{"name of a host", `{sni: a.example, backend: ssh}`, "2:33: unknown key `sni`: what is no TLS has no name"},
		{"protocol", `{alpn: h2, backend: ssh}`, "2:33: unknown key `alpn`: what is no TLS offers no protocol, write `begins`"},
		{"unknown name", `{begins: htpp, backend: ssh}`, `2:41: begins: unknown protocol "htpp", did you mean "http"? A text is written in quotes`},
		{"no name at all", `{begins: gopher, backend: ssh}`, `2:41: begins: unknown protocol "gopher", write one of http, openvpn, xmpp, socks, stun, postgres, or the text in double quotes`},
		{"SSH", `{begins: ssh, backend: ssh}`, `2:41: begins: unknown protocol "ssh": write "SSH-"`},
		{"RDP", `{begins: rdp, backend: ssh}`, `2:41: begins: unknown protocol "rdp": write "\x03\x00"`},
		{"server first", `{begins: SMTP, backend: ssh}`, "2:41: begins: unknown protocol \"SMTP\": its server speaks first, write `silent: 2s` instead of `begins`"},
		{"number", `{begins: 5, backend: ssh}`, `2:41: begins: unknown protocol "5", write one of http, openvpn, xmpp, socks, stun, postgres, or the text in double quotes`},
		{"empty text", `{begins: "", backend: ssh}`, "2:41: `begins` is empty"},
		{"nothing", `{begins: , backend: ssh}`, "2:41: `begins` has no value"},
		{"list", `{begins: ["SSH-"], backend: ssh}`, "2:41: `begins` must be a text such as \"SSH-\", or one of http, openvpn, xmpp, socks, stun, postgres, got a list"},
		{"mapping", `{begins: {txt: http}, backend: ssh}`, "2:42: unknown key `txt`, did you mean `text`?"},
		{"empty mapping", `{begins: {}, backend: ssh}`, "2:41: missing key `text`"},
		{"character that is no byte", `{begins: "Ā", backend: ssh}`, `2:41: begins "Ā": 'Ā' is no byte, write each byte above 0x7f as "\x80" to "\xff"`},
		{"single quotes", `{begins: '\x05\x01', backend: ssh}`, `2:41: begins "\\x05\\x01": YAML reads \x only in double quotes, write them around the text`},
		{"no quotes", `{begins: \x05\x01, backend: ssh}`, `2:41: begins "\\x05\\x01": YAML reads \x only in double quotes, write them around the text`},
		{"TLS", `{begins: "\x16\x03", backend: ssh}`, "2:41: begins \"\\x16\\x03\": its first byte, 0x16, is the type of a TLS record, and such a client never comes to `not_tls`"},
		{"long text", `{begins: "` + long + `", backend: ssh}`, "2:41: `begins` must be at most 256 bytes long, this text has 257"},
		{"both conditions", `{begins: http, silent: 2s, backend: ssh}`, "2:55: `silent` has no effect beside `begins`, write an element for each"},
		{"silent without a unit", `{silent: 2, backend: ssh}`, `2:41: bad duration "2" for ` + "`silent`, did you mean \"2s\"?"},
		{"longer than the timeout", `{silent: 5s, backend: ssh}`, "2:41: `silent` must be below the timeout `hello`, 5s, which closes the connection first, got \"5s\""},
		{"alert", `{begins: http, reject: alert}`, "2:55: `reject` must be close, reset or silence here: a client that does not speak TLS reads no alert"},
		{"rejecting with keys for others", `{begins: http, reject: close, allow: 192.0.2.1}`, "2:62: `allow` has no effect without a backend, every client is rejected"},
		{"behind a catch-all", `{backend: shop}, {begins: http, backend: ssh}`, `2:49: "not_tls http" is never reached, line 2 takes all its clients: leave it out, or put it before that`},
		{"longer behind shorter", `{begins: "SSH-", backend: ssh}, {begins: "SSH-2.0", backend: shop}`, `2:64: "not_tls SSH-2.0" is never reached, line 2 takes all its clients: leave it out, or put it before that`},
		{"text behind its protocol", `{begins: http, backend: ssh}, {begins: "GET /x", backend: shop}`, `2:62: "not_tls GET /x" is never reached, line 2 takes all its clients: leave it out, or put it before that`},
		{"twice", `{begins: http, backend: ssh}, {begins: http, backend: shop}`, `2:62: "not_tls http" is never reached, line 2 takes all its clients: leave it out, or put it before that`},
		{"silent twice", `{silent: 2s, backend: ssh}, {silent: 1s, backend: shop}`, `2:60: a listener has one rule for silent clients, it is on line 2`},
		{"the client's name", `{begins: http, backend: "{sni}:80"}`, "2:56: the server of backend \"{sni}:80\" is {sni}, the name that the client asks for, and here is none"},
		{"unknown backend hides nothing", `{backend: shp}, {begins: http, backend: ssh}`, "2:42: unknown backend \"shp\", did you mean \"shop\"?"},
	} {
		cases = append(cases, problemCase{c.name, plainFile(c.rules), c.want})
	}
	checkProblems(t, cases)
}

func TestTCPProblems(t *testing.T) {
	rest := "\nbackends: {shop: {servers: [10.0.0.5:443]}}\nroutes: [{sni: a.example, backend: shop}]\n"
	checkProblems(t, []problemCase{
		{"no backend", `listen: [{address: ":25", protocol: tcp}]` + rest, "1:10: missing key `backend` or `reject`"},
		{"misspelt backend", `listen: [{address: ":25", protocol: tcp, bakend: shop}]` + rest, "1:42: unknown key `bakend`, did you mean `backend`?"},
		{"two backends", `listen: [{address: ":25", protocol: tcp, backend: shop, backend: shop}]` + rest, "1:57: duplicate key `backend`, first on line 1"},
		{"unknown backend", `listen: [{address: ":25", protocol: tcp, backend: shp}]` + rest, `1:51: unknown backend "shp", did you mean "shop"?`},
		{"another protocol", `listen: [{address: ":25", protocol: tpc, backend: shop}]` + rest, "1:37: unknown value \"tpc\" for `protocol`, did you mean \"tcp\"?"},
		{"alert", `listen: [{address: ":25", protocol: tcp, backend: shop, reject: alert}]` + rest, "1:65: `reject` must be close, reset or silence here: a client that does not speak TLS reads no alert"},
		{
			"keys of TLS",
			`listen: [{address: ":25", protocol: tcp, backend: shop, default: {backend: shop}, no_sni: {reject: close}, not_tls: [{backend: shop}]}]` + rest,
			"1:57: `default` has no effect with `protocol: tcp`, whose `backend` takes every client\n" +
				"1:83: `no_sni` has no effect with `protocol: tcp`, whose `backend` takes every client\n" +
				"1:108: `not_tls` has no effect with `protocol: tcp`, whose `backend` takes every client",
		},
		{
			"the size of a hello", `listen: [{address: ":25", protocol: tcp, backend: shop, limits: {connections: 9, hello_bytes: 600}}]` + rest,
			"1:95: `hello_bytes` has no effect with `protocol: tcp`, which reads no hello",
		},
		{
			"keys of TCP",
			`listen: [{address: ":443", backend: shop, idle_timeout: 5m, keepalive: off, reject: close}]` + rest,
			"1:28: `backend` needs `protocol: tcp`, which reads no TLS; names without a route go to `default: {backend: ...}`\n" +
				"1:43: `idle_timeout` needs `protocol: tcp`, write it in a route or in `default`\n" +
				"1:61: `keepalive` needs `protocol: tcp`, write it in a route or in `default`\n" +
				"1:77: `reject` needs `protocol: tcp`, write it in a route or in `default`",
		},
		{
			"its own server", `listen: [{address: ":25", protocol: tcp, backend: "127.0.0.1:25"}]` + rest,
			"1:51: backend \"127.0.0.1:25\": would connect the edge to itself, it listens on \":25\"; name the origin's own address or another port",
		},
		{
			"the client's name", `listen: [{address: ":25", protocol: tcp, backend: "{sni}:25"}]` + rest,
			"1:51: the server of backend \"{sni}:25\" is {sni}, the name that the client asks for, and here is none",
		},
		{
			"a route's listener",
			"listen: [{name: smtp, address: \":25\", protocol: tcp, backend: shop}]\nbackends: {shop: {servers: [10.0.0.5:443]}}\nroutes: [{listen: smtp, sni: a.example, backend: shop}]\n",
			"3:19: listener \"smtp\" reads no names, with `protocol: tcp` on line 1: its own `backend` takes every client",
		},
	})
}
