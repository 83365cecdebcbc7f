package backend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"keyhole/internal/testkit"
)

// A dnsServer answers by UDP and TCP on one port of loopback, as its handler says.
type dnsServer struct {
	addr string
	mu   sync.Mutex
	by   []string // the transport and type of each question
}

// silence is the Rcode of an answer that is not sent.
const silence = -1

func serveDNS(t testing.TB, handle func(q dns.Question, r *dns.Msg)) *dnsServer {
	t.Helper()
	s := &dnsServer{}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = tcp.Addr().String()
	udp, err := net.ListenPacket("udp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	mux := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		q := m.Question[0]
		s.mu.Lock()
		s.by = append(s.by, w.LocalAddr().Network()+" "+dns.TypeToString[q.Qtype])
		s.mu.Unlock()
		r := new(dns.Msg).SetReply(m)
		if handle(q, r); r.Rcode == silence {
			return // no answer
		}
		if w.LocalAddr().Network() == "udp" {
			r.Truncate(udpSize)
		}
		w.WriteMsg(r)
	})
	for _, server := range []*dns.Server{{Listener: tcp, Handler: mux}, {PacketConn: udp, Handler: mux}} {
		ready := make(chan struct{})
		server.NotifyStartedFunc = func() { close(ready) }
		done := make(chan error)
		go func() { done <- server.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() {
			server.Shutdown()
			<-done
		})
	}
	return s
}

// addRecord adds a record to an answer, as a zone file spells it.
func addRecord(r *dns.Msg, format string, args ...any) {
	rr, err := dns.NewRR(fmt.Sprintf(format, args...))
	if err != nil {
		panic(err)
	}
	r.Answer = append(r.Answer, rr)
}

func (s *dnsServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.by))
}

func resolve(t *testing.T, f Family, handle func(q dns.Question, r *dns.Msg)) (*dnsServer, Answer, error) {
	t.Helper()
	s := serveDNS(t, handle)
	d := &DNS{Servers: []string{s.addr}, Try: testkit.Patience}
	a, err := d.Lookup(t.Context(), "shop.example.com", f)
	return s, a, err
}

func wantAnswer(t *testing.T, got Answer, err error, ttl time.Duration, want ...string) {
	t.Helper()
	slices.SortFunc(got.Addrs, netip.Addr.Compare)
	if err != nil || got.TTL != ttl || !slices.Equal(got.Addrs, addrs(want...)) {
		t.Errorf("Lookup() = %v, %v, want %v for %v", got, err, want, ttl)
	}
}

// both answers with an address of the type that was asked for, behind an alias.
func both(q dns.Question, r *dns.Msg) {
	addRecord(r, "%s 30 IN CNAME edge.example.net.", q.Name)
	if q.Qtype == dns.TypeA {
		addRecord(r, "edge.example.net. 60 IN A 192.0.2.1")
	} else {
		addRecord(r, "edge.example.net. 20 IN AAAA 2001:db8::1")
	}
}

func TestDNS(t *testing.T) {
	testkit.NoLeaks(t)
	s, a, err := resolve(t, NoFamily, both)
	wantAnswer(t, a, err, 20*time.Second, "192.0.2.1", "2001:db8::1")
	if want := []string{"udp A", "udp AAAA"}; !slices.Equal(s.asked(), want) {
		t.Errorf("asked %q, want %q", s.asked(), want)
	}
	s, a, err = resolve(t, IPv4, both)
	wantAnswer(t, a, err, 30*time.Second, "192.0.2.1")
	if want := []string{"udp A"}; !slices.Equal(s.asked(), want) {
		t.Errorf("asked %q, want %q", s.asked(), want)
	}
	_, a, err = resolve(t, IPv6, both)
	wantAnswer(t, a, err, 20*time.Second, "2001:db8::1")
}

// The name is asked for as it is, whatever the search list says.
func TestDNSAsksForTheNameItself(t *testing.T) {
	_, _, err := resolve(t, IPv4, func(q dns.Question, r *dns.Msg) {
		if q.Name != "shop.example.com." {
			t.Errorf("asked for %q, want shop.example.com.", q.Name)
		}
		r.Rcode = dns.RcodeNameError
	})
	if err != ErrNoAddress {
		t.Errorf("Lookup() = %v, want %v", err, ErrNoAddress)
	}
}

func TestDNSWithoutAddress(t *testing.T) {
	for _, tc := range []struct {
		name   string
		handle func(q dns.Question, r *dns.Msg)
	}{
		{"no such name", func(q dns.Question, r *dns.Msg) { r.Rcode = dns.RcodeNameError }},
		{"no data", func(q dns.Question, r *dns.Msg) {}},
		{"another type", func(q dns.Question, r *dns.Msg) { addRecord(r, "%s 60 IN TXT x", q.Name) }},
		{"an alias to nothing", func(q dns.Question, r *dns.Msg) { addRecord(r, "%s 60 IN CNAME gone.example.", q.Name) }},
	} {
		if _, _, err := resolve(t, NoFamily, tc.handle); err != ErrNoAddress {
			t.Errorf("%s: Lookup() = %v, want %v", tc.name, err, ErrNoAddress)
		}
	}
}

// One family that fails does not hide the other, and is no proof that the name has no address.
func TestDNSHalfAnAnswer(t *testing.T) {
	half := func(q dns.Question, r *dns.Msg) {
		if q.Qtype == dns.TypeAAAA {
			r.Rcode = dns.RcodeServerFailure
			return
		}
		both(q, r)
	}
	_, a, err := resolve(t, NoFamily, half)
	wantAnswer(t, a, err, 30*time.Second, "192.0.2.1")
	_, _, err = resolve(t, NoFamily, func(q dns.Question, r *dns.Msg) {
		if q.Qtype == dns.TypeAAAA {
			r.Rcode = dns.RcodeRefused
		}
	})
	if err == nil || errors.Is(err, ErrNoAddress) {
		t.Errorf("Lookup() = %v, want that a server refused", err)
	}
}

// A family without an answer holds up the other's addresses for a moment only.
func TestDNSHalfInSilence(t *testing.T) {
	testkit.NoLeaks(t)
	for ignored, want := range map[uint16]string{dns.TypeAAAA: "192.0.2.1", dns.TypeA: "2001:db8::1"} {
		_, a, err := resolve(t, NoFamily, func(q dns.Question, r *dns.Msg) {
			if both(q, r); q.Qtype == ignored {
				r.Rcode = silence
			}
		})
		if err != nil || !slices.Equal(a.Addrs, addrs(want)) {
			t.Errorf("Lookup() = %v, %v, want %s", a, err, want)
		}
	}
}

// A long answer comes by TCP, and is cut to what a connection may try.
func TestDNSLongAnswer(t *testing.T) {
	s, a, err := resolve(t, IPv4, func(q dns.Question, r *dns.Msg) {
		for i := range 200 {
			addRecord(r, "%s 60 IN A 192.0.2.%d", q.Name, i)
		}
	})
	if err != nil || len(a.Addrs) != perFamily {
		t.Errorf("Lookup() = %d addresses, %v, want %d", len(a.Addrs), err, perFamily)
	}
	if want := []string{"tcp A", "udp A"}; !slices.Equal(s.asked(), want) {
		t.Errorf("asked %q, want %q", s.asked(), want)
	}
}

// A name server that fails is passed over for the next.
func TestDNSNextServer(t *testing.T) {
	bad := serveDNS(t, func(q dns.Question, r *dns.Msg) { r.Rcode = dns.RcodeServerFailure })
	good := serveDNS(t, both)
	d := &DNS{Servers: []string{bad.addr, testkit.Refusing(t).String(), good.addr}, Try: testkit.Patience}
	a, err := d.Lookup(t.Context(), "shop.example.com", IPv4)
	wantAnswer(t, a, err, 30*time.Second, "192.0.2.1")
	d.Servers = []string{bad.addr}
	_, err = d.Lookup(t.Context(), "shop.example.com", IPv4)
	if want := "name server " + bad.addr + " answers SERVFAIL"; err == nil || err.Error() != want {
		t.Errorf("Lookup() = %v, want %s", err, want)
	}
	if len(bad.asked()) != 1+tries {
		t.Errorf("the bad server was asked %d times, want %d", len(bad.asked()), 1+tries)
	}
}

// An answer to another question than the one asked is none.
func TestDNSAnotherQuestion(t *testing.T) {
	_, a, err := resolve(t, IPv4, func(q dns.Question, r *dns.Msg) {
		r.Question[0].Name = "other.example."
		addRecord(r, "other.example. 60 IN A 192.0.2.66")
	})
	if err == nil {
		t.Errorf("Lookup() = %v, want an error", a)
	}
}

// A question that comes back, as from an echo service, is no answer and no proof of anything.
func TestDNSEcho(t *testing.T) {
	_, _, err := resolve(t, IPv4, func(_ dns.Question, r *dns.Msg) { r.Response = false })
	if err == nil || errors.Is(err, ErrNoAddress) {
		t.Errorf("Lookup() = %v, want that nothing was answered", err)
	}
}

// A server that is silent does not hold up the end.
func TestDNSSilence(t *testing.T) {
	testkit.NoLeaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := serveDNS(t, func(_ dns.Question, r *dns.Msg) {
		r.Rcode = silence
		cancel()
	})
	d := &DNS{Servers: []string{s.addr}, Try: testkit.Patience}
	if _, err := d.Lookup(ctx, "shop.example.com", NoFamily); err != context.Canceled {
		t.Errorf("Lookup() = %v, want %v", err, context.Canceled)
	}
}

// Without servers of its own it asks those of this machine.
func TestDNSServersOfTheMachine(t *testing.T) {
	var d DNS
	got := d.servers()
	if len(got) == 0 {
		t.Fatal("no name server")
	}
	for _, s := range got {
		if _, port, err := net.SplitHostPort(s); err != nil || port != "53" {
			t.Errorf("name server %q, want one at port 53", s)
		}
	}
}
