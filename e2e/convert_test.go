package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"

	"keyhole/internal/testkit"
)

// A peerFile is a configuration of HAProxy or nginx in testdata/convert.
type peerFile struct {
	name string

	// caseful says that names in upper case are others to it. No client sends them, so no note says so.
	caseful bool

	// differs has the names that Keyhole sends elsewhere, by the note that says so.
	differs map[string]*regexp.Regexp
	notes   []string // parts of the other notes, each of one or more
}

const health = "health checks are not supported yet"

var peerFiles = []peerFile{
	{name: "list.cfg", differs: map[string]*regexp.Regexp{
		"-m end example.net takes names without a dot before it": regexp.MustCompile(`(?i)^([^.]+\.)*[^.]+example\.net$`),
	}},
	{name: "order.cfg"},
	{name: "maps.cfg"},
	{name: "ports.cfg"},
	{name: "loose.cfg", notes: []string{health}, differs: map[string]*regexp.Regexp{
		"-m dom dom.example.com takes names with it in the middle": regexp.MustCompile(`(?i)(^|\.)dom\.example\.com\.`),
		"-m end end.example.com takes names without a dot":         regexp.MustCompile(`(?i)[^.]end\.example\.com$`),
	}},
	{name: "alpn.cfg"},
	{name: "hostnames.conf", notes: []string{"nginx takes a header from others than set_real_ip_from too"}},
	{name: "expressions.conf", caseful: true, differs: map[string]*regexp.Regexp{
		`end\.example\.net$ takes names without a dot`: regexp.MustCompile(`[^.]end\.example\.net$`),
	}},
	{name: "include.conf"},
	{name: "chain.conf"},
	{name: "groups.conf", notes: []string{"servers are not ejected yet", "is down, it is left out"}},
	{name: "letters.conf", caseful: true, notes: []string{"without `hostnames` in its map it takes no name"}},
}

// The same hellos reach the same origins through the peer with its file and through Keyhole with the
// file that comes of it, but for the names that convert has listed.
func TestConvertedFileRoutesAlike(t *testing.T) {
	if err := watchSources(); err != nil {
		t.Fatal(err)
	}
	for n, f := range peerFiles {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			b := &bed{t: t, file: f.name, origins: map[string]string{}, proxied: map[string]bool{}}
			theirs, ours := b.render(loopback(2*n)), b.render(loopback(2*n+1))
			b.start(theirs)
			notes := b.convert(ours)
			seen := map[string]bool{} // the differences, by their notes
			hellos := b.hellos()
			if len(hellos) < 60 {
				t.Fatalf("%d hellos, want 60 or more", len(hellos))
			}
			for _, h := range hellos {
				for i := range theirs.listens[:cmp.Or(h.listeners, len(theirs.listens))] {
					want, got := b.ask(theirs.listens[i], h), b.ask(ours.listens[i], h)
					if note := f.note(h.name); want != got && note != "" {
						seen[note] = true
					} else if want != got && !(f.caseful && h.name == strings.ToUpper(h.name)) {
						t.Errorf("%s with alpn %q reaches %q through listener %d of Keyhole, want %q", h.name, h.alpn, got, i, want)
					}
				}
			}
			f.compare(t, notes, seen)
		})
	}
}

// note returns the note that lists a name as different, if there is one.
func (f peerFile) note(name string) string {
	for note, names := range f.differs {
		if names.MatchString(name) {
			return note
		}
	}
	return ""
}

// compare wants each note to be expected, and each expectation and difference to have been met.
func (f peerFile) compare(t *testing.T, notes []string, seen map[string]bool) {
	t.Helper()
	expected := append(slices.Collect(maps.Keys(f.differs)), f.notes...)
	for _, e := range expected {
		in := func(note string) bool { return strings.Contains(note, e) }
		if !slices.ContainsFunc(notes, in) {
			t.Errorf("no note has %q in it: %q", e, notes)
		}
		if f.differs[e] != nil && !seen[e] {
			t.Errorf("no name shows the difference %q", e)
		}
	}
	for _, note := range notes {
		if !slices.ContainsFunc(expected, func(e string) bool { return strings.Contains(note, e) }) {
			t.Errorf("the note %q was not expected", note)
		}
	}
}

// loopback returns an address of this machine that no other process of these tests takes.
func loopback(n int) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>16&63, pid>>8&255, pid&255) + fmt.Sprintf(":%d", 2000+20*n)
}

// A bed is a peer and an edge, before the origins that both lead to.
type bed struct {
	t       *testing.T
	file    string
	origins map[string]string // addresses, by name
	proxied map[string]bool   // the addresses to which clients come with a PROXY header
}

// A rendering is the file with addresses in it.
type rendering struct {
	dir     string
	listens []string
}

// render writes the file, and those that it may name, to a folder.
func (b *bed) render(base string) rendering {
	b.t.Helper()
	host, port, _ := strings.Cut(base, ":")
	r := rendering{dir: b.t.TempDir()}
	listen := func(int) string {
		r.listens = append(r.listens, fmt.Sprintf("%s:%s%d", host, port[:len(port)-1], len(r.listens)))
		return r.listens[len(r.listens)-1]
	}
	functions := template.FuncMap{
		"proxied": func(n int) string {
			address := listen(n)
			b.proxied[address] = true
			return address
		},
		"origin": b.origin,
		"load":   func() string { return "load_module /usr/lib/nginx/modules/ngx_stream_module.so;" },
		"listen": listen,
	}
	for _, name := range b.names() {
		var out bytes.Buffer
		text, err := template.New(name).Funcs(functions).Parse(b.read(name))
		if err == nil {
			err = text.Execute(&out, nil)
		}
		to := filepath.Join(r.dir, name)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, out.Bytes(), 0o644)
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	return r
}

const peerData = "testdata/convert"

func (b *bed) read(name string) string { return readFile(b.t, filepath.Join(peerData, name)) }

// names returns the file's name and those of the files that it names.
func (b *bed) names() []string {
	all := []string{b.file}
	for _, pattern := range []string{"*.lst", "*.map", "names.d/*.map"} {
		found, err := filepath.Glob(filepath.Join(peerData, pattern))
		if err != nil {
			b.t.Fatal(err)
		}
		for _, f := range found {
			name, _ := filepath.Rel(peerData, f)
			if strings.Contains(b.read(b.file), name) || strings.Contains(b.read(b.file), pattern) {
				all = append(all, name)
			}
		}
	}
	return all
}

// origin returns the address of an origin, which tells its name behind the first record.
func (b *bed) origin(name string) string {
	if address, ok := b.origins[name]; ok {
		return address
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	var open sync.WaitGroup
	b.t.Cleanup(func() { l.Close(); open.Wait() })
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				if header, err := proxyHeader(c); err == nil {
					fmt.Fprintf(c, "origin %s%s\n", name, header)
					c.(*net.TCPConn).CloseWrite()
					io.Copy(io.Discard, c)
				}
			})
		}
	})
	b.origins[name] = l.Addr().String()
	return b.origins[name]
}

// proxyHeader reads a client's first bytes and tells which PROXY header they begin with, and the client in it.
func proxyHeader(c io.Reader) (string, error) {
	first := make([]byte, 12)
	if _, err := io.ReadFull(c, first); err != nil {
		return "", err
	}
	switch {
	case string(first) == "\r\n\r\n\x00\r\nQUIT\n":
		rest := make([]byte, 8) // to the end of the source address
		_, err := io.ReadFull(c, rest)
		return fmt.Sprintf(" behind v2 of %v", net.IP(rest[4:])), err
	case strings.HasPrefix(string(first), "PROXY "):
		line, err := bufio.NewReader(io.MultiReader(bytes.NewReader(first), c)).ReadString('\n')
		words := append(strings.Fields(line), "", "", "")
		return fmt.Sprintf(" behind v1 of %s", words[2]), err
	}
	return "", nil
}

// start runs the peer.
func (b *bed) start(r rendering) {
	b.t.Helper()
	cmd := exec.Command("haproxy", "-db", "-f", b.file)
	if strings.HasSuffix(b.file, ".conf") {
		cmd = exec.Command("nginx", "-p", r.dir, "-e", "stderr", "-c", filepath.Join(r.dir, b.file), "-g", "daemon off; pid nginx.pid;")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // or it would leave its worker behind
	}
	cmd.Dir = r.dir
	p, err := testkit.Launch(cmd)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(p.Terminate)
	b.await(p, r)
}

// await waits until a program listens.
func (b *bed) await(p *testkit.Program, r rendering) {
	b.t.Helper()
	for _, address := range r.listens {
		testkit.Eventually(b.t, p.Args[0]+" listens on "+address, func() bool {
			select {
			case <-p.Ended:
				b.t.Fatalf("%s ended:\n%s", p.Args[0], p.Printed())
			default:
			}
			c, err := net.Dial("tcp", address)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
}

// convert converts the file and runs an edge with the result. It returns the notes.
func (b *bed) convert(r rendering) []string {
	b.t.Helper()
	out := run(b.t, shared.keyhole, "convert", filepath.Join(r.dir, b.file))
	notes := strings.Split(strings.TrimSpace(out.stderr), "\n")
	notes = notes[:len(notes)-1] // the last counts them
	if (out.status == 1) != (len(notes) > 0) || out.status > 1 {
		b.t.Fatalf("convert: status %d, notes %q", out.status, notes)
	}
	b.t.Log(out.stdout)
	e := edgeFor(b.t, setup{config: out.stdout + "log: {format: json, access: stdout}\n"})
	b.await(e.Program, r)
	return notes
}

// An asked is a hello that both are asked.
type asked struct {
	name  string
	alpn  []string
	bytes []byte

	// listeners is how many are asked: what is no TLS goes to a default there, and here only where the
	// file has a rule for it. 0: all.
	listeners int
}

var hosts = regexp.MustCompile(`(?i)[a-z0-9-]+(\.[a-z0-9-]+)*\.(com|org|net)\b`)

// hellos makes hellos for the names in the file and for their neighbours.
func (b *bed) hellos() (all []asked) {
	names := map[string]bool{"": true, "unknown.test": true, "localhost": true, "com": true, "a.com": true}
	text := ""
	for _, name := range b.names() {
		text += strings.ReplaceAll(b.read(name), `\`, "")
	}
	for _, h := range hosts.FindAllString(text, -1) {
		_, parent, _ := strings.Cut(h, ".")
		for _, n := range []string{h, strings.ToUpper(h), parent, "a." + h, "b." + h, "a.b." + h, "A.x." + h, "www." + h, "blog." + h,
			"not" + h, "a.not" + h, h + ".org", "a." + h + ".org", "beg." + h, "y.x." + h, "x" + h[1:], "-." + h, "www.a." + h, "shop." + h, "mail." + h, "x.y.z." + h, h + "x"} {
			names[n] = true
		}
	}
	protocols := [][]string{nil}
	if strings.Contains(text, "acme-tls/1") {
		protocols = [][]string{nil, {"acme-tls/1"}, {"h2", "http/1.1"}}
	}
	for _, alpn := range protocols {
		for _, name := range slices.Sorted(maps.Keys(names)) {
			all = append(all, asked{name: name, alpn: alpn, bytes: b.hello(name, alpn)})
		}
	}
	if strings.Contains(text, "payload(0,") || strings.Contains(text, "$ssl_preread_protocol") {
		all = append(all, asked{name: "SSH", bytes: []byte("SSH-2.0-OpenSSH_9.2\r\n"), listeners: 1})
	}
	return all
}

func (b *bed) hello(name string, alpn []string) []byte {
	stand := strings.Repeat("x", len(name)) // Go would send the name in lower case
	hello := firstRecord(b.t, &tls.Config{ServerName: stand, NextProtos: alpn, InsecureSkipVerify: true})
	return []byte(strings.Replace(string(hello), stand, name, 1))
}

// ask returns the name of the origin that a hello reaches, or "".
func (b *bed) ask(address string, h asked) string {
	b.t.Helper()
	c := testkit.Dial(b.t, address)
	defer c.Close()
	if b.proxied[address] {
		c.Send("PROXY TCP4 192.0.2.7 192.0.2.1 4242 443\r\n")
	}
	c.SendBytes(h.bytes)
	answer, _ := io.ReadAll(c) // one that rejects may reset
	name, _ := strings.CutPrefix(string(answer), "origin ")
	if len(name) == len(answer) {
		return ""
	}
	return strings.TrimSpace(name)
}
