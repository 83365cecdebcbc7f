package e2e

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A tamperer stands between the edge and an origin and flips one bit in each connection.
type tamperer struct {
	net.Listener
	origin string
	up     bool  // in what goes to the origin
	at     int64 // the byte, from the connection's first; negative: none
}

// tampered returns an edge whose way to the origin leads through a tamperer, and the origin as that edge knows it.
func tampered(t *testing.T, o *origin, up bool, at int64) (*origin, *edge) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	m := &tamperer{l, o.address, up, at}
	go m.serve()
	behind := *o
	behind.address = l.Addr().String()
	return &behind, edgeFor(t, setup{origins: []*origin{&behind}})
}

// serve serves until the listener is closed.
func (m *tamperer) serve() {
	for {
		c, err := m.Accept()
		if err != nil {
			return
		}
		go m.relay(c.(*net.TCPConn))
	}
}

func (m *tamperer) relay(client *net.TCPConn) {
	defer client.Close()
	c, err := net.Dial("tcp", m.origin)
	if err != nil {
		return
	}
	defer c.Close()
	origin := c.(*net.TCPConn)
	down := make(chan struct{})
	go func() {
		defer close(down)
		io.Copy(m.flipping(client, !m.up), origin)
		client.CloseWrite()
	}()
	io.Copy(m.flipping(origin, m.up), client)
	origin.CloseWrite()
	<-down
}

// flipping returns a writer to w that flips the bit, if that is its direction.
func (m *tamperer) flipping(w io.Writer, here bool) io.Writer {
	if !here || m.at < 0 {
		return w
	}
	return &flipper{w: w, left: m.at}
}

type flipper struct {
	w    io.Writer
	left int64 // bytes before the one to flip; negative once that is past
}

func (f *flipper) Write(b []byte) (int, error) {
	if 0 <= f.left && f.left < int64(len(b)) {
		b = slices.Clone(b)
		b[f.left] ^= 1
	}
	f.left -= int64(len(b))
	return f.w.Write(b)
}

// A tampered byte anywhere breaks the connection: that all others go well shows that the edge tampers with none. Only
// what TLS has its peers ignore, such as the version in a record's header, could change unseen.
func TestTamperedByte(t *testing.T) {
	upload := filepath.Join(t.TempDir(), "upload")
	if err := os.WriteFile(upload, shared.blob, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		up   bool
		at   int64
		tls  string // version
		fail bool
	}{
		{"nothing", false, -1, "1.3", false},
		{"client-random", true, 5 + 4 + 2 + 7, "1.3", true},
		{"server-random", false, 5 + 4 + 2 + 7, "1.3", true},
		{"server-random-1.2", false, 5 + 4 + 2 + 7, "1.2", true},
		{"certificate", false, 300, "1.3", true},
		{"certificate-1.2", false, 300, "1.2", true},
		{"download", false, 2_000_000, "1.3", true},
		{"download-1.2", false, 2_000_000, "1.2", true},
		{"upload", true, 2_000_000, "1.3", true},
		{"upload-1.2", true, 2_000_000, "1.2", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, e := tampered(t, shared.golang.origin, c.up, c.at)
			host := o.host(t)
			args := []string{"--tlsv" + c.tls, "--tls-max", c.tls, "-o", os.DevNull, "https://" + host + "/blob"}
			if c.up {
				args = append(args[:len(args)-1], "--fail", "--data-binary", "@"+upload, "https://"+host+"/sum")
			}
			out := curl(t, e, o, args...)
			if failed := out.status != 0; failed != c.fail {
				t.Errorf("curl: status %d, want failure %t: %s", out.status, c.fail, out.stderr)
			}
			if r := e.expect(t, host, 1)[0]; r.Backend != "go" || r.Server != o.address || r.Phase != "relay" {
				t.Errorf("record %+v, want backend go, server %s and phase relay", r, o.address)
			}
		})
	}
}
