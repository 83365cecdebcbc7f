package e2e

import (
	"bytes"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyhole/internal/testkit"
)

// Real clients of PostgreSQL find their server by the name in a hello that they send only once they were answered, and
// check its certificate.
func TestPostgres(t *testing.T) {
	one, two := startCluster(t, "one-pg"), startCluster(t, "two-pg")
	e := postgresEdge(t, "", one.origin, two.origin)

	for _, c := range []*cluster{one, two} {
		for _, settings := range [][]string{
			nil, {"gssencmode=disable"}, {"gssencmode=prefer"}, {"sslmode=require"}, {"sslmode=verify-ca"}, {"sslmode=prefer"},
		} {
			t.Run(c.kind+" "+strings.Join(settings, " "), func(t *testing.T) {
				host := c.host(t)
				wantPsql(t, e.conninfo(host, settings...), "SHOW cluster_name", c.kind)
				if r := e.expectRelayed(t, c.origin, host, 1)[0]; r.Attempts != 1 {
					t.Errorf("record %+v, want one attempt", r)
				}
			})
		}
	}

	t.Run("TLS is the server's", func(t *testing.T) {
		host := one.host(t)
		wantPsql(t, e.conninfo(host), "SELECT ssl, version LIKE 'TLS%' FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "t|t")
		e.expectRelayed(t, one.origin, host, 1)
		strange := "strange." + one.domain
		out := psql(t, e.conninfo(strange, "sslrootcert="+two.id.certFile), "SELECT 1")
		if out.status == 0 || !strings.Contains(out.stderr, "certificate verify failed") {
			t.Errorf("psql that trusts another authority: status %d, %s", out.status, out.stderr)
		}
		e.expect(t, strange, 1)
	})

	t.Run("large statements and answers", func(t *testing.T) {
		host := one.host(t)
		text := hex.EncodeToString(shared.blob)
		file := filepath.Join(t.TempDir(), "statement.sql")
		if err := os.WriteFile(file, []byte("SELECT md5('"+text+"'); SELECT repeat('"+text[:1000]+"', 10000)"), 0o600); err != nil {
			t.Fatal(err)
		}
		out := run(t, "psql", "-XAt", "-f", file, e.conninfo(host))
		want := fmt.Sprintf("%x\n%s\n", md5.Sum([]byte(text)), strings.Repeat(text[:1000], 10000))
		if out.status != 0 || out.stdout != want {
			t.Errorf("psql: status %d, %d bytes, want the %d of the two answers; it said %s", out.status, len(out.stdout), len(want), out.stderr)
		}
		if r := e.expectRelayed(t, one.origin, host, 1)[0]; r.Up < int64(len(text)) || r.Down < 10_000_000 {
			t.Errorf("record %+v, want the bytes of both", r)
		}
	})

	t.Run("a GSSENCRequest comes first", func(t *testing.T) {
		host := two.host(t)
		s := dialSession(t, e, host, gssEncRequest, "N", sslRequest, "S")
		s.Close()
		e.expectRelayed(t, two.origin, host, 1)
	})

	t.Run("a name without a route", func(t *testing.T) {
		out := psql(t, e.conninfo("db.unknown.example"), "SELECT 1")
		if out.status == 0 || !strings.Contains(out.stderr, "unrecognized name") {
			t.Errorf("psql: status %d, %s, want the alert for an unknown name", out.status, out.stderr)
		}
		e.expectRejected(t, "db.unknown.example", "no_route")
	})
	t.Run("psycopg2", func(t *testing.T) { testPsycopg2(t, one) })
	t.Run("cancel", func(t *testing.T) { testPostgresCancel(t, one, two) })
}

// A client that asks for no TLS learns why it is refused; sslmode=allow then asks for it.
func TestPostgresWithoutTLS(t *testing.T) {
	c := startCluster(t, "plain-pg")
	e := postgresEdge(t, "", c.origin)
	out := psql(t, e.conninfo(c.host(t), "sslmode=disable"), "SELECT 1")
	if out.status != 2 || !strings.Contains(out.stderr, "FATAL:  this server takes connections with TLS only") ||
		!strings.Contains(out.stderr, "HINT:  Use sslmode=require") {
		t.Errorf("psql with sslmode=disable: status %d, %s", out.status, out.stderr)
	}
	e.only(t, "", "no_tls_asked")
	host := "allow." + c.domain
	wantPsql(t, e.conninfo(host, "sslmode=allow"), "SHOW cluster_name", c.kind)
	e.only(t, "", "no_tls_asked")
	e.expectRelayed(t, c.origin, host, 1)
}

// A server that has its TLS turned off gets no hello, and the record says so.
func TestPostgresServerWithoutTLS(t *testing.T) {
	c := startCluster(t, "off-pg", "ssl=off")
	e := postgresEdge(t, "", c.origin)
	host := c.host(t)
	if out := psql(t, e.conninfo(host), "SELECT 1"); out.status == 0 || !strings.Contains(out.stderr, "internal error") {
		t.Errorf("psql: status %d, %s, want the alert of an internal error", out.status, out.stderr)
	}
	if r := e.only(t, host, "starttls_refused"); r.Phase != "dial" || !strings.Contains(r.Error, "the server answered N") {
		t.Errorf("record %+v, want the server's N", r)
	}
}

// A client that begins with TLS (sslnegotiation=direct) reaches a server that takes that, and its protocol too.
func TestPostgresDirect(t *testing.T) {
	o, err := shared.newOrigin("direct-pg", newECDSA)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{o.id.Certificate}, NextProtos: []string{"postgresql"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		if c, err := l.Accept(); err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	o.address = l.Addr().String()
	e := postgresEdge(t, "", o)
	host := o.host(t)
	conn := dialTLS(t, e, host, &tls.Config{NextProtos: []string{"postgresql"}})
	if p := conn.ConnectionState().NegotiatedProtocol; p != "postgresql" {
		t.Errorf("the origin speaks %q, want postgresql", p)
	}
	conn.Close()
	if r := e.expect(t, host, 1)[0]; r.ALPN != "postgresql" || r.Phase != "relay" || r.Server != o.address {
		t.Errorf("record %+v, want the protocol postgresql at %s", r, o.address)
	}

	c := startCluster(t, "direct-real-pg")
	e = postgresEdge(t, "", c.origin)
	host = c.host(t)
	if c.major >= 17 {
		wantPsql(t, e.conninfo(host, "sslnegotiation=direct"), "SHOW cluster_name", c.kind)
		e.expectRelayed(t, c.origin, host, 1)
		return
	}
	// An older server takes the hello for a packet that is too long. It gets it all the same, and says what it thinks.
	p := testkit.Dial(t, e.address)
	p.SendBytes(helloFor(t, host))
	p.WantEnd(nil)
	p.Close()
	c.Expect(t, "invalid length of startup packet")
	e.expect(t, host, 1)
}

// testPsycopg2 has libpq's other great user run a few statements.
func testPsycopg2(t *testing.T, c *cluster) {
	e := postgresEdge(t, "", c.origin)
	host := c.host(t)
	const program = `
import sys, psycopg2
with psycopg2.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    cursor.execute("CREATE TEMPORARY TABLE t AS SELECT generate_series(1, 100000) AS n")
    cursor.execute("SELECT n FROM t")
    print(sum(n for (n,) in cursor), connection.info.ssl_in_use, connection.info.parameter_status("server_encoding"))
`
	out := run(t, "/usr/bin/python3", "-c", program, e.conninfo(host))
	if want := "5000050000 True UTF8"; strings.TrimSpace(out.stdout) != want {
		t.Errorf("psycopg2: status %d, %q, want %q; it said %s", out.status, out.stdout, want, out.stderr)
	}
	e.expectRelayed(t, c.origin, host, 1)
}

// testPostgresCancel cancels statements. libpq sends that request without TLS, and so without a name: it goes where the
// listener's no_sni says, and nowhere without one.
func testPostgresCancel(t *testing.T, c, other *cluster) {
	named := postgresEdge(t, "", c.origin, other.origin)
	nameless := postgresEdge(t, ", no_sni: {backend: "+c.kind+"}", c.origin, other.origin)

	t.Run("psycopg2", func(t *testing.T) {
		host := c.host(t)
		out := run(t, "/usr/bin/python3", "testdata/cancel.py", nameless.conninfo(host), "wait")
		if !strings.Contains(out.stdout, "cancelled") {
			t.Errorf("cancel.py: status %d, %q, want that the statement was cancelled; it said %s", out.status, out.stdout, out.stderr)
		}
		if r := nameless.expect(t, "", 1)[0]; r.Route != "no_sni" || r.Server != c.address || r.Up != 16 || r.Down != 0 {
			t.Errorf("record %+v, want the 16 bytes of the request at %s", r, c.address)
		}
		nameless.expect(t, host, 2)
	})

	t.Run("psycopg2 without a place for it", func(t *testing.T) {
		host := c.host(t)
		out := run(t, "/usr/bin/python3", "testdata/cancel.py", named.conninfo(host), "leave")
		if !strings.Contains(out.stdout, "asked") || strings.Contains(out.stdout, "cancelled") {
			t.Errorf("cancel.py: status %d, %q, want that the request ended and did nothing; it said %s", out.status, out.stdout, out.stderr)
		}
		if r := named.only(t, "", "no_tls_asked"); !strings.Contains(r.Error, "CancelRequest") || r.Server != "" {
			t.Errorf("record %+v, want a CancelRequest without a server", r)
		}
	})

	t.Run("psql", func(t *testing.T) {
		host := "interrupted." + c.domain
		p := testkit.LaunchFor(t, exec.Command("psql", "-XAt", "-c", "SELECT pg_sleep(86400)", nameless.conninfo(host, "application_name=asleep")))
		awaitAsleep(t, nameless.conninfo(host), "application_name = 'asleep'")
		p.Process.Signal(syscall.SIGINT)
		p.Expect(t, "canceling statement due to user request")
		p.Status(t)
		nameless.expect(t, "", 1)
	})

	t.Run("with TLS", func(t *testing.T) { // as PQcancelBlocking of PostgreSQL 17 does
		host := c.host(t)
		dialSession(t, named, host, sslRequest, "S").wantCanceled(named.conninfo(host), func(request []byte) {
			conn := dialTLS(t, named, host, nil, sslRequest, "S")
			if _, err := conn.Write(request); err != nil {
				t.Fatal(err)
			}
			conn.Read(make([]byte, 1)) // until the server has ended it
		})
	})

	t.Run("what is no CancelRequest", func(t *testing.T) {
		p := testkit.Dial(t, nameless.address)
		p.SendBytes(bytes.Repeat([]byte{0}, 16))
		p.WantEnd(nil)
		nameless.only(t, "", "starttls_malformed")
	})
}
