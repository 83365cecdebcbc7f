package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// curl runs curl against an edge for the origin's certificate and no other.
func curl(t *testing.T, e *edge, o *origin, args ...string) output {
	t.Helper()
	return run(t, "curl", curlArgs(e, o, args...)...)
}

func curlArgs(e *edge, o *origin, args ...string) []string {
	return append([]string{
		"--silent", "--show-error", "--noproxy", "*", "--max-time", "50", "--connect-to", "::" + e.address,
		"--cacert", shared.ca.file, "--pinnedpubkey", "sha256//" + o.id.keyPin(),
	}, args...)
}

// expectBlob fails the test unless curl ended well and printed the blob.
func expectBlob(t *testing.T, out output) {
	t.Helper()
	if out.status != 0 {
		t.Fatalf("curl: status %d, want 0: %s", out.status, out.stderr)
	}
	if got, want := hexSum([]byte(out.stdout)), hexSum(shared.blob); got != want {
		t.Errorf("curl: SHA-256 of %d bytes is %s, want %s of %d bytes", len(out.stdout), got, want, len(shared.blob))
	}
}

func TestCurlDownloads(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			eachOrigin(t, func(t *testing.T, o *origin) {
				host := o.host(t)
				out := curl(t, shared.edge, o, "--tlsv"+version, "--tls-max", version, "https://"+host+"/blob")
				expectBlob(t, out)
				r := shared.edge.expectRelayed(t, o, host, 1)[0]
				if r.Down < int64(len(shared.blob)) {
					t.Errorf("record %+v, want down at least %d", r, len(shared.blob))
				}
			})
		})
	}
}

// The downloads above would not notice a wrong key if a pin were not looked at.
func TestCurlRefusesAnotherKey(t *testing.T) {
	t.Parallel()
	host := shared.node.host(t)
	out := curl(t, shared.edge, shared.golang.origin, "https://"+host+"/blob")
	if out.status != 90 {
		t.Errorf("curl with the pin of another origin: status %d, want 90 (pinned key): %s", out.status, out.stderr)
	}
	if r := shared.edge.expect(t, host, 1)[0]; r.Backend != "node" || r.Phase != "relay" {
		t.Errorf("record %+v, want backend node and phase relay", r)
	}
}

func TestCurlHTTPVersions(t *testing.T) {
	for _, o := range []*origin{shared.golang.origin, shared.node, shared.nginxRSA, shared.nginxECDSA} {
		for _, c := range []struct{ flag, version, alpn string }{
			{"--http1.1", "1.1", "http/1.1"},
			{"--http2", "2", "h2"},
		} {
			t.Run(o.kind+c.flag, func(t *testing.T) {
				t.Parallel()
				host := o.host(t)
				body := filepath.Join(t.TempDir(), "body")
				out := curl(t, shared.edge, o, c.flag, "-o", body, "-w", "%{http_version}", "https://"+host+"/blob")
				if out.stdout != c.version {
					t.Errorf("curl %s: HTTP version %q, want %q: %s", c.flag, out.stdout, c.version, out.stderr)
				}
				expectFile(t, body, shared.blob)
				if r := shared.edge.expectRelayed(t, o, host, 1)[0]; r.ALPN != c.alpn {
					t.Errorf("record %+v, want alpn %s", r, c.alpn)
				}
			})
		}
	}
}

func expectFile(t *testing.T, file string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if hexSum(got) != hexSum(want) {
		t.Errorf("%s: SHA-256 of %d bytes is %s, want %s of %d bytes", file, len(got), hexSum(got), hexSum(want), len(want))
	}
}

// Several requests on one connection: one record, and a body each.
func TestCurlKeepAlive(t *testing.T) {
	for _, version := range []string{"--http1.1", "--http2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			const requests = 5
			o := shared.golang
			host := o.host(t)
			dir := t.TempDir()
			args := []string{version, "-w", "%{num_connects} "}
			for i := range requests {
				args = append(args, "-o", filepath.Join(dir, string(rune('a'+i))), "https://"+host+"/blob")
			}
			out := curl(t, shared.edge, o.origin, args...)
			if want := "1 " + strings.Repeat("0 ", requests-1); out.stdout != want {
				t.Errorf("curl: connections opened by each request %q, want %q: %s", out.stdout, want, out.stderr)
			}
			for i := range requests {
				expectFile(t, filepath.Join(dir, string(rune('a'+i))), shared.blob)
			}
			shared.edge.expectRelayed(t, o.origin, host, 1)
			if got := len(o.visitsOf(host)); got != requests {
				t.Errorf("the origin saw %d requests, want %d", got, requests)
			}
		})
	}
}

func TestCurlUploads(t *testing.T) {
	upload := randomBytes(16 << 20)
	file := filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(file, upload, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*origin{shared.golang.origin, shared.node} {
		for _, version := range []string{"--http1.1", "--http2"} {
			t.Run(o.kind+version, func(t *testing.T) {
				t.Parallel()
				host := o.host(t)
				out := curl(t, shared.edge, o, version, "--data-binary", "@"+file, "https://"+host+"/sum")
				if want := hexSum(upload); out.stdout != want {
					t.Errorf("the origin has the SHA-256 %q, want %q: %s", out.stdout, want, out.stderr)
				}
				r := shared.edge.expectRelayed(t, o, host, 1)[0]
				if r.Up < int64(len(upload)) {
					t.Errorf("record %+v, want up at least %d", r, len(upload))
				}
			})
		}
	}
}
