package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"keyhole/internal/testkit"
)

var natsBinary = sync.OnceValues(func() (string, error) {
	return buildTool("nats-server", "github.com/nats-io/nats-server/v2")
})

// A natsNode is a nats-server of its own, one of three.
type natsNode struct {
	*testkit.Program
	t    *testing.T
	file string
	url  string
}

// start runs the server, again too.
func (n *natsNode) start() {
	n.t.Helper()
	program, err := natsBinary()
	if err != nil {
		n.t.Fatal(err)
	}
	if n.Program, err = testkit.Launch(exec.Command(program, "-c", n.file)); err != nil {
		n.t.Fatal(err)
	}
	n.Expect(n.t, `Server is ready`)
}

// natsFor starts a cluster of three for one test alone, that answers once two of them have synced a message to disk.
func natsFor(t *testing.T) (nodes [3]*natsNode, urls string) {
	t.Helper()
	var clients, routes [3]string
	for i := range nodes {
		clients[i], routes[i] = freeAddress(t), freeAddress(t)
	}
	for i := range nodes {
		dir := t.TempDir()
		n := &natsNode{t: t, file: filepath.Join(dir, "nats.conf"), url: "nats://" + clients[i]}
		text := fmt.Sprintf(`
			server_name: n%d
			listen: %q
			jetstream { store_dir: %q, sync_interval: always }
			cluster { name: push, listen: %q, routes: ["nats-route://%s"] }
		`, i, clients[i], filepath.Join(dir, "store"), routes[i], strings.Join(routes[:], `","nats-route://`))
		if err := os.WriteFile(n.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		nodes[i] = n
		urls += "," + n.url
	}
	for _, n := range nodes {
		n.start()
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s said:\n%s", n.url, n.Printed())
			}
			n.Stop()
		})
	}
	return nodes, urls[1:]
}

// freeAddress is a loopback address that nobody listens on. It is not kept: another process may take it first.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// secretFile is what the nodes of one cluster share.
func secretFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, randomBytes(32), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// clusterFor starts three NATS servers, n nodes of pushd over them, and an edge before those that has them all in one
// backend. The first node is the site's.
func clusterFor(t *testing.T, n int, options ...string) (s *pushSite, nodes []*pushNode, stores [3]*natsNode) {
	t.Helper()
	stores, urls := natsFor(t)
	options = append(options, fmt.Sprintf("store: {url: %q, secret: %q}", urls, secretFile(t)))
	for i := range n {
		nodes = append(nodes, pushNodeFor(t, "push", append(options, fmt.Sprintf("node: push%d", i))...))
	}
	return pushSiteOver(t, nodes), nodes, stores
}
