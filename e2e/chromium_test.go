package e2e

import (
	"crypto/tls"
	"encoding/json"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// chromium starts a headless Chromium at a page of host. It takes the certificate of that key alone, and no other
// that its own authorities do not vouch for.
func chromium(t *testing.T, e *edge, host, pin string, args ...string) *testkit.Program {
	t.Helper()
	p := testkit.LaunchFor(t, exec.Command("chromium", append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-proxy-server",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-breakpad", "--user-data-dir=" + t.TempDir(),
		"--host-resolver-rules=MAP * 127.0.0.1", "--ignore-certificate-errors-spki-list=" + pin,
	}, append(args, "https://"+host+":"+e.port+"/browser")...)...))
	t.Cleanup(p.Terminate)
	return p
}

// A page over HTTP/2 opens a WebSocket, which is a second connection, and reports what it found.
func TestChromium(t *testing.T) {
	t.Parallel()
	o := shared.golang
	host := o.host(t)
	p := chromium(t, shared.edge, host, o.id.keyPin())
	type finding struct {
		Protocol string
		Echoed   []bool
		Error    string
	}
	var got finding
	select {
	case r := <-o.reports:
		if err := json.Unmarshal(r.body, &got); err != nil || r.host != host {
			t.Fatalf("report of %s: %q: %v", r.host, r.body, err)
		}
	case <-time.After(testkit.Patience):
		t.Fatalf("the page has not reported; chromium printed:\n%s", p.Printed())
	}
	if want := (finding{Protocol: "h2", Echoed: []bool{true, true, true}}); !reflect.DeepEqual(got, want) {
		t.Errorf("the page found %+v, want %+v", got, want)
	}
	expectBrowserVisits(t, o.visitsOf(host))

	p.Terminate()
	for _, r := range shared.edge.atLeast(t, host, 2) {
		if r.Backend != "go" || r.Server != o.address {
			t.Errorf("record %+v, want backend go and server %s", r, o.address)
		}
	}
}

// expectBrowserVisits fails the test unless the page came by HTTP/2, the WebSocket by HTTP/1.1 and both with a
// post-quantum key exchange.
func expectBrowserVisits(t *testing.T, visits []visit) {
	t.Helper()
	protocols := make(map[string]bool)
	for _, v := range visits {
		protocols[v.Proto] = true
		if !slices.Contains(v.Offered, tls.X25519MLKEM768) || v.Group != tls.X25519MLKEM768 {
			t.Errorf("a hello of Chromium's offered %v and got %v, want X25519MLKEM768", v.Offered, v.Group)
		}
	}
	if !protocols["HTTP/2.0"] || !protocols["HTTP/1.1"] {
		t.Errorf("the origin saw %+v, want requests by HTTP/2 and by HTTP/1.1", visits)
	}
}

// The page above would not prove whose key it came with if Chromium took any.
func TestChromiumRefusesAnotherKey(t *testing.T) {
	t.Parallel()
	o := shared.golang
	host := o.host(t)
	p := chromium(t, shared.edge, host, shared.node.id.keyPin(), "--dump-dom")
	p.Status(t)
	if text := p.Printed(); !strings.Contains(text, "ERR_CERT_AUTHORITY_INVALID") {
		t.Errorf("chromium with the pin of another origin: no ERR_CERT_AUTHORITY_INVALID in:\n%s", text)
	}
	if got := o.visitsOf(host); len(got) != 0 {
		t.Errorf("the origin saw %+v, want no request", got)
	}
	for _, r := range shared.edge.atLeast(t, host, 1) {
		if r.Backend != "go" || r.Phase != "relay" {
			t.Errorf("record %+v, want backend go and phase relay", r)
		}
	}
}
