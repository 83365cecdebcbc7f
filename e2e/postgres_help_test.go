package e2e

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// A cluster is a PostgreSQL server, which lets in everybody who comes with TLS, and nobody without.
type cluster struct {
	*testkit.Program
	*origin
	major int // its version
}

// clusters counts those of this run. Each has an address of its own on loopback: PostgreSQL takes no port that the
// kernel chooses.
var clusters atomic.Uint32

var postgresReady = regexp.MustCompile(`(?s)starting PostgreSQL (\d+).*database system is ready to accept connections`)

// startCluster starts a server with a certificate for the names of its domain, and these settings.
func startCluster(t *testing.T, kind string, settings ...string) *cluster {
	t.Helper()
	o, err := shared.newOrigin(kind, newECDSA)
	if err != nil {
		t.Fatal(err)
	}
	// Not in shared.dir, which no other user can enter.
	dir, err := os.MkdirTemp("", "keyhole-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	who := postgresUser(t)
	data := filepath.Join(dir, "data")
	giveFile(t, who, dir, "")
	p := launchAs(t, who, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if p.Status(t) != 0 {
		t.Fatalf("initdb failed:\n%s", p.Printed())
	}
	for from, to := range map[string]string{o.id.certFile: "server.crt", o.id.keyFile: "server.key"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		giveFile(t, who, filepath.Join(data, to), string(b))
	}
	giveFile(t, who, filepath.Join(data, "pg_hba.conf"), "hostssl all all 127.0.0.0/8 trust\n")
	id := uint32(os.Getpid())<<4 + clusters.Add(1)
	ip := fmt.Sprintf("127.%d.%d.%d", 64+id>>16&63, id>>8&255, id&255)
	o.address = net.JoinHostPort(ip, "5432")
	args := []string{"-D", data}
	for _, s := range append([]string{
		"listen_addresses=" + ip, "port=5432", "unix_socket_directories=", "ssl=on", "cluster_name=" + kind,
		"fsync=off", "shared_buffers=8MB", "max_connections=20", "log_min_messages=log",
	}, settings...) {
		args = append(args, "-c", s)
	}
	c := &cluster{Program: launchAs(t, who, "postgres", args...), origin: o}
	t.Cleanup(c.shutdown)
	m, err := c.Await(postgresReady)
	if err != nil {
		t.Fatal(err)
	}
	c.major, _ = strconv.Atoi(m[1])
	return c
}

// shutdown has the server end its sessions and itself: killed, it would leave them behind for a while.
func (c *cluster) shutdown() {
	c.Process.Signal(syscall.SIGINT)
	select {
	case <-c.Ended:
	case <-time.After(testkit.Patience):
	}
}

// postgresUser is whom PostgreSQL runs as, which refuses to be root's.
func postgresUser(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil // the user's own
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("%v: Debian's package postgresql makes it, and .ci/install-clients installs that", err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}
}

// launchAs runs a program of PostgreSQL's server.
func launchAs(t *testing.T, who *syscall.Credential, program string, args ...string) *testkit.Program {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGINT}
	return testkit.LaunchFor(t, cmd)
}

// giveFile writes a file, if it has a content, and has who own it.
func giveFile(t *testing.T, who *syscall.Credential, file, content string) {
	t.Helper()
	if content != "" {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if who != nil {
		if err := os.Chown(file, int(who.Uid), int(who.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// postgresEdge starts an edge with a listener for PostgreSQL, which has these further keys, and routes to origins.
func postgresEdge(t *testing.T, keys string, origins ...*origin) *edge {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "listen: [{address: \"127.0.0.1:0\", starttls: postgres%s}]\nlog: {format: json}\nbackends:\n", keys)
	for _, o := range origins {
		fmt.Fprintf(&b, "  %s: {servers: [%q], retries: 0}\n", o.kind, o.address)
	}
	b.WriteString("routes:\n")
	for _, o := range origins {
		fmt.Fprintf(&b, "  - {sni: %q, backend: %s}\n", "*."+o.domain, o.kind)
	}
	e := edgeFor(t, setup{config: b.String()})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the edge printed:\n%s", e.Printed())
		}
	})
	return e
}

// conninfo is how libpq connects through the edge; further settings go before these.
func (e *edge) conninfo(host string, settings ...string) string {
	c := fmt.Sprintf("host=%s hostaddr=127.0.0.1 port=%s user=postgres dbname=postgres sslrootcert=%s", host, e.port, shared.ca.file)
	if !strings.Contains(strings.Join(settings, " "), "sslmode=") {
		c += " sslmode=verify-full"
	}
	return c + " " + strings.Join(settings, " ")
}

// psql runs one statement.
func psql(t *testing.T, conninfo, statement string) output {
	t.Helper()
	return run(t, "psql", "-XAt", "-c", statement, conninfo)
}

// wantPsql runs a statement that must succeed, and compares what it returns.
func wantPsql(t *testing.T, conninfo, statement, want string) {
	t.Helper()
	if out := psql(t, conninfo, statement); out.status != 0 || strings.TrimSpace(out.stdout) != want {
		t.Errorf("psql %q, %s: status %d, %.200q, want %q; it said %s", conninfo, statement, out.status, out.stdout, want, out.stderr)
	}
}

// A session is one of a client of a few lines, for what libpq does not do when it is asked.
type session struct {
	*tls.Conn
	t        *testing.T
	pid, key uint32
}

// Requests that precede TLS, and a statement's error when it is cancelled.
const (
	sslRequest    = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	gssEncRequest = "\x00\x00\x00\x08\x04\xd2\x16\x30"
	cancelRequest = "\x00\x00\x00\x10\x04\xd2\x16\x2e"
	queryCanceled = "C57014"
)

// dialTLS connects with TLS to a name, behind requests and the answers that they get: "request answer ...".
func dialTLS(t *testing.T, e *edge, host string, c *tls.Config, said ...string) *tls.Conn {
	t.Helper()
	p := testkit.Dial(t, e.address)
	for i := 0; i < len(said); i += 2 {
		p.Send(said[i])
		p.Want(said[i+1])
	}
	c = cmp.Or(c, &tls.Config{}).Clone()
	c.ServerName, c.RootCAs = host, shared.ca.pool
	conn := tls.Client(p.Conn, c)
	if err := conn.Handshake(); err != nil {
		t.Fatalf("TLS with %s: %v", host, err)
	}
	return conn
}

// dialSession begins a session.
func dialSession(t *testing.T, e *edge, host string, said ...string) *session {
	t.Helper()
	s := &session{Conn: dialTLS(t, e, host, nil, said...), t: t}
	s.send("\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00")
	for {
		switch typ, body := s.read(); typ {
		case 'K':
			s.pid, s.key = binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
		case 'Z':
			return s
		case 'E':
			t.Fatalf("the server says %q", body)
		}
	}
}

// send sends a message, which has a type or, as the first, none.
func (s *session) send(body string) {
	s.t.Helper()
	at := 0
	if body[0] != 0 {
		at = 1
	}
	b := append([]byte(body[:at]), binary.BigEndian.AppendUint32(nil, uint32(len(body)-at+4))...)
	if _, err := s.Write(append(b, body[at:]...)); err != nil {
		s.t.Fatal(err)
	}
}

// read reads the next message.
func (s *session) read() (typ byte, body []byte) {
	s.t.Helper()
	s.SetReadDeadline(time.Now().Add(testkit.Patience))
	head := make([]byte, 5)
	if _, err := io.ReadFull(s, head); err != nil {
		s.t.Fatal(err)
	}
	body = make([]byte, binary.BigEndian.Uint32(head[1:])-4)
	if _, err := io.ReadFull(s, body); err != nil {
		s.t.Fatal(err)
	}
	return head[0], body
}

// awaitAsleep waits until a session sleeps in a statement: a server forgets a CancelRequest that comes before one. It
// asks by conninfo for one that is so.
func awaitAsleep(t *testing.T, conninfo, is string) {
	t.Helper()
	testkit.Eventually(t, "the statement runs", func() bool {
		out := psql(t, conninfo, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND "+is)
		return strings.TrimSpace(out.stdout) == "1"
	})
}

// wantCanceled sleeps until somebody cancels that, which try does. Whether it sleeps is asked by conninfo.
func (s *session) wantCanceled(conninfo string, try func(request []byte)) {
	s.t.Helper()
	s.send("QSELECT pg_sleep(86400)\x00")
	awaitAsleep(s.t, conninfo, fmt.Sprintf("pid = %d", s.pid))
	request := binary.BigEndian.AppendUint32([]byte(cancelRequest), s.pid)
	try(binary.BigEndian.AppendUint32(request, s.key))
	for {
		switch typ, body := s.read(); {
		case typ == 'E' && bytes.Contains(body, []byte(queryCanceled)):
			return
		case typ == 'E' || typ == 'Z':
			s.t.Fatalf("the server answers %c, %q, want that the statement was cancelled", typ, body)
		}
	}
}
