package testkit

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Peer is one end of a connection: a client, or an origin's side. Its calls have Patience from when it was made, and
// fail the test T.
type Peer struct {
	net.Conn
	T testing.TB
}

// NewPeer makes c a peer, which the test's end closes.
func NewPeer(t testing.TB, c net.Conn) *Peer {
	c.SetDeadline(time.Now().Add(Patience))
	t.Cleanup(func() { c.Close() })
	return &Peer{c, t}
}

// Dial connects a client to a TCP address.
func Dial(t testing.TB, address string) *Peer {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return NewPeer(t, c)
}

// Send writes s.
func (p *Peer) Send(s string) {
	p.T.Helper()
	if _, err := io.WriteString(p, s); err != nil {
		p.T.Fatalf("write of %d bytes: %v", len(s), err)
	}
}

// SendBytes writes b.
func (p *Peer) SendBytes(b []byte) {
	p.T.Helper()
	p.Send(string(b))
}

// Want reads exactly s.
func (p *Peer) Want(s string) {
	p.T.Helper()
	got := make([]byte, len(s))
	n, err := io.ReadFull(p, got)
	if string(got[:n]) != s {
		p.T.Fatalf("read %s (%v), want %s", brief(got[:n]), err, brief([]byte(s)))
	}
}

// WantBytes reads exactly b.
func (p *Peer) WantBytes(b []byte) {
	p.T.Helper()
	p.Want(string(b))
}

// WantEnd reads on to the end of the stream and says how it should end: nil for an orderly end, or an errno.
func (p *Peer) WantEnd(want error) {
	p.T.Helper()
	n, err := io.Copy(io.Discard, p)
	if n != 0 || !errors.Is(err, want) {
		p.T.Errorf("read %d bytes, then %v, want none, then %v", n, err, want)
	}
}

// FIN ends what this end sends.
func (p *Peer) FIN() {
	p.T.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.T.Fatal(err)
	}
}

// Reset closes the connection so that the other end sees ECONNRESET.
func (p *Peer) Reset() {
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Close()
}

// An Origin is a server that accepts when the test says so, or echoes.
type Origin struct {
	net.Listener
	T testing.TB
}

// NewOrigin listens on a loopback port of its own.
func NewOrigin(t testing.TB) *Origin {
	t.Helper()
	return ListenOrigin(t, "tcp", "127.0.0.1:0")
}

// ListenOrigin listens on an address, until the test ends.
func ListenOrigin(t testing.TB, network, address string) *Origin {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &Origin{l, t}
}

// Address is where the origin listens: "127.0.0.1:PORT", or a path.
func (o *Origin) Address() string { return o.Addr().String() }

// Accept waits for the next connection.
func (o *Origin) Accept() *Peer {
	o.T.Helper()
	o.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(Patience))
	c, err := o.Listener.Accept()
	if err != nil {
		o.T.Fatal(err)
	}
	return NewPeer(o.T, c)
}

// Echo has the origin answer each connection with what it gets, until the origin is closed; the connections end with
// their clients. The test's end waits for them; a test that cannot leave it to that waits for the group.
func (o *Origin) Echo() *sync.WaitGroup {
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := o.Listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				// Without the shortcut of splice, which would take a pipe.
				io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
			})
		}
	})
	o.T.Cleanup(func() {
		o.Close()
		serving.Wait()
	})
	return &serving
}

// Refusing returns a loopback address that nobody listens on, and nobody will: a socket that does not listen keeps the
// port until the test ends.
func Refusing(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in := at.(*unix.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
}

// BecomesRefusing waits until nobody listens on an address any more. A connection that the kernel took before that is
// closed at once.
func BecomesRefusing(t testing.TB, address string) {
	t.Helper()
	var last error
	refused := func() bool {
		c, err := net.DialTimeout("tcp", address, Patience)
		if err == nil {
			c.Close()
		}
		last = err
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	if !becomes(refused) {
		t.Fatalf("connecting to %s after %s: %v, want connection refused", address, Patience, last)
	}
}
