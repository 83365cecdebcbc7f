package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keyhole/internal/testkit"
)

// sClient starts an openssl s_client for one of an origin's names. It ends without a certificate that is good for the
// name.
func sClient(t *testing.T, e *edge, host string, args ...string) *testkit.Program {
	t.Helper()
	return testkit.LaunchFor(t, exec.Command("openssl", append([]string{
		"s_client", "-connect", e.address, "-servername", host,
		"-CAfile", shared.ca.file, "-verify_hostname", host, "-verify_return_error",
	}, args...)...))
}

// getGreeting has an s_client get the greeting and returns all that it printed.
func getGreeting(t *testing.T, e *edge, o *origin, host string, args ...string) string {
	t.Helper()
	p := sClient(t, e, host, args...)
	p.Say(t, "GET /greeting HTTP/1.0\r\nHost: "+host+"\r\n\r\n")
	p.Expect(t, greeting)
	p.Status(t)
	text := p.Printed()
	expectCertificate(t, "s_client", o, []byte(text))
	return text
}

// expectCertificate fails the test unless the first certificate in text is the origin's.
func expectCertificate(t *testing.T, client string, o *origin, text []byte) {
	t.Helper()
	if got, want := fingerprintPEM(text), o.id.fingerprint(); got != want {
		t.Errorf("%s saw the certificate %q, want %s of %s; it printed:\n%s", client, got, want, o.kind, text)
	}
}

// sessions are how s_client tells of a new and of a resumed one, by its flag for the version of TLS.
var sessions = []struct{ flag, fresh, resumed string }{
	{"-tls1_2", "New, TLSv1.2, ", "Reused, TLSv1.2, "},
	{"-tls1_3", "New, TLSv1.3, ", "Reused, TLSv1.3, "},
}

// A session that one connection began goes on in another, which the origin must recognise.
func TestOpenSSLResumes(t *testing.T) {
	for _, s := range sessions {
		t.Run(s.flag, func(t *testing.T) {
			eachOrigin(t, func(t *testing.T, o *origin) {
				host := o.host(t)
				file := filepath.Join(t.TempDir(), "session")
				first := getGreeting(t, shared.edge, o, host, s.flag, "-sess_out", file)
				if !strings.Contains(first, s.fresh) {
					t.Errorf("s_client %s: no %q in:\n%s", s.flag, s.fresh, first)
				}
				second := getGreeting(t, shared.edge, o, host, s.flag, "-sess_in", file)
				if !strings.Contains(second, s.resumed) {
					t.Errorf("s_client %s -sess_in: no %q in:\n%s", s.flag, s.resumed, second)
				}
				shared.edge.expectRelayed(t, o, host, 2)
			})
		})
	}
}

// The origin asks for the client's certificate and gets it, though the edge has never seen one.
func TestOpenSSLClientCertificate(t *testing.T) {
	for _, s := range sessions {
		t.Run(s.flag, func(t *testing.T) {
			t.Parallel()
			o, e := opensslFor(t, "-Verify", "1", "-CAfile", shared.ca.file, "-verify_return_error")
			host := o.host(t)
			id, err := shared.ca.issue("a client of the tests", newECDSA)
			if err != nil {
				t.Fatal(err)
			}
			p := sClient(t, e, host, s.flag, "-cert", id.certFile, "-key", id.keyFile)
			p.Say(t, greeting+"\n")
			o.Expect(t, greeting)
			p.Say(t, "Q\n")
			p.Status(t)
			text := o.Printed()
			_, peer, _ := strings.Cut(text, "Client certificate")
			if got, want := fingerprintPEM([]byte(peer)), id.fingerprint(); got != want {
				t.Errorf("the origin saw the client certificate %q, want %s; it printed:\n%s", got, want, text)
			}
			e.expectRelayed(t, o.origin, host, 1)
		})
	}
}

func TestOpenSSLWithoutClientCertificate(t *testing.T) {
	t.Parallel()
	o, e := opensslFor(t, "-Verify", "1", "-CAfile", shared.ca.file, "-verify_return_error")
	host := o.host(t)
	p := sClient(t, e, host, "-tls1_3")
	p.Expect(t, "alert number 116") // certificate_required, from the origin
	p.Status(t)
	e.expectRelayed(t, o.origin, host, 1)
}

// Early data comes right behind the hello, before the origin has said a word.
func TestOpenSSLEarlyData(t *testing.T) {
	t.Parallel()
	o, e := opensslFor(t, "-early_data", "-tls1_3")
	host := o.host(t)
	dir := t.TempDir()
	session, early := filepath.Join(dir, "session"), filepath.Join(dir, "early")
	const text = "said before the handshake was over"
	if err := os.WriteFile(early, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := sClient(t, e, host, "-sess_out", session)
	first.Say(t, "hello\n")
	o.Expect(t, "hello")
	o.Say(t, "welcome\n")
	first.Expect(t, "welcome") // the ticket went before it, and is in the file
	first.Say(t, "Q\n")
	first.Status(t)

	second := sClient(t, e, host, "-sess_in", session, "-early_data", early)
	second.Expect(t, "Early data was accepted")
	o.Expect(t, text)
	o.Expect(t, "Early data received")
	second.Say(t, "Q\n")
	second.Status(t)
	e.expectRelayed(t, o.origin, host, 2)
}
