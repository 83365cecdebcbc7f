package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"

	"keyhole/internal/testkit"
	"keyhole/push/client"
)

var pebbleBinary = sync.OnceValues(func() (string, error) {
	return buildTool("pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble")
})

// An acmeServer is a Pebble, which checks names as a public authority does, over a resolver that has one address for
// every name.
type acmeServer struct {
	*testkit.Program
	directory string
	admin     string
}

// pebbleFor starts one for one test alone. It connects to port for tls-alpn-01, and its certificates are good for
// validity.
func pebbleFor(t *testing.T, port string, validity time.Duration) *acmeServer {
	t.Helper()
	program, err := pebbleBinary()
	if err != nil {
		t.Fatal(err)
	}
	resolver := freeAddress(t)
	dns, err := challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{resolver}, Log: log.New(io.Discard, "", 0)})
	if err != nil {
		t.Fatal(err)
	}
	dns.SetDefaultDNSIPv4("127.0.0.1")
	dns.SetDefaultDNSIPv6("")
	go dns.Run() // ends with Shutdown
	t.Cleanup(dns.Shutdown)
	id, err := shared.ca.issue("pebble", newECDSA, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	listen, admin := freeAddress(t), freeAddress(t)
	file := filepath.Join(t.TempDir(), "pebble.json")
	text := fmt.Sprintf(`{"pebble": {
		"listenAddress": %q, "managementListenAddress": %q, "certificate": %q, "privateKey": %q,
		"httpPort": 1, "tlsPort": %s, "retryAfter": {"authz": 1, "order": 1},
		"profiles": {"default": {"description": "the only one", "validityPeriod": %d}}
	}}`, listen, admin, id.certFile, id.keyFile, port, int(validity.Seconds()))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-config", file, "-dnsserver", resolver)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	p := testkit.LaunchFor(t, cmd)
	p.Expect(t, `ACME directory available`)
	return &acmeServer{p, "https://localhost:" + portOf(listen) + "/dir", "https://localhost:" + portOf(admin)}
}

// roots is what clients of its certificates trust.
func (a *acmeServer) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: shared.ca.pool}}}
	resp, err := h.Get(a.admin + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("Pebble's root is %q, want PEM", text)
	}
	return pool
}

// acmeSiteFor is a site whose node gets its certificate through the edge.
func acmeSiteFor(t *testing.T, validity time.Duration) (*pushSite, *acmeServer) {
	t.Helper()
	n := newPushNode(t, "push")
	n.origin.address = freeAddress(t)
	s := &pushSite{t: t, node: n, setup: setup{origins: []*origin{n.origin}, listen: freeAddress(t)}, host: n.origin.host(t)}
	s.startEdge()
	a := pebbleFor(t, s.edge.port, validity)
	n.options = fmt.Sprintf("acme: {domains: [%q], email: a@example.com, directory: %q, ca: %q, check: 100ms}", s.host, a.directory, shared.ca.file)
	n.start()
	return s, a
}

// leaf waits until the site's name is answered for with a certificate of roots whose serial number is not the former
// one, and returns that.
func (s *pushSite) leaf(roots *x509.CertPool, former *x509.Certificate) *x509.Certificate {
	s.t.Helper()
	var last error
	for end := late(); ; {
		conn, err := tls.Dial("tcp", s.edge.address, &tls.Config{ServerName: s.host, RootCAs: roots})
		if err == nil {
			c := conn.ConnectionState().PeerCertificates[0]
			conn.Close()
			if former == nil || c.SerialNumber.Cmp(former.SerialNumber) != 0 {
				return c
			}
		} else {
			last = err
		}
		select {
		case <-end:
			s.t.Fatalf("no new certificate for %s has come; the last error was %v", s.host, last)
		case <-time.After(50 * time.Millisecond): // between two looks
		}
	}
}

// TestPushCertificateByACME has a public authority's way of checking a name go through the edge's passthrough, and the
// certificate renewed while a terminal is connected.
func TestPushCertificateByACME(t *testing.T) {
	t.Parallel()
	s, pebble := acmeSiteFor(t, time.Minute) // renewed after two thirds; the rest is for a busy machine
	roots := pebble.roots(t)
	first := s.leaf(roots, nil)
	if got := first.DNSNames; len(got) != 1 || got[0] != s.host {
		t.Errorf("the certificate is for %q, want %s alone", got, s.host)
	}
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	c := s.config("alice", "phone", "news")
	c.RootCAs = roots
	p := s.phone(c)
	p.until(client.Listening)

	second := s.leaf(roots, first)
	if !second.NotAfter.After(first.NotAfter) {
		t.Errorf("the renewed certificate ends at %s, the first at %s, want later", second.NotAfter, first.NotAfter)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	h := s.http()
	h.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
	sender := client.Publisher{URL: s.url(), Key: key, HTTP: h}
	if _, err := sender.Publish(ctx, client.Publication{Token: p.Token(), Data: []byte("after the renewal")}); err != nil {
		t.Fatal(err)
	}
	p.expect("after the renewal")
	select {
	case st := <-p.statuses:
		t.Errorf("the terminal was %s (%v) while the certificate was renewed, want that its connection lives on", st.Phase, st.Err)
	default:
	}
	s.noKeyOnTheEdge(roots)
}

// noKeyOnTheEdge searches the edge's files and memory for the key of the site's certificate, and shows that the search
// would find it by finding it in pushd.
func (s *pushSite) noKeyOnTheEdge(roots *x509.CertPool) {
	s.t.Helper()
	key := s.storedKey(s.leaf(roots, nil))
	scalar, err := key.Bytes()
	if err != nil {
		s.t.Fatal(err)
	}
	if !inMemory(s.t, s.node.Process.Pid, scalar) {
		s.t.Error("the key is not in the memory of pushd, so its absence elsewhere says nothing")
	}
	if inMemory(s.t, s.edge.Process.Pid, scalar) {
		s.t.Error("the key of the origin is in the edge's memory")
	}
	private := regexp.MustCompile(`PRIVATE KEY`)
	err = filepath.WalkDir(s.edge.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, scalar) || private.Match(data) {
			s.t.Errorf("%s of the edge holds a key", path)
		}
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.edge.Process.Pid))
	if err != nil || len(fds) == 0 {
		s.t.Errorf("descriptors of the edge: %d, %v", len(fds), err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && regexp.MustCompile(`\.(pem|key|der|p12)$`).MatchString(to) {
			s.t.Errorf("the edge has %s open", to)
		}
	}
}

// storedKey finds the key of a certificate in the node's data folder.
func (s *pushSite) storedKey(leaf *x509.Certificate) (found *ecdsa.PrivateKey) {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.node.dir, "certificates"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".key" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return fmt.Errorf("%s is not PEM", path)
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil && key.PublicKey.Equal(leaf.PublicKey) {
			found = key
		}
		return nil
	})
	if err != nil || found == nil {
		s.t.Fatalf("the key of the certificate is not in the data folder: %v", err)
	}
	return found
}

var mapping = regexp.MustCompile(`(?m)^([0-9a-f]+)-([0-9a-f]+) rw.*$`)

// inMemory reports whether a process has some bytes in memory that it can write.
func inMemory(t *testing.T, pid int, what []byte) bool {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatalf("%v; the search needs ptrace of a process of the same user", err)
	}
	defer mem.Close()
	read := 0
	for _, m := range mapping.FindAllSubmatch(maps, -1) {
		var from, to int64
		fmt.Sscanf(string(m[1]), "%x", &from)
		fmt.Sscanf(string(m[2]), "%x", &to)
		b := make([]byte, to-from)
		n, _ := mem.ReadAt(b, from) // some of the kernel's own cannot be read
		read += n
		if bytes.Contains(b[:n], what) {
			return true
		}
	}
	if read < 1<<20 {
		t.Fatalf("%d bytes of the memory of process %d were read, want its heap", read, pid)
	}
	return false
}
