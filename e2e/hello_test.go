package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"keyhole/internal/testkit"
)

// dialer connects to the edge and has the client's bytes go through wrap.
func dialer(e *edge, wrap func(net.Conn) net.Conn) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, e.address)
		if err != nil {
			return nil, err
		}
		return wrap(c), nil
	}
}

// A trickle writes every byte of its first write, the hello, in a segment of its own.
type trickle struct {
	net.Conn
	done bool
}

func (c *trickle) Write(b []byte) (int, error) {
	if c.done {
		return c.Conn.Write(b)
	}
	c.done = true
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil { // TCP_NODELAY is Go's default
			return i, err
		}
	}
	return len(b), nil
}

// A reframer writes its first record, the hello, as records of at most size bytes each (RFC 8446 section 5.1).
type reframer struct {
	net.Conn
	size int
	done bool
}

func (c *reframer) Write(b []byte) (int, error) {
	if c.done {
		return c.Conn.Write(b)
	}
	c.done = true
	const header = 5
	if len(b) < header || int(binary.BigEndian.Uint16(b[3:])) != len(b)-header {
		return 0, fmt.Errorf("reframer: the first write, %d bytes, is not one record", len(b))
	}
	var out []byte
	for part := range slices.Chunk(b[header:], c.size) {
		out = append(out, b[:3]...)
		out = binary.BigEndian.AppendUint16(out, uint16(len(part)))
		out = append(out, part...)
	}
	if _, err := c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// A recorder keeps what goes over a connection.
type recorder struct {
	net.Conn
	mu            sync.Mutex
	wrote, readIn bytes.Buffer
}

func (c *recorder) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote.Write(b[:n])
	return n, err
}

func (c *recorder) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readIn.Write(b[:n])
	return n, err
}

// The ways in which a hello can come.
var framings = []struct {
	name string
	wrap func(net.Conn) net.Conn
}{
	{"whole", func(c net.Conn) net.Conn { return c }},
	{"segments-of-1", func(c net.Conn) net.Conn { return &trickle{Conn: c} }},
	{"records-of-1", func(c net.Conn) net.Conn { return &reframer{Conn: c, size: 1} }},
	{"records-of-100", func(c net.Conn) net.Conn { return &reframer{Conn: c, size: 100} }},
	{"records-and-segments-of-1", func(c net.Conn) net.Conn { return &reframer{Conn: &trickle{Conn: c}, size: 1} }},
}

// A hello with a post-quantum key share does not fit one segment, and may come in any number of them, and of records.
func TestGoPostQuantum(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			o := shared.golang
			host := o.host(t)
			transport := &http.Transport{
				DialContext: dialer(shared.edge, f.wrap),
				TLSClientConfig: &tls.Config{
					RootCAs:          shared.ca.pool,
					CurvePreferences: []tls.CurveID{tls.X25519MLKEM768},
				},
			}
			answer, body := get(t, transport, "https://"+host+"/blob")
			if answer.TLS.CurveID != tls.X25519MLKEM768 {
				t.Errorf("the client agreed on %v, want X25519MLKEM768", answer.TLS.CurveID)
			}
			if got := hexSum(answer.TLS.PeerCertificates[0].Raw); got != o.id.fingerprint() {
				t.Errorf("the client saw the certificate %s, want %s", got, o.id.fingerprint())
			}
			if got, want := hexSum(body), hexSum(shared.blob); got != want {
				t.Errorf("SHA-256 of %d bytes is %s, want %s of %d bytes", len(body), got, want, len(shared.blob))
			}
			visits := o.visitsOf(host)
			if len(visits) != 1 || visits[0].Group != tls.X25519MLKEM768 {
				t.Errorf("the origin saw %+v, want one visit with X25519MLKEM768", visits)
			}
			transport.CloseIdleConnections()
			shared.edge.expectRelayed(t, o.origin, host, 1)
		})
	}
}

// get makes one request and returns the answer with its body.
func get(t *testing.T, transport *http.Transport, url string) (*http.Response, []byte) {
	t.Helper()
	answer, err := (&http.Client{Transport: transport, Timeout: testkit.Patience}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return answer, body
}

// Every byte between client and origin is the same on both sides of the edge, in number, value and order.
func TestBytesAreForwardedAsTheyCame(t *testing.T) {
	for _, f := range framings {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			o, l := listenRecording(t)
			e := edgeFor(t, setup{origins: []*origin{o}})
			host := o.host(t)
			served := make(chan *recorder, 1)
			go func() { served <- l.serveOne(o.id) }()

			plain, err := net.Dial("tcp", e.address)
			if err != nil {
				t.Fatal(err)
			}
			client := &recorder{Conn: plain}
			c := tls.Client(f.wrap(client), &tls.Config{RootCAs: shared.ca.pool, ServerName: host})
			if _, err := c.Write(shared.blob); err != nil {
				t.Fatal(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			back, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(back, shared.blob) {
				t.Errorf("the origin sent %d bytes back, want the same %d: %v", len(back), len(shared.blob), err)
			}
			c.Close()
			server := <-served
			expectSame(t, "client to origin", client.wrote.Bytes(), server.readIn.Bytes())
			expectSame(t, "origin to client", server.wrote.Bytes(), client.readIn.Bytes())
			r := e.expectRelayed(t, o, host, 1)[0]
			if up, down := int64(client.wrote.Len()), int64(server.wrote.Len()); r.Up != up || r.Down != down {
				t.Errorf("record %+v, want up %d and down %d", r, up, down)
			}
		})
	}
}

func expectSame(t *testing.T, direction string, sent, received []byte) {
	t.Helper()
	if bytes.Equal(sent, received) {
		return
	}
	i := 0
	for i < min(len(sent), len(received)) && sent[i] == received[i] {
		i++
	}
	t.Errorf("%s: %d bytes were sent, %d came; they differ from byte %d on", direction, len(sent), len(received), i)
}

// A recordingListener serves one connection that it keeps all bytes of.
type recordingListener struct{ net.Listener }

// listenRecording makes an origin of a recordingListener.
func listenRecording(t *testing.T) (*origin, recordingListener) {
	t.Helper()
	o, err := shared.newOrigin("recording", newECDSA)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	o.address = l.Addr().String()
	return o, recordingListener{l}
}

// serveOne sends back, in TLS, all that one client sends, and returns what went over the connection. It reads to the
// end, or the last bytes would be missing from the record.
func (l recordingListener) serveOne(id identity) *recorder {
	plain, err := l.Accept()
	if err != nil {
		return &recorder{}
	}
	r := &recorder{Conn: plain}
	c := tls.Server(r, &tls.Config{Certificates: []tls.Certificate{id.Certificate}})
	if all, err := io.ReadAll(c); err == nil {
		c.Write(all)
	}
	c.CloseWrite()
	io.Copy(io.Discard, r)
	r.Close()
	return r
}
