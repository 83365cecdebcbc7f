package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keyhole/internal/testkit"
	"keyhole/push/client"
	"keyhole/push/wire"
)

// Programs that only the tests of the push server run are built when the first of them asks.
var (
	pushdBinary = sync.OnceValues(func() (string, error) { return buildTool("pushd", "keyhole/cmd/pushd") })
)

// buildTool compiles a package of this module, or of one that it depends on, into the world's folder.
func buildTool(name, pkg string) (string, error) {
	binary := filepath.Join(shared.dir, name)
	args := append([]string{"build", "-o", binary}, strings.Fields(os.Getenv("KEYHOLE_BUILD_FLAGS"))...)
	if out, err := exec.Command("go", append(args, pkg)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// A pushNode is a `pushd serve` with a folder and a certificate of its own.
type pushNode struct {
	*testkit.Program
	t       *testing.T
	program string
	origin  *origin
	dir     string   // the data folder
	file    string   // the configuration
	options string   // further lines of it
	admin   string   // address of health and metrics
	under   []string // a command that runs the node, with its arguments; nil: none
}

// newPushNode is a node that is not started yet, but has a folder and a certificate.
func newPushNode(t *testing.T, kind string, options ...string) *pushNode {
	t.Helper()
	program, err := pushdBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := watchSources(); err != nil {
		t.Fatal(err)
	}
	o, err := shared.newOrigin(kind, newECDSA)
	if err != nil {
		t.Fatal(err)
	}
	o.address = "127.0.0.1:0"
	dir := t.TempDir()
	n := &pushNode{t: t, program: program, origin: o, dir: filepath.Join(dir, "data"), file: filepath.Join(dir, "pushd.yaml"), options: strings.Join(options, "\n")}
	if err := os.Mkdir(n.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n.Program == nil {
			return
		}
		if t.Failed() {
			t.Logf("pushd %s said:\n%s", kind, n.Printed())
		}
		n.Stop()
	})
	return n
}

// pushNodeFor starts a pushd for one test alone. The options are lines of its configuration.
func pushNodeFor(t *testing.T, kind string, options ...string) *pushNode {
	t.Helper()
	n := newPushNode(t, kind, options...)
	n.start()
	return n
}

var (
	adminListening = regexp.MustCompile(`"msg":"admin","address":"([^"]*)"`)
	pushListening  = regexp.MustCompile(`"msg":"listening","address":"([^"]*)"`)
)

// start runs the node, again too: on the address that it had.
func (n *pushNode) start() {
	n.t.Helper()
	n.run()
	for re, address := range map[*regexp.Regexp]*string{adminListening: &n.admin, pushListening: &n.origin.address} {
		m, err := n.Await(re)
		if err != nil {
			n.t.Fatal(err)
		}
		*address = m[1]
	}
}

// run is start without waiting for anything.
func (n *pushNode) run() {
	n.t.Helper()
	text := fmt.Sprintf("listen: %q\nadmin: 127.0.0.1:0\ndata: %q\nlog: {format: json}\n%s\n", n.origin.address, n.dir, n.options)
	if !strings.Contains(n.options, "acme:") {
		text += fmt.Sprintf("certificate: {cert: %q, key: %q}\n", n.origin.id.certFile, n.origin.id.keyFile)
	}
	if err := os.WriteFile(n.file, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	var err error
	args := append(slices.Clone(n.under), n.program, "serve", "--config", n.file)
	if n.Program, err = testkit.Launch(exec.Command(args[0], args[1:]...)); err != nil {
		n.t.Fatal(err)
	}
}

// pushd runs another command of the program on the node's folder, and returns what it prints.
func (n *pushNode) pushd(args ...string) string {
	n.t.Helper()
	cmd := exec.Command(n.program, append(args, "--data", n.dir)...)
	cmd.Env = append(os.Environ(), "PUSHD_PASSWORD="+pushPassword)
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if exit, ok := err.(*exec.ExitError); ok {
			stderr = string(exit.Stderr)
		}
		n.t.Fatalf("pushd %q: %v\n%s", args, err, stderr)
	}
	return strings.TrimSpace(string(out))
}

// pushPassword is every account's.
const pushPassword = "a password of the tests"

// user lets somebody log in; publisher lets somebody publish.
func (n *pushNode) user(name string) { n.t.Helper(); n.pushd("user", "add", name) }

func (n *pushNode) publisher(name string, args ...string) (key string) {
	n.t.Helper()
	return n.pushd(append([]string{"key", "add", name}, args...)...)
}

// metric returns the value of a line of /metrics, "" if it is not there.
func (n *pushNode) metric(line string) string {
	n.t.Helper()
	resp, err := http.Get("http://" + n.admin + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(line) + ` (.*)$`).FindSubmatch(text)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// A pushSite is a node behind an edge, as clients see it.
type pushSite struct {
	t       *testing.T
	node    *pushNode
	edge    *edge  // nil: none, as of at
	setup   setup  // of the edge
	address string // that clients connect to; the edge's stays when that is started again
	host    string
}

// pushSiteFor starts a node and an edge before it, for one test alone.
func pushSiteFor(t *testing.T, options ...string) *pushSite {
	t.Helper()
	return pushSiteOver(t, []*pushNode{pushNodeFor(t, "push", options...)})
}

// pushSiteOver starts an edge before nodes, all of which are the servers of one backend.
func pushSiteOver(t *testing.T, nodes []*pushNode) *pushSite {
	t.Helper()
	first := nodes[0].origin
	s := &pushSite{t: t, node: nodes[0], setup: setup{origins: []*origin{first}, more: addresses(nodes[1:])}, host: first.host(t)}
	s.startEdge()
	return s
}

// startEdge starts the edge, again too: on the address that it had.
func (s *pushSite) startEdge() {
	s.t.Helper()
	e := edgeFor(s.t, s.setup)
	s.edge = e
	if s.address == "" { // terminals that run read it
		s.address, s.setup.listen = e.address, e.address
	}
}

func addresses(nodes []*pushNode) (all []string) {
	for _, n := range nodes {
		all = append(all, n.origin.address)
	}
	return all
}

// at is the site as it is without the edge, at one of its nodes.
func (s *pushSite) at(n *pushNode) *pushSite {
	return &pushSite{t: s.t, node: n, address: n.origin.address, host: s.host}
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// url is the site's, with the edge's port.
func (s *pushSite) url() string { return "https://" + net.JoinHostPort(s.host, portOf(s.address)) }

// dial connects to the edge, whatever the name.
func (s *pushSite) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, s.address)
}

// http is a client that reaches the node through the edge, and trusts the tests' authority.
func (s *pushSite) http() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: s.dial, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: shared.ca.pool, MinVersion: tls.VersionTLS13},
	}}
}

// publish stores a message, or fails the test.
func (s *pushSite) publish(key string, p client.Publication) client.Receipt {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), testkit.Patience)
	defer cancel()
	receipt, err := (&client.Publisher{URL: s.url(), Key: key, HTTP: s.http()}).Publish(ctx, p)
	if err != nil {
		s.t.Fatal(err)
	}
	return receipt
}

// A phone is a terminal that a test runs, through the edge.
type phone struct {
	*client.Terminal
	t        *testing.T
	arrived  chan client.Message
	statuses chan client.Status
	end      context.CancelFunc
	ended    chan error
}

// config is of a terminal of this site.
func (s *pushSite) config(user, device, app string) client.Config {
	return client.Config{
		URL: s.url(), Dial: s.dial, RootCAs: shared.ca.pool, User: user, Password: pushPassword,
		Device: device, App: app, AppVersion: "1.0",
	}
}

// phone runs a terminal until the test ends, or hangUp is called.
func (s *pushSite) phone(c client.Config) *phone {
	s.t.Helper()
	p := &phone{t: s.t, arrived: make(chan client.Message, 10_000), statuses: make(chan client.Status, 10_000), ended: make(chan error, 1)}
	if c.OnMessage == nil {
		c.OnMessage = func(_ context.Context, m client.Message) error { p.arrived <- m; return nil }
	}
	c.OnStatus = func(st client.Status) { p.statuses <- st }
	var err error
	if p.Terminal, err = client.New(c); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.end = cancel
	go func() { p.ended <- p.Run(ctx); close(p.ended) }()
	s.t.Cleanup(func() { cancel(); <-p.ended })
	return p
}

// hangUp ends the terminal, and waits until it has.
func (p *phone) hangUp() { p.end(); <-p.ended }

// until waits for a phase.
func (p *phone) until(phase client.Phase) client.Status {
	p.t.Helper()
	late := late()
	for {
		select {
		case s := <-p.statuses:
			if s.Phase == phase {
				return s
			}
		case err := <-p.ended:
			p.t.Fatalf("the terminal has ended before it was %s: %v", phase, err)
		case <-late:
			p.t.Fatalf("the terminal is not %s", phase)
		}
	}
}

// next waits for a message, and returns its text.
func (p *phone) next() client.Message {
	p.t.Helper()
	select {
	case m := <-p.arrived:
		return m
	case err := <-p.ended:
		p.t.Fatalf("the terminal has ended before a message came: %v", err)
	case <-late():
		p.t.Fatal("no message has come")
	}
	panic("unreachable")
}

// expect waits for messages with these texts, in this order.
func (p *phone) expect(texts ...string) {
	p.t.Helper()
	for _, want := range texts {
		if got := string(p.next().Data); got != want {
			p.t.Fatalf("a message %q has come, want %q", got, want)
		}
	}
}

func late() <-chan time.Time { return time.After(testkit.Patience) }

func isCode(err error, want wire.Code) bool {
	code, ok := errors.AsType[wire.Code](err)
	return ok && code == want
}
