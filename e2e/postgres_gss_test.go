package e2e

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// A libpq that finds a Kerberos ticket asks for encryption by GSSAPI first. The edge has none, and the client goes on to
// ask for TLS on the same connection.
func TestPostgresGSSEncRequestOfLibpq(t *testing.T) {
	c := startCluster(t, "gss-pg")
	e := postgresEdge(t, "", c.origin)
	host := c.host(t)
	through, said := overhear(t, e.address)
	dir := t.TempDir()
	files := map[string]string{
		"cache":     ticketCache("KEYHOLE.TEST", "postgres"),
		"krb5.conf": "[libdefaults]\ndefault_realm = KEYHOLE.TEST\ndns_lookup_kdc = false\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := net.SplitHostPort(through)
	e.port = port
	cmd := exec.Command("psql", "-XAt", "-c", "SHOW cluster_name", e.conninfo(host, "gssencmode=prefer"))
	cmd.Env = append(os.Environ(), "KRB5CCNAME=FILE:"+filepath.Join(dir, "cache"), "KRB5_CONFIG="+filepath.Join(dir, "krb5.conf"))
	p := testkit.LaunchFor(t, cmd)
	if p.Status(t) != 0 || strings.TrimSpace(p.Printed()) != c.kind {
		t.Fatalf("psql printed %q, want %q", p.Printed(), c.kind)
	}
	if first := <-said; first != gssEncRequest {
		t.Errorf("psql began with %q, want a GSSENCRequest", first)
	}
	if r := e.expectRelayed(t, c.origin, host, 1)[0]; r.Attempts != 1 {
		t.Errorf("record %+v, want one attempt", r)
	}
}

// overhear relays one connection to an address, and tells the first eight bytes of its client.
func overhear(t *testing.T, to string) (address string, said <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	first := make(chan string, 1)
	go func() {
		defer close(first)
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer server.Close()
		b := make([]byte, len(gssEncRequest))
		if _, err := io.ReadFull(client, b); err != nil {
			return
		}
		first <- string(b)
		server.Write(b)
		go func() {
			io.Copy(server, client)
			server.(*net.TCPConn).CloseWrite()
		}()
		io.Copy(client, server)
	}()
	return l.Addr().String(), first
}

// ticketCache is a credential cache of MIT Kerberos, in version 4 of its format, with a ticket-granting ticket that no
// server has issued: libpq looks whether there is one, and asks the server of PostgreSQL.
func ticketCache(realm, user string) string {
	var b []byte
	u32 := func(n uint32) { b = binary.BigEndian.AppendUint32(b, n) }
	data := func(s string) { u32(uint32(len(s))); b = append(b, s...) }
	principal := func(components ...string) {
		u32(1) // KRB5_NT_PRINCIPAL
		u32(uint32(len(components)))
		data(realm)
		for _, c := range components {
			data(c)
		}
	}
	b = append(b, 5, 4, 0, 0) // the version, and no header
	principal(user)
	principal(user)
	principal("krbtgt", realm)
	b = append(b, 0, 18) // the key is of aes256-cts-hmac-sha1-96
	data(fmt.Sprintf("%032d", 0))
	now := uint32(time.Now().Unix())
	for _, at := range []uint32{now, now, now + 24*3600, 0} { // authenticated, from, until, renewed until
		u32(at)
	}
	b = append(b, 0)                   // no session key of another
	u32(0x40e00000)                    // forwardable, initial, pre-authenticated
	u32(0)                             // addresses
	u32(0)                             // authorisation data
	data(strings.Repeat("ticket", 20)) // which only the server could read
	data("")
	return string(b)
}
