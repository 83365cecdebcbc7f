package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// A netns is a network namespace of its own, with the loopback interface up. It lives as long as
// the process that holds it, and so not longer than the test binary, however that ends.
type netns struct {
	t   *testing.T
	pid int
}

// newNetns makes a namespace for one test.
func newNetns(t *testing.T) *netns {
	t.Helper()
	needRoot(t)
	p := testkit.LaunchFor(t, exec.Command("unshare", "--net", "sh", "-c", "echo here; exec cat"))
	p.Expect(t, "here")
	n := &netns{t, p.Process.Pid}
	n.ip("link", "set", "lo", "up")
	return n
}

func (n *netns) file() string { return fmt.Sprintf("/proc/%d/ns/net", n.pid) }

// through is what runs a command in the namespace.
func (n *netns) through() []string { return []string{"nsenter", "--net=" + n.file()} }

// ip runs ip there.
func (n *netns) ip(args ...string) {
	n.t.Helper()
	n.run(append([]string{"ip"}, args...)...)
}

func (n *netns) run(args ...string) {
	n.t.Helper()
	all := append(n.through(), args...)
	if out, err := exec.Command(all[0], all[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// do calls f on a thread in the namespace: a socket belongs to that of the thread which made it,
// for good.
func (n *netns) do(f func()) {
	n.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		n.t.Fatal(err)
	}
	defer home.Close()
	there, err := os.Open(n.file())
	if err != nil {
		n.t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		n.t.Fatal(err)
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // other tests would have the thread
		}
	}()
	f()
}

// dial connects a client there.
func (n *netns) dial(address string) (c *testkit.Peer) {
	n.t.Helper()
	n.do(func() { c = testkit.Dial(n.t, address) })
	return c
}

// listen starts an origin there.
func (n *netns) listen(address string) (o *testkit.Origin) {
	n.t.Helper()
	n.do(func() { o = testkit.ListenOrigin(n.t, "tcp", address) })
	return o
}

// sysctl sets a variable of the namespace: "net.ipv4.ip_local_port_range".
func (n *netns) sysctl(name, value string) {
	n.t.Helper()
	n.do(func() {
		if err := os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0); err != nil {
			n.t.Fatal(err)
		}
	})
}

// link joins two namespaces: n gets the first address, its interface is called name, to's peer.
func (n *netns) link(name, address string, to *netns, peer string) {
	n.t.Helper()
	n.ip("link", "add", name, "type", "veth", "peer", "name", name+"-far", "netns", fmt.Sprint(to.pid))
	// An IPv6 address is there at once, not when nobody else turns out to have it.
	n.ip("address", "add", address, "dev", name, "nodad")
	to.ip("address", "add", peer, "dev", name+"-far", "nodad")
	n.ip("link", "set", name, "up")
	to.ip("link", "set", name+"-far", "up")
}

// swallow has an address there take every packet and answer none.
func (n *netns) swallow(address, prefix string) {
	n.t.Helper()
	n.ip("link", "add", "hole", "type", "veth", "peer", "name", "hole-far")
	n.ip("address", "add", prefix, "dev", "hole", "nodad")
	n.ip("link", "set", "hole", "up")
	n.ip("link", "set", "hole-far", "up")
	// The other end has no address, and another link address.
	n.ip("neighbour", "add", address, "lladdr", "02:00:00:00:00:01", "dev", "hole", "nud", "permanent")
}

// A three is a world of clients, the edge and origins. The edge's links are called client and origin.
type three struct {
	clients, middle, origins *netns
}

const (
	threeListen = "10.77.1.1:443"
	threeOrigin = "10.77.2.2:443"
)

func newThree(t *testing.T) three {
	t.Helper()
	w := three{newNetns(t), newNetns(t), newNetns(t)}
	w.middle.link("client", "10.77.1.1/24", w.clients, "10.77.1.2/24")
	w.middle.link("origin", "10.77.2.1/24", w.origins, "10.77.2.2/24")
	return w
}

// pair connects a client with an origin through the edge.
func (w three) pair(t *testing.T, o *testkit.Origin, name string) (client, server *testkit.Peer) {
	t.Helper()
	client = w.clients.dial(threeListen)
	hello := helloFor(t, name)
	client.SendBytes(hello)
	server = o.Accept()
	server.WantBytes(hello)
	return client, server
}

func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	n := newNetns(t)
	o := n.listen("127.0.0.1:443")
	n.dial(o.Address())
	o.Accept()
	if c, err := net.Dial("tcp", o.Address()); err == nil {
		c.Close()
		t.Errorf("%s of a namespace can be dialed from outside", o.Address())
	}
}
