package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keyhole/backend"
	"keyhole/config"
	"keyhole/internal/testkit"
)

// A zone is a name server: names without an entry get no answer, and those whose entry is the zero
// address do not exist.
type zone struct {
	mu      sync.Mutex
	entries map[string]netip.Addr
	longest time.Duration // that anybody would have waited for the first answer of a name without an entry
	asked   map[string]bool
	clients []string // the names that clients have asked for, each time that it was looked up
}

func (z *zone) set(host, address string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.entries[host] = netip.MustParseAddr(address)
}

func (z *zone) lookup(ctx context.Context, _, host string) ([]netip.Addr, error) {
	z.mu.Lock()
	a, ok := z.entries[host]
	if deadline, _ := ctx.Deadline(); !ok && !z.asked[host] {
		z.longest = max(z.longest, time.Until(deadline))
		z.asked[host] = true
	}
	z.mu.Unlock()
	switch {
	case !ok:
		<-ctx.Done()
		return nil, &net.DNSError{Err: ctx.Err().Error(), Name: host, IsTimeout: true}
	case !a.IsValid():
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{a}, nil
}

// ofClients has an answer for good, or none.
func (z *zone) ofClients(_ context.Context, host string, _ backend.Family) (backend.Answer, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.clients = append(z.clients, host)
	a, ok := z.entries[host]
	if !ok {
		return backend.Answer{}, backend.ErrNoAddress
	}
	return backend.Answer{Addrs: []netip.Addr{a}, TTL: time.Hour}, nil
}

// An insideEdge runs in the test's own process, with names of the test.
type insideEdge struct {
	*edge
	zone    *zone
	log     *testkit.Transcript
	records *testkit.Transcript
	hangup  chan os.Signal
	err     error // of prepare
}

// inside prepares an edge with a configuration. If it can, it serves until the test ends.
func inside(t *testing.T, z *zone, file, text string) *insideEdge {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(file, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	z.asked = map[string]bool{}
	i := &insideEdge{zone: z, log: testkit.NewTranscript("log"), records: testkit.NewTranscript("records"), hangup: make(chan os.Signal, 1)}
	i.edge = &edge{log: logger(c.Log, i.log), sink: &sink{out: i.records}, lookup: z.lookup, names: &backend.Lookups{Lookup: z.ofClients}}
	end, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() {
		stop()
		<-done
		i.close()
	})
	if i.err = i.prepare(end, c); i.err != nil {
		close(done)
		return i
	}
	i.start()
	go func() {
		defer close(done)
		i.attend(&requests{reload: i.hangup, end: end, now: end})
	}()
	return i
}

// TestUnknownServer shows that a server whose name has no answer holds up neither the start nor a
// reload.
func TestUnknownServer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	z := &zone{entries: map[string]netip.Addr{}}
	z.set("shop.internal", "127.0.0.1")
	_, port, _ := net.SplitHostPort(s.shop)
	const known = "listen: [{address: \"127.0.0.1:0\"}]\nroutes:\n  - {sni: shop.keyhole.test, backend: \"shop.internal:PORT\"}\n"
	text := strings.ReplaceAll(known, "PORT", port) + "  - {sni: a.keyhole.test, backend: \"a.internal:443\"}\n"
	e := inside(t, z, s.file, text)
	if e.err != nil {
		t.Fatal(e.err)
	}
	at := e.ready[0].String()
	s.visit(at, demoShop).leave()
	text = strings.ReplaceAll(text, "a.", "b.")
	if err := os.WriteFile(s.file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	e.hangup <- syscall.SIGHUP
	e.log.Expect(t, `msg="configuration reloaded"`)
	s.visit(at, demoShop).leave()
	z.mu.Lock()
	defer z.mu.Unlock()
	if !z.asked["a.internal"] || !z.asked["b.internal"] || z.longest > nameTime {
		t.Errorf("asked for %v, waited up to %v, want a.internal and b.internal, up to %v", z.asked, z.longest, nameTime)
	}
}

// TestReloadKeepsNamesOfClients shows that a reload looks a name up again only when its backend has
// changed, and goes by what the backend says then.
func TestReloadKeepsNamesOfClients(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	z := &zone{entries: map[string]netip.Addr{}}
	z.set(demoShop, "127.0.0.1")
	_, port, _ := net.SplitHostPort(s.shop)
	text := func(more, to string) string {
		return "listen: [{address: \"127.0.0.1:0\"}]\n" + more + "backends: {any: {servers: [\"{sni}:" + port + "\"], to: " + to + "}}\n" +
			"routes: [{sni: " + demoShop + ", backend: any}]\n"
	}
	e := inside(t, z, s.file, text("", "127.0.0.0/8"))
	if e.err != nil {
		t.Fatal(e.err)
	}
	at := e.ready[0].String()
	stays := s.visit(at, demoShop)
	for i, c := range []struct {
		more, to string
		lookups  int
		reached  bool
	}{
		{"", "127.0.0.0/8", 1, true},
		{"timeouts: {idle: 1m}\n", "127.0.0.0/8", 1, true},
		{"resolver: {family: ipv4}\n", "127.0.0.0/8", 2, true},
		{"resolver: {family: ipv4}\n", "127.0.0.0/16", 3, true},
		{"resolver: {family: ipv4}\n", "public", 4, false},
		{"", "127.0.0.0/8", 5, true},
	} {
		if err := os.WriteFile(s.file, []byte(text(c.more, c.to)), 0o644); err != nil {
			t.Fatal(err)
		}
		e.hangup <- syscall.SIGHUP
		e.log.Expect(t, fmt.Sprintf(`(?s)(?:msg="configuration reloaded".*){%d}`, i+1))
		if c.reached {
			s.visit(at, demoShop).leave()
		} else {
			s.turnedAway(at, demoShop)
			e.records.Expect(t, ` reason=denied_server .* error="127\.0\.0\.1 is not a public address"`)
		}
		z.mu.Lock()
		if len(z.clients) != c.lookups {
			t.Errorf("after the reload for %sto: %s the name was looked up %d times, want %d", c.more, c.to, len(z.clients), c.lookups)
		}
		z.mu.Unlock()
	}
	stays.ask()
	stays.leave()
}

// TestWarningIsLogged shows that the start and a reload log the warnings of check.
func TestWarningIsLogged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	z := &zone{entries: map[string]netip.Addr{}}
	e := inside(t, z, s.file, "listen: [{address: \"127.0.0.1:0\"}]\nroutes: []\ndefault: {backend: \"{sni}:443\"}\n")
	if e.err != nil {
		t.Fatal(e.err)
	}
	const warning = `level=WARN msg="configuration has a warning" warning="[^"]*:3:20: warning: an open proxy: `
	e.log.Expect(t, warning)
	e.hangup <- syscall.SIGHUP
	e.log.Expect(t, `(?s)`+warning+`.*`+warning)
}

// TestUnknownListener shows that a listener whose name has no answer holds up no other, and opens
// when it has one.
func TestUnknownListener(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	z := &zone{entries: map[string]netip.Addr{"missing.internal": {}}}
	text := strings.Replace(s.text(), "listen: [", `listen: [{address: "missing.internal:0"}, {address: "late.internal:0"}, `, 1)
	e := inside(t, z, s.file, text)
	if e.err != nil {
		t.Fatal(e.err)
	}
	s.visit(e.ready[0].String(), demoShop).leave()
	e.log.Expect(t, `level=WARN msg="listener is not open; tried again until it is" listener=missing\.internal:0 error="listen .*no such host"`)
	z.set("missing.internal", "192.0.2.1")
	e.log.Expect(t, `level=WARN .* listener=missing\.internal:0 error="listen .*: cannot assign requested address: `)
	z.set("missing.internal", "127.0.0.2")
	at := e.log.Expect(t, `msg=listening address=(127\.0\.0\.2:\d+)`)[1]
	s.visit(at, demoShop).leave()
	e.records.Expect(t, ` listen=127\.0\.0\.1:0 sni=`)
	e.records.Expect(t, ` listen=missing\.internal:0 sni=`)
}

// TestNoListenerIsKnown shows that an edge with nothing to listen on does not start.
func TestNoListenerIsKnown(t *testing.T) {
	t.Parallel()
	z := &zone{entries: map[string]netip.Addr{"missing.internal": {}}}
	s := newSite(t)
	text := strings.Replace(s.text(), "127.0.0.1:0", "missing.internal:443", 1)
	var unknown *net.DNSError
	if e := inside(t, z, s.file, text); !errors.As(e.err, &unknown) || unknown.Name != "missing.internal" {
		t.Errorf("start: %v, want that missing.internal has no address", e.err)
	}
}

// TestListenerOfAnother shows that a name whose address cannot be listened on ends the start, as an
// address does.
func TestListenerOfAnother(t *testing.T) {
	t.Parallel()
	z := &zone{entries: map[string]netip.Addr{}}
	z.set("elsewhere.internal", "192.0.2.1")
	s := newSite(t)
	text := strings.Replace(s.text(), "listen: [", `listen: [{address: "elsewhere.internal:443"}, `, 1)
	if e := inside(t, z, s.file, text); !errors.Is(e.err, syscall.EADDRNOTAVAIL) {
		t.Errorf("start: %v, want %v", e.err, syscall.EADDRNOTAVAIL)
	}
}

// TestTasks shows that a failure is logged, and that Stop does not wait for a task that hangs.
func TestTasks(t *testing.T) {
	t.Parallel()
	log := testkit.NewTranscript("log")
	tasks := newTasks(t.Context(), logger(config.Log{}, log))
	hang := make(chan struct{})
	tasks.Go("hangs", func(context.Context) error { <-hang; return nil })
	ended := make(chan struct{})
	tasks.Go("ends", func(ctx context.Context) error { <-ctx.Done(); close(ended); return ctx.Err() })
	stopped := make(chan struct{})
	tasks.Go("stopped", func(ctx context.Context) error { <-ctx.Done(); close(stopped); return ctx.Err() })()
	<-stopped
	tasks.Go("fails", func(context.Context) error { return errors.New("no luck") })
	log.Expect(t, `level=ERROR msg="background task failed" task=fails error="no luck"`)
	tasks.Stop()
	<-ended
	log.Expect(t, `level=WARN msg="background tasks do not end, they are abandoned" tasks=\[hangs\]`)
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("log is\n%swant two lines", log)
	}
	close(hang)
}
