package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"keyhole/internal/testkit"
)

// clientHello returns the first bytes of a handshake.
func clientHello(t *testing.T, name string) string {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		defer client.Close()
		tls.Client(client, &tls.Config{ServerName: name}).Handshake() // fails when server is closed
	}()
	b := make([]byte, 16<<10)
	n, err := server.Read(b) // a pipe's read ends where the write does
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// TestHelloMemory shows that limits.hello_memory bounds two hellos that are half there, and that a
// reload changes it.
func TestHelloMemory(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("limits: {hello_bytes: 4096, hello_memory: 4096}") // room for one
	cmd := exec.Command("keyhole", "run", "--config", s.file)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // one loop, which ends its oldest hello
	edge := launch(t, cmd)
	at := edge.address()
	hello := clientHello(t, demoShop)
	first, rest := hello[:len(hello)/2], hello[len(hello)/2:]
	const answer = "\x16" // the type of the origin's first record
	begin := func() *testkit.Peer {
		p := testkit.Dial(t, at)
		p.Send(first)
		return p
	}

	a, b := begin(), begin()
	a.WantEnd(nil)
	edge.stdout.Expect(t, ` reason=hello_memory phase=hello `)
	b.Send(rest)
	b.Want(answer)

	s.configure("limits: {hello_bytes: 4096, hello_memory: 65536}")
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `msg="configuration reloaded"`)
	a, b = begin(), begin()
	s.visit(at, demoShop).leave() // the edge has read what came before
	for _, p := range []*testkit.Peer{a, b} {
		p.Send(rest)
		p.Want(answer)
	}
}

// TestKeepalive shows that the kernel watches clients for timeouts.keepalive, and that a reload
// changes it for those to come.
func TestKeepalive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("timeouts: {keepalive: 1h}")
	edge := s.start()
	at := netip.MustParseAddrPort(edge.address())
	before := s.visit(at.String(), demoShop)
	before.isWatched(at, 3600)

	s.configure("timeouts: {keepalive: off}")
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `msg="configuration reloaded"`)
	s.visit(at.String(), demoShop).isWatched(at, 0)
	before.isWatched(at, 3600)
}

// isWatched waits until the edge's socket to the client has a keep-alive timer of at most so many
// seconds and more than half of them, or none for 0.
func (v *visit) isWatched(edge netip.AddrPort, seconds int) {
	v.Helper()
	client := netip.MustParseAddrPort(v.conn.LocalAddr().String())
	testkit.Eventually(v.T, fmt.Sprintf("a keep-alive timer of %d seconds", seconds), func() bool {
		left := keepaliveTimer(v.T, edge, client)
		return seconds/2 <= left && left <= seconds && (left > 0 || seconds == 0)
	})
}

// keepaliveTimer returns how many seconds are left of the timer of a connected socket, 0 for none,
// and -1 while another timer hides it. In /proc/net/tcp (proc_net_tcp.txt of the kernel) an address
// is hexadecimal, and timer 2 is keep-alive, with what is left in hundredths of seconds.
func keepaliveTimer(t *testing.T, local, remote netip.AddrPort) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	ports := fmt.Sprintf(":%04X 0100007F:%04X 01 ", local.Port(), remote.Port())
	for line := range strings.Lines(string(table)) {
		if !strings.Contains(line, ports) {
			continue
		}
		kind, left, _ := strings.Cut(strings.Fields(line)[5], ":")
		n, err := strconv.ParseUint(left, 16, 64)
		if err != nil {
			t.Fatalf("timer in %q: %v", line, err)
		}
		switch kind {
		case "00":
			return 0
		case "02":
			return int(n+99) / 100
		}
		return -1
	}
	t.Fatalf("no connection from %s to %s in\n%s", remote, local, table)
	return 0
}
