package e2e

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"keyhole/internal/testkit"
)

// sshSaid is what the SSH server answers to every command.
const sshSaid = "said over SSH"

// An sshServer answers commands of anybody.
type sshServer struct {
	address string
	key     ssh.PublicKey
}

func newSSHServer(t *testing.T) *sshServer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	c := &ssh.ServerConfig{NoClientAuth: true}
	c.AddHostKey(signer)
	o := testkit.NewOrigin(t)
	go func() {
		for {
			conn, err := o.Listener.Accept()
			if err != nil {
				return
			}
			go serveSSH(conn, c)
		}
	}()
	return &sshServer{o.Address(), signer.PublicKey()}
}

// serveSSH answers the commands of one client until it leaves.
func serveSSH(conn net.Conn, c *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, c)
	if err != nil {
		return // a client that only wants the host's key
	}
	go ssh.DiscardRequests(requests)
	for n := range channels {
		channel, requests, err := n.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			r.Reply(r.Type == "exec", nil)
			if r.Type == "exec" {
				fmt.Fprintln(channel, sshSaid)
				channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
				channel.Close()
			}
		}
	}
}

// mixedEdge has TLS, SSH and HTTP on one port.
func mixedEdge(t *testing.T, o *origin, ssh *sshServer, web string) *edge {
	t.Helper()
	return edgeFor(t, setup{config: fmt.Sprintf(`
listen:
  - address: "127.0.0.1:0"
    not_tls:
      - {begins: "SSH-", backend: %[1]q}
      - {begins: http, backend: %[2]q}
      - {silent: 300ms, backend: %[1]q}
timeouts: {hello: 1h}
log: {format: json, access: stdout}
backends: {%[3]s: {servers: [%[4]q]}}
routes: [{sni: "*.%[5]s", backend: %[3]s}]
`, ssh.address, web, o.kind, o.address, o.domain)})
}

// SSH, plain HTTP and TLS share a port, each with a client that knows nothing of the others.
func TestSSHAndHTTPBesideTLS(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "plain "+r.Method) }))
	t.Cleanup(web.Close)
	server, o := newSSHServer(t), shared.golang.origin
	e := mixedEdge(t, o, server, web.Listener.Addr().String())

	known := filepath.Join(t.TempDir(), "known_hosts")
	line := fmt.Sprintf("[127.0.0.1]:%s %s", e.port, ssh.MarshalAuthorizedKey(server.key))
	if err := os.WriteFile(known, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	out := run(t, "ssh", "-F", "none", "-p", e.port, "-o", "UserKnownHostsFile="+known, "-o", "StrictHostKeyChecking=yes",
		"-o", "BatchMode=yes", "nobody@127.0.0.1", "speak")
	if out.status != 0 || strings.TrimSpace(out.stdout) != sshSaid {
		t.Errorf("ssh: status %d, %q, want %q: %s", out.status, out.stdout, sshSaid, out.stderr)
	}
	wantPlain(t, e, "not_tls SSH-", server.address)

	// ssh-keyscan waits for the server's first line.
	out = run(t, "ssh-keyscan", "-T", "50", "-p", e.port, "-t", "ed25519", "127.0.0.1")
	if key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(server.key))); !strings.Contains(out.stdout, key) {
		t.Errorf("ssh-keyscan: status %d, %q, want %q: %s", out.status, out.stdout, key, out.stderr)
	}
	wantPlain(t, e, "not_tls silent", server.address)

	for _, method := range []string{"GET", "PROPFIND"} {
		out := run(t, "curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "50", "--request", method, "http://"+e.address+"/")
		if out.status != 0 || out.stdout != "plain "+method {
			t.Errorf("curl: status %d, %q, want %q: %s", out.status, out.stdout, "plain "+method, out.stderr)
		}
		wantPlain(t, e, "not_tls http", web.Listener.Addr().String())
	}

	host := o.host(t)
	getGreeting(t, e, o, host)
	e.expectRelayed(t, o, host, 1)
}

// wantPlain compares the record of a client that had no name.
func wantPlain(t *testing.T, e *edge, route, server string) {
	t.Helper()
	r := e.expect(t, "", 1)[0]
	if r.Route != route || r.Server != server || r.Phase != "relay" || r.Error != "" || r.Up == 0 || r.Down == 0 {
		t.Errorf("record %+v, want route %q to %s", r, route, server)
	}
}

// A port without TLS, whose server speaks first.
func TestSMTP(t *testing.T) {
	o := testkit.NewOrigin(t)
	go serveSMTP(o)
	e := edgeFor(t, setup{config: fmt.Sprintf("listen: [{address: \"127.0.0.1:0\", protocol: tcp, backend: %q}]\n"+
		"log: {format: json, access: stdout}\n", o.Address())})
	out := run(t, "curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "50", "--request", "NOOP", "smtp://"+e.address)
	if out.status != 0 || !strings.Contains(out.stdout, "250 did nothing") {
		t.Errorf("curl: status %d, %q: %s", out.status, out.stdout, out.stderr)
	}
	wantPlain(t, e, "tcp", o.Address())
}

// serveSMTP answers one client after another.
func serveSMTP(o *testkit.Origin) {
	for {
		c, err := o.Listener.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(c, "220 smtp.test ready\r\n")
		for lines := bufio.NewScanner(c); lines.Scan(); {
			switch word, _, _ := strings.Cut(lines.Text(), " "); word {
			case "EHLO":
				fmt.Fprint(c, "250 smtp.test\r\n")
			case "NOOP":
				fmt.Fprint(c, "250 did nothing\r\n")
			default:
				fmt.Fprint(c, "221 bye\r\n")
			}
		}
		c.Close()
	}
}
