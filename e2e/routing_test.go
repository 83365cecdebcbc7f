package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"testing"

	"keyhole/internal/testkit"
)

// OpenSSL's client is routed by all that a file can say of a hello: its listener, protocols, address,
// the starred part of its name, and no name.
func TestOpenSSLIsRoutedByEveryCondition(t *testing.T) {
	t.Parallel()
	servers := map[string]*testkit.Origin{}
	address := func(name string) string {
		if servers[name] == nil {
			servers[name] = testkit.NewOrigin(t)
		}
		return servers[name].Address()
	}
	e := edgeFor(t, setup{config: fmt.Sprintf(`listen:
  - {name: web, address: "127.0.0.1:0"}
  - {name: mail, address: "127.0.0.1:0", default: {backend: %q}, deny: 127.0.0.9}
log: {format: json, access: stdout}
routes:
  - {sni: a.test, backend: %q}
  - {sni: a.test, listen: mail, backend: %q}
  - {sni: a.test, from: 127.0.0.2, backend: %q}
  - {sni: a.test, from: 127.0.0.0/30, alpn: h2, backend: %q}
  - {sni: "*.box.test", matching: "sbx-[0-9a-f]{4}", backend: %q}
  - {sni: "**", alpn: acme-tls/1, backend: %q}
  - {sni: fenced.test, backend: %q, allow: 127.0.0.0/8, deny: 127.0.0.2}
no_sni: {backend: %q}
`, address("mail default"), address("web"), address("mail"), address("near"), address("near h2"), address("box"),
		address("acme"), address("fenced"), address("no name"))})
	e.Expect(t, `(?s)"listening".*"listening".*\n`)
	at := listening.FindAllStringSubmatch(e.Printed(), -1)
	web, mail := at[0][1], at[1][1]
	for _, x := range []struct {
		listener, name string
		args           []string
		want           string // "": an alert
	}{
		{web, "a.test", nil, "web"},
		{mail, "a.test", nil, "mail"},
		{web, "A.test.", []string{"-bind", "127.0.0.2:0"}, "near"},
		{web, "a.test", []string{"-bind", "127.0.0.2:0", "-alpn", "h2"}, "near h2"},
		{web, "a.test", []string{"-bind", "127.0.0.4:0", "-alpn", "h2"}, "web"},
		{mail, "a.test", []string{"-bind", "127.0.0.2:0", "-alpn", "h2"}, "mail"},
		{web, "sbx-00ff.box.test", nil, "box"},
		{web, "sbx-00fg.box.test", nil, ""},
		{mail, "sbx-00fg.box.test", nil, "mail default"},
		{web, "a.test", []string{"-alpn", "acme-tls/1"}, "acme"},
		{mail, "anything.test", []string{"-alpn", "acme-tls/1"}, "acme"},
		{web, "", nil, "no name"},
		{mail, "", nil, "mail default"},
		{web, "fenced.test", nil, "fenced"},
		{web, "fenced.test", []string{"-bind", "127.0.0.2:0"}, ""},
		{mail, "a.test", []string{"-bind", "127.0.0.9:0"}, ""},
	} {
		args := []string{"s_client", "-connect", x.listener, "-servername", x.name}
		if x.name == "" {
			args = append(args[:3], "-noservername")
		}
		client := testkit.LaunchFor(t, exec.Command("openssl", slices.Concat(args, x.args)...))
		if x.want == "" {
			if client.Status(t) == 0 {
				t.Errorf("%+v: the handshake has succeeded, want it refused", x)
			}
			continue
		}
		server := servers[x.want].Accept()
		first := make([]byte, 1)
		if _, err := server.Read(first); err != nil || first[0] != 22 {
			t.Errorf("%+v: %q gets %q, %v, want a ClientHello", x, x.want, first, err)
		}
		server.Close()
		client.Status(t)
	}
	if out := bytes.TrimSpace([]byte(e.Printed())); bytes.Contains(out, []byte(`"level":"ERROR"`)) {
		t.Errorf("the edge has logged errors:\n%s", out)
	}
}
