package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"syscall"
	"testing"

	"keyhole/internal/testkit"
)

// reached connects to demoBlog from an address and says whether the blog answers, which the shop
// cannot.
func (s *site) reached(edge, from string) (blog bool) {
	s.Helper()
	dialer := &net.Dialer{Timeout: testkit.Patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := tls.DialWithDialer(dialer, "tcp", edge, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		s.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].VerifyHostname(demoBlog) == nil
}

func (s *site) splitRoute(shop, blog int, sticky string) string {
	return fmt.Sprintf("default: {backend: [{name: %q, weight: %d}, {name: %q, weight: %d}]%s}", s.shop, shop, s.blog, blog, sticky)
}

// TestSplit shows that connections go to the backends of a split by their weights, which a reload
// changes.
func TestSplit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(s.splitRoute(0, 1, ""))
	edge := s.start()
	at := edge.address()
	for range 10 {
		if !s.reached(at, "127.0.0.1") {
			t.Fatal("a client reached the backend of weight 0")
		}
	}
	s.configure(s.splitRoute(1, 1, ""))
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `msg="configuration reloaded"`)
	for seen := map[bool]bool{}; len(seen) < 2; {
		seen[s.reached(at, "127.0.0.1")] = true
	}
	edge.stop()
}

// TestStickySplit shows that a client address stays with its backend, and that others get the other.
func TestStickySplit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure(s.splitRoute(1, 1, ", sticky: client"))
	edge := s.start()
	at := edge.address()
	seen := map[bool]bool{}
	for i := 1; len(seen) < 2; i++ {
		from := fmt.Sprintf("127.0.0.%d", i)
		blog := s.reached(at, from)
		for range 3 {
			if s.reached(at, from) != blog {
				t.Fatalf("%s reached both backends, want one", from)
			}
		}
		seen[blog] = true
	}
	edge.stop()
}
