package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// A kernel delays an acknowledgement by 40 ms when it expects the program to answer. A peer with
// Nagle's algorithm waits for it. The edge may not cost one of these waits where a client of the
// origin, or one of a plain relay, has none.

const (
	samples  = 15                    // of each way; the quickest counts, which a busy machine delays least
	noticed  = 30 * time.Millisecond // less than the delay, and more than the edge may take
	delayFor = "delay.test"
)

// A plainRelay copies both ways.
func plainRelay(t *testing.T, to string) (address string) {
	t.Helper()
	l := testkit.NewOrigin(t)
	go func() {
		for {
			client, err := l.Listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() {
					io.Copy(way[0], way[1])
					way[0].(*net.TCPConn).CloseWrite()
				}()
			}
		}
	}()
	return l.Address()
}

// compareDelays measures through the edge, without it, and through a plain relay, in turns.
func compareDelays(t *testing.T, origin string, measure func(address string) time.Duration) {
	t.Helper()
	e := planFor(t, plan{routes: route(delayFor, origin)})
	plain := plainRelay(t, origin)
	var all [3][]time.Duration
	for range samples {
		for i, address := range []string{e.address, origin, plain} {
			all[i] = append(all[i], measure(address))
		}
	}
	for i := range all {
		slices.Sort(all[i])
	}
	t.Logf("the quickest and the median of %d: %s and %s through the edge, %s and %s without it, %s and %s through a plain relay", samples,
		all[0][0], all[0][samples/2], all[1][0], all[1][samples/2], all[2][0], all[2][samples/2])
	if edge, best := all[0][0], min(all[1][0], all[2][0]); edge > best+noticed {
		t.Errorf("%s through the edge, want less than %s more than %s", edge, noticed, best)
	}
}

// reserve returns a loopback port that only a server that sets SO_REUSEADDR, as most do, can listen
// on.
func reserve(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return at.(*unix.SockaddrInet4).Port
}

// A GnuTLS origin writes its part of a TLS 1.3 handshake in pieces, and leaves Nagle's algorithm
// on.
func TestNoDelayBeforeGnuTLS(t *testing.T) {
	id, err := shared.ca.issue("gnutls-serv", newECDSA, delayFor)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(reserve(t))
	p := testkit.LaunchFor(t, exec.Command("gnutls-serv", "--echo", "--port", port,
		"--x509certfile", id.certFile, "--x509keyfile", id.keyFile))
	p.Expect(t, `listening on IPv4 0\.0\.0\.0 port `+port+`\.\.\.done`)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			c := &tls.Config{RootCAs: shared.ca.pool, ServerName: delayFor, MinVersion: version, MaxVersion: version}
			compareDelays(t, "127.0.0.1:"+port, func(address string) time.Duration {
				begin := time.Now()
				client, err := tls.Dial("tcp", address, c)
				if err != nil {
					t.Fatal(err)
				}
				client.Close()
				return time.Since(begin)
			})
		})
	}
}

// An origin with Nagle's algorithm answers in pieces.
func TestNoDelayBeforeNagle(t *testing.T) {
	for _, pieces := range []int{2, 3} {
		t.Run(strconv.Itoa(pieces), func(t *testing.T) {
			o := testkit.NewOrigin(t)
			hello := helloFor(t, delayFor)
			go answerInPieces(o, len(hello), pieces)
			compareDelays(t, o.Address(), func(address string) time.Duration {
				c := testkit.Dial(t, address)
				defer c.Close()
				begin := time.Now()
				c.SendBytes(hello)
				c.WantBytes(make([]byte, pieces))
				return time.Since(begin)
			})
		})
	}
}

// answerInPieces answers each request of a size with one-byte writes.
func answerInPieces(o *testkit.Origin, size, pieces int) {
	for {
		c, err := o.Listener.Accept()
		if err != nil {
			return
		}
		c.(*net.TCPConn).SetNoDelay(false)
		go func() {
			defer c.Close()
			request := make([]byte, size)
			for {
				if _, err := io.ReadFull(c, request); err != nil {
					return
				}
				for range pieces {
					c.Write([]byte{0})
				}
			}
		}()
	}
}

// A client with Nagle's algorithm sends its hello in pieces.
func TestNoDelayBehindNagle(t *testing.T) {
	for _, pieces := range []int{2, 3} {
		t.Run(strconv.Itoa(pieces), func(t *testing.T) {
			o := testkit.NewOrigin(t)
			o.Echo()
			hello := helloFor(t, delayFor)
			compareDelays(t, o.Address(), func(address string) time.Duration {
				c := testkit.Dial(t, address)
				defer c.Close()
				c.Conn.(*net.TCPConn).SetNoDelay(false)
				begin := time.Now()
				rest := hello
				for i := range pieces {
					n := len(rest) / (pieces - i)
					c.SendBytes(rest[:n])
					rest = rest[n:]
				}
				c.WantBytes(hello)
				return time.Since(begin)
			})
		})
	}
}
