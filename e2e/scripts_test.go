package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// A sight is what a client's script prints of one request.
type sight struct {
	Name        string // that it asked for
	Fingerprint string // of the certificate that it verified
	Version     string // of TLS, "TLSv1.3"
	SHA256      string // of the body
}

func TestNode(t *testing.T) { testScript(t, "node", "testdata/client.mjs") }

func TestJava(t *testing.T) { testScript(t, "java", "-XX:TieredStopAtLevel=1", "testdata/Client.java") }

func TestPython(t *testing.T) { testScript(t, "python3", "testdata/client.py") }

// testScript has a program get /blob from every origin, with TLS 1.2 and 1.3.
func testScript(t *testing.T, program string, args ...string) {
	t.Parallel()
	e := shared.edge
	args = append(args, e.port, shared.ca.file, "/blob")
	for _, o := range shared.origins() {
		args = append(args, o.host(t))
	}
	out := run(t, program, args...)
	if out.status != 0 {
		t.Fatalf("%s: status %d, want 0\n%s%s", program, out.status, out.stdout, out.stderr)
	}
	sights := json.NewDecoder(strings.NewReader(out.stdout))
	for _, o := range shared.origins() {
		for _, version := range []string{"TLSv1.2", "TLSv1.3"} {
			want := sight{o.host(t), o.id.fingerprint(), version, hexSum(shared.blob)}
			var got sight
			if err := sights.Decode(&got); err != nil {
				t.Fatalf("%s: %v in:\n%s", program, err, out.stdout)
			}
			if got != want {
				t.Errorf("%s saw %+v, want %+v", program, got, want)
			}
		}
		e.expectRelayed(t, o, o.host(t), 2)
	}
}
