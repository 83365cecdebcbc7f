package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyhole/cmd/internal/cli"
	"keyhole/internal/testkit"
)

// A site is two origins with keys of their own, and the configuration file of an edge before them.
type site struct {
	*testing.T
	trust      *x509.CertPool
	shop, blog string // addresses of the origins
	file       string
}

func newSite(t *testing.T) *site {
	t.Helper()
	ca, err := cli.NewAuthority("test authority")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, trust: x509.NewCertPool(), file: filepath.Join(t.TempDir(), "keyhole.yaml")}
	s.trust.AppendCertsFromPEM(ca.CertificatePEM())
	s.shop, s.blog = s.origin(ca, demoShop), s.origin(ca, demoBlog)
	return s
}

func (s *site) origin(ca *cli.Authority, name string) (address string) {
	s.Helper()
	o, err := startDemoOrigin(ca, name)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { o.Close() })
	return o.Addr
}

// configure writes the file: a route to shop, and further lines.
func (s *site) configure(lines ...string) {
	s.Helper()
	if err := os.WriteFile(s.file, []byte(s.text(lines...)), 0o644); err != nil {
		s.Fatal(err)
	}
}

func (s *site) text(lines ...string) string {
	text := fmt.Sprintf("listen: [{address: \"127.0.0.1:0\"}]\nroutes:\n  - {sni: %s, backend: %q}\n", demoShop, s.shop)
	return text + strings.Join(lines, "\n") + "\n"
}

// blogRoute is a line of configure.
func (s *site) blogRoute() string { return fmt.Sprintf("  - {sni: %s, backend: %q}", demoBlog, s.blog) }

// start runs an edge with the configuration.
func (s *site) start() *process {
	s.Helper()
	return start(s.T, "run", "--config", s.file)
}

// A visit is a TLS connection through the edge.
type visit struct {
	*testing.T
	name string
	conn *tls.Conn
	in   *bufio.Reader
}

func (s *site) tryVisit(edge, name string) (*visit, error) {
	dialer := &net.Dialer{Timeout: testkit.Patience}
	c, err := tls.DialWithDialer(dialer, "tcp", edge, &tls.Config{ServerName: name, RootCAs: s.trust})
	if err != nil {
		return nil, err
	}
	s.Cleanup(func() { c.Close() })
	return &visit{s.T, name, c, bufio.NewReader(c)}, nil
}

// visit connects to name, and wants the origin of that name to answer.
func (s *site) visit(edge, name string) *visit {
	s.Helper()
	v, err := s.tryVisit(edge, name)
	if err != nil {
		s.Fatalf("connecting to %s: %v", name, err)
	}
	v.ask()
	return v
}

// turnedAway wants the alert for a name without a route.
func (s *site) turnedAway(edge, name string) {
	s.Helper()
	_, err := s.tryVisit(edge, name)
	const unrecognizedName = tls.AlertError(112)
	if got := fmt.Sprint(err); !strings.Contains(got, unrecognizedName.Error()) {
		s.Fatalf("connecting to %s: %s, want %v", name, got, unrecognizedName)
	}
}

// ask sends a request and wants the origin's own answer. The connection stays open.
func (v *visit) ask() {
	v.Helper()
	got, err := v.request()
	if want := "This is " + v.name + ":"; err != nil || !strings.HasPrefix(got, want) {
		v.Fatalf("asking %s: %q, %v, want %q...", v.name, got, err, want)
	}
}

// leave closes as an orderly client does that has no more to ask: its end goes first, and the
// origin's is waited for. A client that closes at once can be seen as a reset, since the origin's
// farewell finds nobody.
func (v *visit) leave() {
	v.Helper()
	if err := v.conn.NetConn().(*net.TCPConn).CloseWrite(); err != nil {
		v.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, v.conn.NetConn()); err != nil {
		v.Fatalf("leaving %s: %v, want the origin's end", v.name, err)
	}
	v.conn.NetConn().Close()
}

func (v *visit) request() (string, error) {
	if _, err := fmt.Fprintf(v.conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", v.name); err != nil {
		return "", err
	}
	r, err := http.ReadResponse(v.in, nil)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	line, err := bufio.NewReader(r.Body).ReadString('\n')
	return line, err
}

// isCut wants the edge to have ended the connection.
func (v *visit) isCut() {
	v.Helper()
	if got, err := v.request(); err == nil {
		v.Fatalf("asking %s on a connection that was cut: %q, want an error", v.name, got)
	}
}

// pipe makes the configuration file a FIFO.
func (s *site) pipe() {
	s.Helper()
	if err := os.Remove(s.file); err != nil && !os.IsNotExist(err) {
		s.Fatal(err)
	}
	if err := syscall.Mkfifo(s.file, 0o600); err != nil {
		s.Fatal(err)
	}
}

// writer opens the FIFO for writing, once an edge reads it.
func (s *site) writer() *os.File {
	s.Helper()
	f, err := os.OpenFile(s.file, os.O_WRONLY, 0)
	if err != nil {
		s.Fatal(err)
	}
	return f
}

// send writes what configure would, and closes the FIFO.
func (s *site) send(w *os.File, lines ...string) {
	s.Helper()
	if _, err := w.WriteString(s.text(lines...)); err != nil {
		s.Fatal(err)
	}
	if err := w.Close(); err != nil {
		s.Fatal(err)
	}
}

// manyRoutes are lines of configure.
func (s *site) manyRoutes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - {sni: host-%d.keyhole.test, backend: %q}\n", i, s.blog)
	}
	return b.String()
}
