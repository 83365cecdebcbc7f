package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"keyhole/internal/testkit"
)

// A name that nobody routes gets the alert unrecognized_name, 112 (RFC 6066 section 3), which every client can tell
// from a dead server.
func TestUnknownName(t *testing.T) {
	openssl := []string{"openssl", "s_client", "-connect", shared.edge.address, "-servername"}
	gnutls := []string{"gnutls-cli", "--port", shared.edge.port, "127.0.0.1", "--sni-hostname"}
	for _, c := range []struct {
		name    string
		command []string
		flags   []string // behind the name
		says    string
	}{
		{"openssl-tls1-2", openssl, []string{"-tls1_2"}, "alert number 112"},
		{"openssl-tls1-3", openssl, []string{"-tls1_3"}, "alert number 112"},
		{"gnutls", gnutls, nil, "The server name sent was not recognized"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			host := c.name + ".nobody.example"
			out := run(t, c.command[0], slices.Concat(c.command[1:], []string{host}, c.flags)...)
			if all := out.stdout + out.stderr; out.status == 0 || !strings.Contains(all, c.says) {
				t.Errorf("%s: status %d, want another than 0, and %q in:\n%s", c.name, out.status, c.says, all)
			}
			shared.edge.expectRejected(t, host, "no_route")
		})
	}
}

func TestUnknownNameCurl(t *testing.T) {
	t.Parallel()
	const host = "curl.nobody.example"
	out := curl(t, shared.edge, shared.golang.origin, "https://"+host+"/")
	if out.status != 35 || !strings.Contains(out.stderr, "unrecognized name") {
		t.Errorf("curl: status %d, want 35 (TLS handshake) and \"unrecognized name\" in: %s", out.status, out.stderr)
	}
	shared.edge.expectRejected(t, host, "no_route")
}

// A hello without a name is rejected as one with an unknown name is, unless there is a default. An IP address is no name
// (RFC 6066 section 3).
func TestNoName(t *testing.T) {
	for _, c := range []struct {
		kind  string
		flags []string
		sni   string // of the record
		err   string // likewise
	}{
		{"none", []string{"-noservername"}, "", ""},
		{"address", []string{"-servername", "192.0.2.1"}, "192.0.2.1", "the server name is an IP address, which counts as none"},
	} {
		t.Run(c.kind+"-rejected", func(t *testing.T) {
			t.Parallel()
			e := edgeFor(t, setup{origins: shared.origins()})
			expectAlert(t, e, 112, c.flags...)
			if r := e.expect(t, c.sni, 1)[0]; r.Reason != "no_sni" || r.Phase != "decide" || r.Backend != "" || r.Error != c.err {
				t.Errorf("record %+v, want reason no_sni, phase decide, no backend and error %q", r, c.err)
			}
		})
		t.Run(c.kind+"-default", func(t *testing.T) {
			t.Parallel()
			o := shared.golang.origin
			e := edgeFor(t, setup{origins: shared.origins(), others: "go"})
			text := askPlainly(t, e, c.flags...)
			expectCertificate(t, "s_client", o, []byte(text))
			if r := e.expect(t, c.sni, 1)[0]; r.Route != "default" || r.Backend != "go" || r.Phase != "relay" || r.Error != c.err || !slices.Contains(peaceful, r.Reason) {
				t.Errorf("record %+v, want route default, backend go, phase relay, error %q and one of the reasons %v", r, c.err, peaceful)
			}
		})
	}
}

// expectAlert has an s_client connect, and wants it to get an alert.
func expectAlert(t *testing.T, e *edge, number int, flags ...string) {
	t.Helper()
	out := run(t, "openssl", append([]string{"s_client", "-connect", e.address}, flags...)...)
	if want := fmt.Sprintf("alert number %d", number); !strings.Contains(out.stderr, want) {
		t.Errorf("s_client %s: no %q in:\n%s", flags, want, out.stderr)
	}
}

// askPlainly has an s_client that does not look at the certificate's name get the greeting, and returns what it printed.
func askPlainly(t *testing.T, e *edge, args ...string) string {
	t.Helper()
	args = append([]string{"s_client", "-connect", e.address, "-CAfile", shared.ca.file, "-verify_return_error"}, args...)
	p := testkit.LaunchFor(t, exec.Command("openssl", args...))
	p.Say(t, "GET /greeting HTTP/1.0\r\n\r\n")
	p.Expect(t, greeting)
	p.Status(t)
	return p.Printed()
}

// Names that differ in case and by a trailing dot are one name, for the edge as for the origin behind it.
func TestUpperCaseAndTrailingDot(t *testing.T) {
	t.Parallel()
	o := shared.nginxECDSA // not nginx's first server, which takes what nginx does not recognise
	name := strings.ToUpper(o.host(t)) + "."
	text := askPlainly(t, shared.edge, "-servername", name)
	expectCertificate(t, "s_client", o, []byte(text))
	shared.edge.expectRelayed(t, o, name, 1)
}

// A name that is not ASCII is written as it is in the table, and comes as A-labels (RFC 5890). A client that sends it in
// UTF-8 breaks RFC 6066, and origins differ in what they make of it.
func TestInternationalName(t *testing.T) {
	const name, onWire = "bücher.go.example", "xn--bcher-kva.go.example"
	o := shared.golang.origin
	e := edgeFor(t, setup{origins: []*origin{o}, routes: map[string]string{name: o.kind}})
	expectBlob(t, curl(t, e, o, "https://"+name+"/blob"))
	if r := e.expectRelayed(t, o, onWire, 1)[0]; r.Route != onWire {
		t.Errorf("record %+v, want route %s, not the wildcard", r, onWire)
	}
	expectAlert(t, e, 50, "-servername", name)
	e.expectRejected(t, name, "hello_malformed")
}
