package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"keyhole/internal/testkit"
)

// unhurried gives a hello an hour: a client that is sent away sooner was not waited for.
const unhurried = "timeouts: {hello: 1h}\n"

// A client that does not speak TLS is sent away as soon as its first byte says so, without an alert
// that it could not read.
func TestOtherProtocolsAreTurnedAwayAtOnce(t *testing.T) {
	for _, c := range []struct{ name, sent, says string }{
		{"one-byte", "S", "not TLS"},
		{"zero", "\x00", "not TLS"},
		{"ssh", "SSH-2.0-OpenSSH_9.2p1\r\n", "not TLS"},
		{"http", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "not TLS"},
		{"socks4", "\x04\x01\x01\xbb\xc0\x00\x02\x05\x00", "not TLS"},
		{"socks5", "\x05\x01\x00", "not TLS"},
		{"proxy-v1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n", "PROXY"},
		{"proxy-v1-begun", "PROXY ", "PROXY"},
		{"proxy-v2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x01\xbb", "PROXY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := planFor(t, plan{settings: unhurried, routes: route("a.test", "192.0.2.1:443")})
			client := testkit.Dial(t, e.address)
			client.Send(c.sent)
			client.WantEnd(nil)
			client.Close()
			if r := e.only(t, "", "not_tls"); !strings.Contains(r.Error, c.says) {
				t.Errorf("record %+v, want %q in its error", r, c.says)
			}
		})
	}
}

// A check of a load balancer that connects and leaves has a record of its own kind.
func TestConnectAndLeave(t *testing.T) {
	t.Parallel()
	e := planFor(t, plan{settings: unhurried, routes: route("a.test", "192.0.2.1:443")})
	testkit.Dial(t, e.address).Close()
	e.only(t, "", "no_bytes")
	client := testkit.Dial(t, e.address)
	client.Send("\x16")
	client.Close()
	e.only(t, "", "client_gone")
}

// Such records can be left out.
func TestConnectAndLeaveUnrecorded(t *testing.T) {
	t.Parallel()
	e := planFor(t, plan{settings: unhurried, log: ", skip: [no_bytes]", routes: route("a.test", "192.0.2.1:443")})
	before := e.sockets(t)
	for range 10 {
		testkit.Dial(t, e.address).Close()
	}
	// The next client is recorded, and nothing before it.
	client := testkit.Dial(t, e.address)
	client.Send("\x16")
	testkit.Eventually(t, "only the last client is there", func() bool { return e.sockets(t) == before+1 })
	client.Close()
	e.only(t, "", "client_gone")
}

// RFC 6066 forbids an IP address as a name, and clients send it: it goes where hellos without a
// name go.
func TestLiteralAsName(t *testing.T) {
	for _, literal := range []string{"192.0.2.1", "::1", "2001:db8::5"} {
		t.Run(literal, func(t *testing.T) {
			t.Parallel()
			o := testkit.NewOrigin(t)
			o.Echo()
			for _, otherwise := range []string{"", fmt.Sprintf("default: {backend: %q}\n", o.Address())} {
				e := planFor(t, plan{routes: route("a.test", o.Address()) + otherwise})
				client := testkit.Dial(t, e.address)
				hello := helloFor(t, literal)
				client.SendBytes(hello)
				reason, route := "no_sni", ""
				if otherwise == "" {
					client.Want("\x15\x03\x01\x00\x02\x02\x70") // unrecognized_name
				} else {
					reason, route = "client_closed", "default"
					client.WantBytes(hello)
				}
				client.Close()
				r := e.only(t, literal, reason)
				if r.Route != route || !strings.Contains(r.Error, "IP address") {
					t.Errorf("record %+v, want route %q, and \"IP address\" in its error", r, route)
				}
			}
		})
	}
}

// Half-read hellos share a budget. Past it the oldest are closed, others are served, and the memory
// goes back.
func TestHelloMemory(t *testing.T) {
	const clients, budget = 800, 1 << 20
	o := testkit.NewOrigin(t)
	o.Echo()
	e := planFor(t, plan{
		settings: unhurried + fmt.Sprintf("limits: {hello_memory: %d}\n", budget), routes: route("*.test", o.Address()),
	})
	serve := func() {
		t.Helper()
		c := testkit.Dial(t, e.address)
		exchange(c, helloFor(t, "served.test"))
		c.Close()
		e.only(t, "served.test", "client_closed")
	}
	serve()
	before := procNumber(t, e.proc("status"), "VmRSS:")
	var all []*testkit.Peer
	for i := range clients {
		c := testkit.Dial(t, e.address)
		// It may be closed before it has sent all.
		c.Write(endlessHello(60_000))
		all = append(all, c)
		if i%100 == 0 {
			serve()
		}
	}
	closed := e.atLeast(t, "", clients-budget/60_000)
	peak := procNumber(t, e.proc("status"), "VmHWM:")
	for _, r := range closed {
		if r.Reason != "hello_memory" || r.Phase != "hello" {
			t.Errorf("record %+v, want reason hello_memory and phase hello", r)
		}
	}
	if len(closed) == clients {
		t.Errorf("all %d clients were closed, want those that the budget has room for to stay", clients)
	}
	newest := all[clients-1].LocalAddr().String()
	if slices.ContainsFunc(closed, func(r record) bool { return r.Client == newest }) {
		t.Errorf("the newest client, %s, was closed, want the oldest", newest)
	}
	serve()
	for _, c := range all {
		c.Close()
	}
	e.atLeast(t, "", clients-len(closed))
	after := procNumber(t, e.proc("status"), "VmRSS:")
	t.Logf("%d of %d clients closed; resident %d kB before, %d at most, %d after", len(closed), clients, before, peak, after)
	const room = 16 << 10 // kB, of the 47 MB that they sent
	if peak > before+room || after > before+room {
		t.Errorf("%d kB were resident before, %d at most and %d after, want no more than %d kB above", before, peak, after, room)
	}
}

// endlessHello is the beginning of a hello that never ends, n bytes long.
func endlessHello(n int) []byte {
	const most = 1 << 14 // bytes of a record
	message := append([]byte{1, 0, 0xff, 0x00}, make([]byte, n)...)
	var b []byte
	for len(b) < n {
		b = append(append(b, 0x16, 3, 1, most>>8, most&0xff), message[:min(most, len(message))]...)
		message = message[min(most, len(message)):]
	}
	return b[:n]
}
