package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keyhole/internal/testkit"
)

// pool is a backend "pool" with these servers.
func pool(retries int, servers ...string) string {
	return fmt.Sprintf("backends:\n  pool: {retries: %d, servers: [\"%s\"]}\n", retries, strings.Join(servers, `", "`))
}

const toPool = "  - {sni: \"*.test\", backend: pool}\n"

// served has clients greet one after the other, and returns the records of those connections.
func (n *netns) served(t *testing.T, e *edge, clients int) []record {
	t.Helper()
	for range clients {
		hello := helloFor(t, "client.test")
		c := n.dial(e.address)
		exchange(c, hello)
		c.Close()
	}
	all := e.expect(t, "client.test", clients)
	for _, r := range all {
		if r.Reason != "client_closed" {
			t.Errorf("record %+v, want reason client_closed", r)
		}
	}
	return all
}

// A machine without a route to a family serves every client by the other: a dial that fails here
// costs no retry.
func TestNoRouteToAFamily(t *testing.T) {
	for _, c := range []struct {
		name    string
		servers []string
	}{
		{"one-of-two", []string{"[2001:db8::5]:443", "127.0.0.1:9443"}},
		{"four-of-five", []string{"[2001:db8::5]:443", "[2001:db8::6]:443", "127.0.0.1:9443", "[2001:db8::7]:443", "[2001:db8::8]:443"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newNetns(t)
			n.listen("127.0.0.1:9443").Echo()
			e := planFor(t, plan{through: n.through(), backends: pool(0, c.servers...), routes: toPool})
			for _, r := range n.served(t, e, 20) {
				if r.Attempts != 1 {
					t.Errorf("record %+v, want 1 attempt", r)
				}
			}
		})
	}
}

// No route at all is this machine's fault, and the record says so.
func TestNoRouteAtAll(t *testing.T) {
	t.Parallel()
	n := newNetns(t)
	e := planFor(t, plan{through: n.through(), backends: pool(1, "[2001:db8::5]:443", "192.0.2.5:443"), routes: toPool})
	c := n.dial(e.address)
	c.SendBytes(helloFor(t, "client.test"))
	c.Want("\x15\x03\x01\x00\x02\x02\x50") // internal_error
	c.Close()
	if r := e.only(t, "client.test", "no_local_route"); !strings.Contains(r.Error, "network is unreachable") {
		t.Errorf("record %+v, want \"network is unreachable\" in its error", r)
	}
}

// A route that is prohibited, unreachable or a blackhole is no route.
func TestRouteThatRefuses(t *testing.T) {
	for _, kind := range []string{"blackhole", "prohibit", "unreachable"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			n := newNetns(t)
			n.ip("route", "add", kind, "192.0.2.5/32")
			n.listen("127.0.0.1:9443").Echo()
			e := planFor(t, plan{through: n.through(), backends: pool(0, "192.0.2.5:443", "127.0.0.1:9443"), routes: toPool})
			for _, r := range n.served(t, e, 6) {
				if r.Attempts != 1 {
					t.Errorf("record %+v, want 1 attempt", r)
				}
			}
		})
	}
}

// withHosts is a command that runs another with a hosts file of its own.
func withHosts(t *testing.T, lines string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, file}
}

// A name with addresses of a family that has no route leaves those out, and says so.
func TestNameWithAFamilyWithoutRoute(t *testing.T) {
	t.Parallel()
	n := newNetns(t)
	n.listen("127.0.0.1:9443").Echo()
	hosts := withHosts(t, "2001:db8::5 origin.internal\n2001:db8::6 origin.internal\n127.0.0.1 origin.internal\n")
	e := planFor(t, plan{through: append(n.through(), hosts...), backends: pool(0, "origin.internal:9443"), routes: toPool})
	for _, r := range n.served(t, e, 20) {
		if r.Attempts != 1 || r.Server != "origin.internal:9443 (127.0.0.1:9443)" {
			t.Errorf("record %+v, want 1 attempt, at 127.0.0.1", r)
		}
	}
	e.Expect(t, "no route to IPv6 addresses, they are left out")
}

// An address that swallows SYNs delays a client by a quarter of a second while there is another,
// not by timeouts.connect.
func TestServerThatSwallowsSYNs(t *testing.T) {
	for _, c := range []struct{ name, hole, inside, address string }{
		{"IPv4", "10.77.9.9:443", "10.77.9.1/24", "10.77.9.9"},
		{"IPv6", "[fd77::9]:443", "fd77::1/64", "fd77::9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newNetns(t)
			n.swallow(c.address, c.inside)
			n.listen("127.0.0.1:9443").Echo()
			e := planFor(t, plan{
				through: n.through(), settings: "timeouts: {connect: 1h}\n",
				backends: pool(2, c.hole, "127.0.0.1:9443"), routes: toPool,
			})
			delayed := 0
			for _, r := range n.served(t, e, 20) {
				if r.Attempts > 1 {
					delayed++
					t.Logf("attempts %d, dial_ms %.0f", r.Attempts, r.Dial)
				}
			}
			if delayed == 0 || delayed > 10 {
				t.Errorf("%d of 20 clients were delayed, want one or a few: the first tells of the others", delayed)
			}
		})
	}
}

// A pool of one server tries that server again: one that restarts refuses for a moment.
func TestOnlyServerRestarts(t *testing.T) {
	t.Parallel()
	n := newNetns(t)
	e := planFor(t, plan{through: n.through(), backends: pool(10, "127.0.0.1:9443"), routes: toPool})
	hello := helloFor(t, "client.test")
	c := n.dial(e.address)
	c.SendBytes(hello)
	testkit.Eventually(t, "a dial has failed", func() bool { return n.failedDials() > 0 })
	n.listen("127.0.0.1:9443").Echo()
	c.WantBytes(hello)
	c.Close()
	if r := e.only(t, "client.test", "client_closed"); r.Attempts < 2 {
		t.Errorf("record %+v, want 2 attempts or more", r)
	}
}

// failedDials counts the dials of the namespace that were refused.
func (n *netns) failedDials() (count int) {
	n.t.Helper()
	lines := strings.Split(readProc(n.t, fmt.Sprintf("/proc/%d/net/snmp", n.pid)), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "Tcp: Rto") {
			continue
		}
		values := strings.Fields(lines[i+1])
		for j, word := range strings.Fields(line) {
			if word == "AttemptFails" {
				fmt.Sscan(values[j], &count)
				return count
			}
		}
	}
	n.t.Fatal("no AttemptFails in /proc/net/snmp")
	return 0
}

// When the local ports run out, no origin is to blame.
func TestLocalPortsRunOut(t *testing.T) {
	t.Parallel()
	w := newThree(t)
	w.middle.sysctl("net.ipv4.ip_local_port_range", "40000 40003")
	o := w.origins.listen(threeOrigin)
	o.Echo()
	e := planFor(t, plan{through: w.middle.through(), listen: threeListen, routes: route("*.test", threeOrigin)})
	for range 4 {
		exchange(w.clients.dial(threeListen), helloFor(t, "served.test"))
	}
	c := w.clients.dial(threeListen)
	c.SendBytes(helloFor(t, "late.test"))
	c.Want("\x15\x03\x01\x00\x02\x02\x50") // internal_error
	c.WantEnd(nil)
	c.Close()
	r := e.only(t, "late.test", "no_local_port")
	if !strings.Contains(r.Error, "no local port is free") {
		t.Errorf("record %+v, want \"no local port is free\" in its error", r)
	}
}

// The ports to one server may be used up while those to another are not.
func TestLocalPortsToAnotherServer(t *testing.T) {
	t.Parallel()
	w := newThree(t)
	w.origins.ip("address", "add", "10.77.2.3/24", "dev", "origin-far")
	w.middle.sysctl("net.ipv4.ip_local_port_range", "40000 40003")
	w.origins.listen("10.77.2.2:443").Echo()
	w.origins.listen("10.77.2.3:443").Echo()
	planFor(t, plan{
		through: w.middle.through(), listen: threeListen, routes: toPool + route("first.example", "10.77.2.2:443"),
		backends: pool(0, "10.77.2.2:443", "10.77.2.3:443"),
	})
	for range 4 {
		exchange(w.clients.dial(threeListen), helloFor(t, "first.example"))
	}
	for range 3 {
		exchange(w.clients.dial(threeListen), helloFor(t, "client.test"))
	}
}
