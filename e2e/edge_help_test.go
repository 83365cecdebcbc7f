package e2e

import (
	"cmp"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"keyhole/internal/testkit"
)

// A plan is the configuration of an edge for clients and origins that are no TLS programs: what
// follows a hello is the test's own bytes.
type plan struct {
	listen   string // empty: any free port
	keys     string // further keys of the listener: ", starttls: postgres"
	settings string // further sections: "timeouts: {idle: 1s}\n"
	log      string // further keys of the log: ", skip: [no_bytes]"
	backends string // a section of its own, or empty
	routes   string // "  - {sni: a.test, backend: ...}\n"
	through  []string
}

// planFor starts an edge. If the test fails, what the edge has written and nobody has asked for is
// shown.
func planFor(t *testing.T, p plan) *edge {
	t.Helper()
	e := edgeFor(t, setup{through: p.through, config: fmt.Sprintf(
		"listen: [{address: %q%s}]\nlog: {format: json, access: stdout%s}\n%s%sroutes:\n%s",
		cmp.Or(p.listen, "127.0.0.1:0"), p.keys, p.log, p.settings, p.backends, p.routes)})
	t.Cleanup(func() {
		if t.Failed() {
			others, _, _ := e.records.take("", math.MaxInt)
			t.Logf("the edge printed:\n%s\nand has records without a name: %+v", e.Printed(), others)
		}
	})
	return e
}

// route is a route to one server.
func route(name, server string) string {
	return fmt.Sprintf("  - {sni: %q, backend: %q}\n", name, server)
}

// helloFor returns the first record of a Go client for a server name. A name that is none of a host
// gets in too.
func helloFor(t testing.TB, name string) []byte {
	t.Helper()
	stand := strings.Repeat("x", len(name))
	hello := firstRecord(t, &tls.Config{ServerName: stand, InsecureSkipVerify: true})
	return []byte(strings.Replace(string(hello), stand, name, 1))
}

// firstRecord returns the first record that a Go client sends.
func firstRecord(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		tls.Client(here, c).Handshake() // fails once the other end is closed
		here.Close()
	}()
	record, err := readRecord(there)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// readRecord reads one TLS record, with its header.
func readRecord(r io.Reader) ([]byte, error) {
	record := make([]byte, 5)
	if _, err := io.ReadFull(r, record); err != nil {
		return nil, err
	}
	record = append(record, make([]byte, binary.BigEndian.Uint16(record[3:]))...)
	_, err := io.ReadFull(r, record[5:])
	return record, err
}

// exchange sends b and waits for its echo.
func exchange(c *testkit.Peer, b []byte) {
	c.T.Helper()
	c.SendBytes(b)
	c.WantBytes(b)
}

// needRoot fails the test for anybody else.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces or filters system calls: run it as root")
	}
}

// procNumber returns a number from a file in /proc, the one behind a word at the beginning of a
// line.
func procNumber(t testing.TB, file, word string) int {
	t.Helper()
	for line := range strings.Lines(readProc(t, file)) {
		if rest, found := strings.CutPrefix(line, word); found {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatalf("%s: %q: %v", file, line, err)
			}
			return n
		}
	}
	t.Fatalf("%s has no line that begins with %q", file, word)
	return 0
}

func readProc(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// proc is a file of the edge's in /proc.
func (e *edge) proc(file string) string { return fmt.Sprintf("/proc/%d/%s", e.Process.Pid, file) }

// sockets counts the edge's.
func (e *edge) sockets(t testing.TB) (n int) {
	t.Helper()
	entries, err := os.ReadDir(e.proc("fd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range entries {
		if to, err := os.Readlink(e.proc("fd/" + f.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// only returns the single record of a server name, and compares its reason.
func (e *edge) only(t *testing.T, name, reason string) record {
	t.Helper()
	r := e.expect(t, name, 1)[0]
	if r.Reason != reason {
		t.Errorf("record %+v, want reason %s", r, reason)
	}
	return r
}
