package e2e

import (
	"net"
	"strings"
	"testing"
)

// A server whose address becomes the edge's own while it runs leads back to it. The edge knows its
// own connection, and one client costs a handful of connections, not all that there are.
func TestServerBecomesTheEdgeItself(t *testing.T) {
	for _, c := range []struct{ name, listen, server, address string }{
		{"IPv4", "0.0.0.0:443", "10.77.0.1:443", "10.77.0.1/32"},
		{"IPv6", "[::]:443", "[fd77::1]:443", "fd77::1/128"},
		{"IPv4-by-IPv6", "[::]:443", "10.77.0.1:443", "10.77.0.1/32"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newNetns(t)
			e := planFor(t, plan{through: n.through(), listen: c.listen, routes: route("*.test", c.server)})
			n.ip("address", "add", c.address, "dev", "lo")
			client := n.dial("127.0.0.1:443")
			client.SendBytes(helloFor(t, "loop.test"))
			client.Want("\x15\x03\x01\x00\x02\x02\x50") // internal_error
			client.WantEnd(nil)
			client.Close()
			e.wantOneLoop(t, "loop.test")
		})
	}
}

// Two edges that name each other send one hello back and forth. The first that sees it again ends that.
func TestTwoEdgesNameEachOther(t *testing.T) {
	for _, c := range []struct{ name, a, b, bits, keys string }{
		{"IPv4", "10.77.3.1", "10.77.3.2", "24", ""},
		{"IPv6", "fd77::1", "fd77::2", "64", ""},
		// The other edge has answered, which a server has not that sends a hello back, but only to what precedes it.
		{"PostgreSQL", "10.77.3.1", "10.77.3.2", "24", ", starttls: postgres"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			here, there := newNetns(t), newNetns(t)
			here.link("edges", c.a+"/"+c.bits, there, c.b+"/"+c.bits)
			a, b := net.JoinHostPort(c.a, "443"), net.JoinHostPort(c.b, "443")
			e := planFor(t, plan{through: here.through(), listen: a, keys: c.keys, routes: route("*.test", b)})
			planFor(t, plan{through: there.through(), listen: b, keys: c.keys, routes: route("*.test", a)})
			client := here.dial(a)
			if c.keys != "" {
				client.Send(sslRequest)
				client.Want("S")
			}
			client.SendBytes(helloFor(t, "loop.test"))
			client.Want("\x15\x03\x01\x00\x02\x02\x50") // internal_error
			client.WantEnd(nil)
			client.Close()
			e.wantOneLoop(t, "loop.test")
		})
	}
}

// wantOneLoop looks at the records of one client that ran into a loop.
func (e *edge) wantOneLoop(t *testing.T, name string) {
	t.Helper()
	all := e.atLeast(t, name, 2)
	if len(all) > 4 {
		t.Errorf("%d connections for one client, want 2 or a few more", len(all))
	}
	looped := 0
	for _, r := range all {
		if r.Reason == "loop" && strings.Contains(r.Error, "leads back") {
			looped++
		}
	}
	if looped != 1 {
		t.Errorf("%d records with the reason loop and \"leads back\" in the error, want 1: %+v", looped, all)
	}
}
