package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"text/template"

	"keyhole/internal/testkit"
)

// A sandwich is an edge between HAProxy and nginx, both of which are before it and behind it.
type sandwich struct {
	*edge
	id     identity
	fronts map[string]string // addresses that lead to the edge
}

// inherited are listening sockets for a program that takes them from its parent: so its ports are known before it
// starts, and connections wait until it is ready.
func inherited(t *testing.T, n int) (files []*os.File, addresses []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		l.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		files, addresses = append(files, f), append(addresses, l.Addr().String())
	}
	return files, addresses
}

// fill writes a file of testdata/proxyprotocol, with what it leaves open, to a folder.
func fill(t *testing.T, dir, name string, values any) string {
	t.Helper()
	text, err := template.ParseFiles(filepath.Join("testdata/proxyprotocol", name+".tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := text.Execute(f, values); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// newSandwich starts all three. The edge takes headers from 127.0.0.1, which is where both proxies connect from.
func newSandwich(t *testing.T) *sandwich {
	t.Helper()
	dir := t.TempDir()
	id, err := shared.ca.issue("proxied", newECDSA, "*.proxied.example")
	if err != nil {
		t.Fatal(err)
	}
	haproxySockets, haproxy := inherited(t, 3)
	nginxSockets, nginx := inherited(t, 2)
	e := edgeFor(t, setup{config: fmt.Sprintf(`
listen: [{address: "127.0.0.1:0", proxy_protocol_from: 127.0.0.1}]
log: {format: json}
backends:
  haproxy-v1: {servers: [%[1]q], proxy_protocol: v1}
  haproxy-v2: {servers: [%[1]q], proxy_protocol: v2}
  nginx-v1: {servers: [%[2]q], proxy_protocol: v1}
  nginx-v2: {servers: [%[2]q], proxy_protocol: v2}
  unix-v1: {servers: [%[3]q], proxy_protocol: v1}
  unix-v2: {servers: [%[3]q], proxy_protocol: v2}
routes:
  - {sni: haproxy-v1.proxied.example, backend: haproxy-v1}
  - {sni: haproxy-v2.proxied.example, backend: haproxy-v2}
  - {sni: nginx-v1.proxied.example, backend: nginx-v1}
  - {sni: nginx-v2.proxied.example, backend: nginx-v2}
  - {sni: unix-v1.proxied.example, backend: unix-v1}
  - {sni: unix-v2.proxied.example, backend: unix-v2}
`, haproxy[2], nginx[1], "unix:"+filepath.Join(dir, "back.sock"))})
	values := map[string]string{
		"Edge": e.address, "Dir": dir, "Certificate": id.certFile, "Key": id.keyFile, "PEM": filepath.Join(dir, "both.pem"),
		"NginxFront": nginx[0], "NginxBack": nginx[1],
	}
	both := readFile(t, id.certFile) + readFile(t, id.keyFile)
	if err := os.WriteFile(values["PEM"], []byte(both), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("haproxy", "-db", "-f", fill(t, dir, "haproxy.cfg", values))
	cmd.ExtraFiles = haproxySockets
	launchPeer(t, cmd)
	cmd = exec.Command("nginx", "-p", dir, "-e", "stderr", "-c", fill(t, dir, "nginx.conf", values))
	cmd.ExtraFiles, cmd.Env = nginxSockets, append(os.Environ(), "NGINX=3;4;")
	if _, err := launchPeer(t, cmd).Await(regexp.MustCompile(`start worker process `)); err != nil {
		t.Fatal(err)
	}
	return &sandwich{e, id, map[string]string{
		"no proxy": e.address, "haproxy v1": haproxy[0], "haproxy v2": haproxy[1], "nginx v1": nginx[0],
	}}
}

// launchPeer runs a program whose workers end with it.
func launchPeer(t *testing.T, cmd *exec.Cmd) *testkit.Program {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	p, err := testkit.Launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Terminate)
	return p
}

// The server behind the edge knows the client's address, and the one that the client connected to, whatever proxy is
// in front of the edge and whatever server is behind it.
func TestProxiesBeforeAndBehind(t *testing.T) {
	t.Parallel()
	s := newSandwich(t)
	n := 0
	for front, address := range s.fronts {
		for _, back := range []string{"haproxy-v1", "haproxy-v2", "nginx-v1", "nginx-v2", "unix-v1", "unix-v2"} {
			n++
			host, client := back+".proxied.example", fmt.Sprintf("127.0.0.%d", 1+n) // 127.0.0.1 has to send a header
			out := run(t, "curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "50", "--interface", client,
				"--connect-to", "::"+address, "--cacert", shared.ca.file, "-w", "|%{local_ip}:%{local_port}", "https://"+host+"/")
			said, curls, _ := strings.Cut(out.stdout, "|")
			if want := curls + " " + address; out.status != 0 || !strings.HasPrefix(said, want) || !strings.HasPrefix(curls, client+":") {
				t.Errorf("%s, %s: status %d, the server was told %q, want %q: %s", front, back, out.status, said, want, out.stderr)
			}
			r := s.expect(t, host, 1)[0]
			if r.Client != curls || (r.Peer != "") != (front != "no proxy") || (r.ID != "") != strings.HasSuffix(back, "v2") {
				t.Errorf("%s, %s: record %+v, want client %s, and what headers bring", front, back, r, curls)
			}
			if want := host + " " + r.ID; back == "haproxy-v2" && !strings.HasSuffix(said, want) {
				t.Errorf("%s, %s: the server was told %q, want the name and the record's id, %q", front, back, said, want)
			}
		}
	}
}

// openssl's client goes the same way, at once from several addresses.
func TestProxiesBeforeAndBehindAtOnce(t *testing.T) {
	t.Parallel()
	s := newSandwich(t)
	host := "haproxy-v2.proxied.example"
	const clients = 12
	results := make(chan string, clients)
	for i := range clients {
		go func() {
			args := []string{
				"s_client", "-quiet", "-bind", fmt.Sprintf("127.0.0.%d:0", 40+i), "-connect", s.fronts["haproxy v2"], "-servername", host,
				"-CAfile", shared.ca.file, "-verify_return_error",
			}
			cmd := exec.Command("openssl", args...)
			cmd.Stdin = strings.NewReader("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
			out, err := cmd.Output()
			if err != nil {
				out = fmt.Append(out, err)
			}
			results <- string(out)
		}()
	}
	told := map[string]bool{}
	body := regexp.MustCompile(`\r\n\r\n(127\.0\.0\.\d+:\d+) ` + regexp.QuoteMeta(s.fronts["haproxy v2"]) + " " + regexp.QuoteMeta(host) + " ([0-9a-f]{32})")
	for range clients {
		out := <-results
		m := body.FindStringSubmatch(out)
		if m == nil {
			t.Errorf("openssl got %q, want what the header said", out)
			continue
		}
		told[m[1]+" "+m[2]] = true
	}
	for _, r := range s.expect(t, host, clients) {
		if !told[r.Client+" "+r.ID] {
			t.Errorf("no server was told %s and %s of a record: %v", r.Client, r.ID, told)
		}
	}
	if len(told) != clients {
		t.Errorf("servers were told of %d clients, want %d", len(told), clients)
	}
}

// HAProxy's checks, with a header and without, are no errors: the server is up, and the records say no_bytes.
func TestChecksOfAProxy(t *testing.T) {
	t.Parallel()
	e := edgeFor(t, setup{config: `
listen: [{address: "127.0.0.1:0", proxy_protocol_from: 127.0.0.0/8}]
log: {format: json}
routes: [{sni: a.test, backend: "192.0.2.1:443"}]
`})
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	config := `
defaults
	mode tcp
	timeout connect 50s
	timeout client 50s
	timeout server 50s
	default-server inter 50ms check
frontend front
	bind fd@3
	default_backend edge
backend edge
	server bare ` + e.address + ` send-proxy-v2
	server v1 ` + e.address + ` send-proxy check-send-proxy
	server v2 ` + e.address + ` send-proxy-v2 check-send-proxy
`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("haproxy", "-db", "-f", file)
	cmd.ExtraFiles, _ = inherited(t, 1)
	p := launchPeer(t, cmd)
	proxied := 0
	for _, r := range e.atLeast(t, "", 12) {
		if r.Reason != "no_bytes" || r.Error != "" {
			t.Errorf("record %+v, want no_bytes", r)
		}
		if r.Peer != "" {
			proxied++
		}
	}
	if proxied == 0 {
		t.Error("no check came with a header")
	}
	if strings.Contains(p.Printed(), "DOWN") {
		t.Errorf("HAProxy says %s", p.Printed())
	}
}
