package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keyhole/internal/testkit"
)

func TestGnuTLS(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			eachOrigin(t, func(t *testing.T, o *origin) {
				host := o.host(t)
				log := gnutls(t, o, host, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS"+version)
				if want := "(TLS" + version + "-"; !strings.Contains(log, want) {
					t.Errorf("gnutls-cli: no %q in:\n%s", want, log)
				}
				shared.edge.expectRelayed(t, o, host, 1)
			})
		})
	}
}

func TestGnuTLSResumes(t *testing.T) {
	eachOrigin(t, func(t *testing.T, o *origin) {
		host := o.host(t)
		log := gnutls(t, o, host, "--resume", "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2")
		if want := "*** This is a resumed session"; !strings.Contains(log, want) {
			t.Errorf("gnutls-cli --resume: no %q in:\n%s", want, log)
		}
		shared.edge.expectRelayed(t, o, host, 2)
	})
}

// gnutls gets the sample (it prints byte by byte) with gnutls-cli, which verifies the certificate, and returns what that
// printed of the connection.
func gnutls(t *testing.T, o *origin, host string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	certificate, log := filepath.Join(dir, "certificate"), filepath.Join(dir, "log")
	cmd := exec.Command("gnutls-cli", append([]string{
		"--x509cafile", shared.ca.file, "--sni-hostname", host, "--verify-hostname", host,
		"--save-cert", certificate, "--logfile", log, "--port", shared.edge.port, "127.0.0.1",
	}, args...)...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	p := testkit.LaunchFor(t, cmd)
	p.Say(t, "GET /sample HTTP/1.0\r\nHost: "+host+"\r\n\r\n")
	status := p.Status(t)
	stderr := p.Printed()
	text := readFile(t, log)
	_, body, _ := bytes.Cut(stdout.Bytes(), []byte("\r\n\r\n"))
	if got, want := hexSum(body), hexSum(shared.sample()); got != want {
		t.Errorf("gnutls-cli: status %d, SHA-256 of %d bytes is %s, want %s of %d bytes\n%s%s",
			status, len(body), got, want, len(shared.sample()), stderr, text)
	}
	expectCertificate(t, "gnutls-cli", o, []byte(readFile(t, certificate)))
	return text
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
