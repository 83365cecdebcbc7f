package main

import (
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestDemo pastes the commands that the demo prints into a shell.
func TestDemo(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatalf("%v; install curl, which the demo's commands run", err)
	}
	demo := start(t, "demo", "--listen", "127.0.0.1:0")
	demo.stdout.Expect(t, `Ctrl-C ends the demo`)
	commands := regexp.MustCompile(`(?m)^    (curl .*)$`).FindAllStringSubmatch(demo.stdout.String(), -1)
	if len(commands) != 3 {
		t.Fatalf("the demo prints %d curl commands, want 3:\n%s", len(commands), demo.stdout)
	}
	for i, name := range []string{demoShop, demoBlog} {
		got, err := exec.Command("sh", "-c", commands[i][1]).Output()
		want := "This is " + name + ": HTTP/2.0 over TLS 1.3, with a key that the edge has never seen.\n"
		if err != nil || string(got) != want {
			t.Errorf("%s\nprints %q, %v, want %q", commands[i][1], got, err, want)
		}
	}
	got, err := exec.Command("sh", "-c", commands[2][1]).CombinedOutput()
	if err == nil || !strings.Contains(strings.ToLower(string(got)), "unrecognized name") {
		t.Errorf("%s\nprints %q, %v, want an alert for an unrecognized name", commands[2][1], got, err)
	}

	ca := regexp.MustCompile(`--cacert (\S+)`).FindStringSubmatch(commands[0][1])[1]
	if _, err := os.Stat(ca); err != nil {
		t.Error(err)
	}
	demo.signal(os.Interrupt)
	demo.exited()
	if _, err := os.Stat(ca); !os.IsNotExist(err) {
		t.Errorf("after the demo, %s: %v, want that it is gone", ca, err)
	}
	// curl does not wait for the origin's farewell, so it may be seen as a reset.
	for _, want := range []string{
		` sni=shop\.keyhole\.test alpn=h2 route=shop\.keyhole\.test backend=shop .* reason=client_(closed|reset) phase=relay `,
		` sni=blog\.keyhole\.test alpn=h2 route=blog\.keyhole\.test backend=127\.0\.0\.1:\d+ .* reason=client_(closed|reset) phase=relay `,
		` sni=nobody\.keyhole\.test alpn=h2 reason=no_route phase=decide `,
	} {
		demo.stdout.Expect(t, want)
	}
}

func TestDemoCurl(t *testing.T) {
	for _, c := range []struct{ edge, file, want string }{
		{"127.0.0.1:8443", "/tmp/ca.pem", `curl --noproxy '*' --cacert /tmp/ca.pem --resolve 'a.test:8443:127.0.0.1' https://a.test:8443/`},
		{"0.0.0.0:1", "/a b/ca.pem", `curl --noproxy '*' --cacert '/a b/ca.pem' --resolve 'a.test:1:127.0.0.1' https://a.test:1/`},
		{"[::]:1", "it's", `curl --noproxy '*' --cacert 'it'\''s' --resolve 'a.test:1:127.0.0.1' https://a.test:1/`},
		{"[2001:db8::1]:1", "ca", `curl --noproxy '*' --cacert ca --resolve 'a.test:1:[2001:db8::1]' https://a.test:1/`},
	} {
		if got := demoCurl(c.file, "a.test", netip.MustParseAddrPort(c.edge)); got != c.want {
			t.Errorf("demoCurl(%q, %q)\n = %s\nwant %s", c.file, c.edge, got, c.want)
		}
	}
}
