package backend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// nameServer answers look-ups from a table and notes when they came. Hosts without an entry do not resolve.
type nameServer struct {
	mu      sync.Mutex
	answers map[string][]netip.Addr
	delay   time.Duration
	asked   map[string][]time.Time
	now     int // look-ups in progress
	most    int // of them at one time
}

var errNXDomain = errors.New("no such host")

func (s *nameServer) set(host string, addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answers == nil {
		s.answers = make(map[string][]netip.Addr)
	}
	s.answers[host] = addrs(addresses...)
}

func (s *nameServer) fail(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.answers, host)
}

func (s *nameServer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	s.mu.Lock()
	if s.asked == nil {
		s.asked = make(map[string][]time.Time)
	}
	s.asked[host] = append(s.asked[host], time.Now())
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(s.delay):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	as, ok := s.answers[host]
	if !ok {
		return nil, errNXDomain
	}
	return slices.Clone(as), nil
}

// count returns how many look-ups of host there were.
func (s *nameServer) count(host string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked[host])
}

// logTo returns a logger without times.
func logTo(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// run runs r in the background until the test ends.
func run(t *testing.T, r *Resolver) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("Run() = %v, want %v", err, context.Canceled)
		}
	})
}

// routeToAll has a route to every address, whatever this machine has.
func routeToAll(netip.Addr) error { return nil }

// pass lets d go by, and everything that is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wantLog(t *testing.T, log *bytes.Buffer, want ...string) {
	t.Helper()
	if got, want := log.String(), strings.Join(append(want, ""), "\n"); got != want {
		t.Errorf("log is\n%swant\n%s", got, want)
	}
	log.Reset()
}

func TestResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("a.internal:443", "10.0.0.9:443", "b.internal:443")})
		q := newPool(t, Config{Servers: servers("A.internal:8443", "a.internal:443")})
		var dns nameServer
		dns.set("a.internal", "10.0.0.2", "::ffff:10.0.0.1", "10.0.0.2", "0.0.0.0", "2001:db8::1", "224.0.0.1")
		dns.set("b.internal")
		var log bytes.Buffer
		r := &Resolver{Pools: []*Pool{p, q}, Lookup: dns.lookup, Log: logTo(&log), Route: routeToAll}
		r.Resolve(t.Context())
		wantNames(t, p, "a.internal:443 (10.0.0.1:443)", "a.internal:443 (10.0.0.2:443)", "a.internal:443 ([2001:db8::1]:443)",
			"10.0.0.9:443")
		wantNames(t, q, "A.internal:8443 (10.0.0.1:8443)", "A.internal:8443 (10.0.0.2:8443)", "A.internal:8443 ([2001:db8::1]:8443)",
			"a.internal:443 (10.0.0.1:443)", "a.internal:443 (10.0.0.2:443)", "a.internal:443 ([2001:db8::1]:443)")
		if n := dns.count("a.internal"); n != 1 {
			t.Errorf("a.internal, which two pools have, was looked up %d times, want 1", n)
		}
		wantLog(t, &log, `level=WARN msg="name does not resolve, its servers have no address yet" name=b.internal err="no usable address in the answer"`)
	})
}

// TestSlowNamesHoldUpNobody: more names than there are workers get no answer, and come before the one that does.
func TestSlowNamesHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list []ServerConfig
		for i := range parallelLookups + 1 {
			list = append(list, ServerConfig{Address: fmt.Sprintf("h%d.internal:443", i)})
		}
		p := newPool(t, Config{Servers: append(list, servers("quick.internal:443")...)})
		dns := nameServer{delay: time.Hour}
		quick := func(ctx context.Context, host string) ([]netip.Addr, error) {
			if host == "quick.internal" {
				return addrs("10.0.0.1"), nil
			}
			return dns.lookup(ctx, host)
		}
		var log bytes.Buffer
		r := &Resolver{Pools: []*Pool{p}, Lookup: quick, Log: logTo(&log)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		r.Resolve(ctx)
		if d := time.Since(start); d != time.Second {
			t.Errorf("Resolve took %v with a dead name server, want 1s as its context", d)
		}
		if dns.most != parallelLookups {
			t.Errorf("%d look-ups at one time, want %d", dns.most, parallelLookups)
		}
		wantLog(t, &log)
		run(t, r)
		synctest.Wait()
		wantNames(t, p, "quick.internal:443 (10.0.0.1:443)")
	})
}

// TestResolveAsksForWhatIsMissing: a reload does not wait for names whose addresses it has adopted.
func TestResolveAsksForWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("known.internal:443", "new.internal:443")})
		answer(t, p, "known.internal", "10.0.0.1")
		var dns nameServer
		dns.set("known.internal", "10.0.0.2")
		dns.set("new.internal", "10.0.0.3")
		r := &Resolver{Pools: []*Pool{p}, Lookup: dns.lookup}
		r.Resolve(t.Context())
		wantNames(t, p, "known.internal:443 (10.0.0.1:443)", "new.internal:443 (10.0.0.3:443)")
		run(t, r)
		synctest.Wait()
		wantNames(t, p, "known.internal:443 (10.0.0.2:443)", "new.internal:443 (10.0.0.3:443)")
	})
}

func TestResolveEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("a.internal:443")})
		dns := nameServer{delay: time.Hour}
		var log bytes.Buffer
		r := &Resolver{Pools: []*Pool{p}, Lookup: dns.lookup, Log: logTo(&log)}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		r.Resolve(ctx)
		if d := time.Since(start); d != time.Second {
			t.Errorf("Resolve took %v, want 1s as its context", d)
		}
		wantLog(t, &log)
	})
}

func TestRunRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("a.internal:443")})
		var dns nameServer
		dns.set("a.internal", "10.0.0.1", "10.0.0.2")
		var log bytes.Buffer
		r := &Resolver{Pools: []*Pool{p}, Lookup: dns.lookup, Log: logTo(&log)}
		r.Resolve(t.Context())
		one, two := endpoint(t, p, "a.internal:443 (10.0.0.1:443)"), endpoint(t, p, "a.internal:443 (10.0.0.2:443)")
		one.acquire(0)
		run(t, r)

		dns.set("a.internal", "10.0.0.3", "10.0.0.2") // 1 goes, 3 comes
		pass(defaultRefresh * 6 / 5)
		wantNames(t, p, "a.internal:443 (10.0.0.2:443)", "a.internal:443 (10.0.0.3:443)")
		if got := endpoint(t, p, two.String()); got != two {
			t.Errorf("%s was replaced, want it to stay while its address does", two)
		}
		one.Release()
		wantActive(t, one, 0)

		before := p.current.Load()
		dns.set("a.internal", "10.0.0.2", "10.0.0.3")
		pass(defaultRefresh * 6 / 5)
		if p.current.Load() != before {
			t.Error("an answer in another order made a new snapshot, want none")
		}
		wantLog(t, &log)
	})
}

func TestReturningAddressKeepsItsConnections(t *testing.T) {
	p := newPool(t, Config{Servers: servers("a.internal:443"), MaxConnections: 1})
	answer(t, p, "a.internal", "10.0.0.1", "10.0.0.2")
	one, two := endpoint(t, p, "a.internal:443 (10.0.0.1:443)"), endpoint(t, p, "a.internal:443 (10.0.0.2:443)")
	one.acquire(0)
	answer(t, p, "a.internal", "10.0.0.3")
	answer(t, p, "a.internal", "10.0.0.1", "10.0.0.2")
	if got := endpoint(t, p, one.String()); got != one {
		t.Errorf("%s came back with %d connections, want 1", got, got.active.Load())
	}
	if got := endpoint(t, p, two.String()); got == two {
		t.Errorf("%s is remembered, want it forgotten: it had no connection", two)
	}
	if n := len(p.servers[0].gone); n != 0 {
		t.Errorf("%d endpoints are kept beside the answer, want 0", n)
	}
}

func TestRunKeepsAnswerOnFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("a.internal:443")})
		var dns nameServer
		dns.set("a.internal", "10.0.0.1")
		var log bytes.Buffer
		r := &Resolver{Pools: []*Pool{p}, Lookup: dns.lookup, Log: logTo(&log), Refresh: 10 * time.Second}
		r.Resolve(t.Context())
		run(t, r)

		dns.fail("a.internal")
		pass(5 * time.Minute)
		dns.set("a.internal") // another kind of failure, but no other state
		pass(5 * time.Minute)
		wantNames(t, p, "a.internal:443 (10.0.0.1:443)")
		wantLog(t, &log, `level=WARN msg="name does not resolve, its servers keep their addresses" name=a.internal err="no such host"`)

		dns.set("a.internal", "10.0.0.1")
		pass(5 * time.Minute)
		wantLog(t, &log, `level=INFO msg="name resolves again" name=a.internal`)
	})
}

func TestRunRetriesSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("a.internal:443")})
		var dns nameServer
		var log bytes.Buffer
		run(t, &Resolver{Pools: []*Pool{p}, Lookup: dns.lookup, Log: logTo(&log), Refresh: 10 * time.Second})
		pass(2 * time.Minute)
		asked := dns.asked["a.internal"]
		for i, base := range []time.Duration{1, 2, 4, 8, 10, 10, 10} {
			base *= time.Second
			if got := asked[i+1].Sub(asked[i]); got < base*4/5 || got > base*6/5 {
				t.Errorf("look-up %d is %v after the one before, want %v give or take a fifth", i+2, got, base)
			}
		}
		wantPick(t, p, nil, "")
		dns.set("a.internal", "10.0.0.1")
		pass(12 * time.Second)
		wantPick(t, p, nil, "a.internal:443 (10.0.0.1:443)")
	})
}

func TestRunJitters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("a.internal:443")})
		var dns nameServer
		dns.set("a.internal", "10.0.0.1")
		run(t, &Resolver{Pools: []*Pool{p}, Lookup: dns.lookup})
		pass(time.Hour)
		gaps := make(map[time.Duration]bool)
		asked := dns.asked["a.internal"]
		for i := range asked[1:] {
			gap := asked[i+1].Sub(asked[i])
			if gap < 24*time.Second || gap > 36*time.Second {
				t.Errorf("a refresh comes after %v, want 30s give or take a fifth", gap)
			}
			gaps[gap] = true
		}
		if len(gaps) < 50 {
			t.Errorf("the refreshes of an hour come after %d different times, want 50 or more", len(gaps))
		}
	})
}

func TestLookupTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("slow.internal:443", "quick.internal:443")})
		lookup := func(ctx context.Context, host string) ([]netip.Addr, error) {
			if host == "slow.internal" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return addrs("10.0.0.1"), nil
		}
		var log bytes.Buffer
		start := time.Now()
		(&Resolver{Pools: []*Pool{p}, Lookup: lookup, Log: logTo(&log)}).Resolve(t.Context())
		if d := time.Since(start); d != lookupTimeout {
			t.Errorf("Resolve took %v, want the %v of the slow name", d, lookupTimeout)
		}
		wantNames(t, p, "quick.internal:443 (10.0.0.1:443)")
		wantLog(t, &log, `level=WARN msg="name does not resolve, its servers have no address yet" name=slow.internal err="context deadline exceeded"`)
	})
}

func TestForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("a.internal:443", "a.internal:444", "10.0.0.1:443", "unix:/run/x.sock")})
		var dns nameServer
		dns.set("a.internal", "10.0.0.1", "10.0.0.2", "10.0.0.1")
		self := netip.MustParseAddrPort("10.0.0.1:443")
		forbidden := func(ap netip.AddrPort) bool { return ap == self || !ap.IsValid() } // a Unix socket is not asked about
		var log bytes.Buffer
		r := &Resolver{Pools: []*Pool{p}, Lookup: dns.lookup, Log: logTo(&log), Forbidden: forbidden}
		r.Resolve(t.Context())
		want := []string{"a.internal:443 (10.0.0.2:443)", "a.internal:444 (10.0.0.1:444)", "a.internal:444 (10.0.0.2:444)", "unix:/run/x.sock"}
		wantNames(t, p, want...)
		const dropped = `level=WARN msg="server address is a listener of this edge, dropped; name the origin's own address or another port" backend=shop server=`
		wantLog(t, &log, dropped+`10.0.0.1:443 address=10.0.0.1:443`, dropped+`a.internal:443 address=10.0.0.1:443`)

		run(t, r)
		pass(time.Hour)
		wantLog(t, &log) // not at every refresh
		dns.set("a.internal", "10.0.0.1")
		pass(time.Minute)
		// Port 443 has nothing usable and keeps what it had.
		wantNames(t, p, "a.internal:443 (10.0.0.2:443)", "a.internal:444 (10.0.0.1:444)", "unix:/run/x.sock")
		wantLog(t, &log)
	})
}

func TestRunWithoutNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		r := &Resolver{Pools: []*Pool{newPool(t, Config{Servers: servers("10.0.0.1:443")})}}
		r.Resolve(ctx)
		if err := r.Run(ctx); err != context.DeadlineExceeded || time.Since(start) != time.Minute {
			t.Errorf("Run() = %v after %v, want %v after 1m0s", err, time.Since(start), context.DeadlineExceeded)
		}
	})
}

// TestDefaultLookup asks the system for a name that needs no name server.
func TestDefaultLookup(t *testing.T) {
	p := newPool(t, Config{Servers: servers("localhost:443")})
	(&Resolver{Pools: []*Pool{p}}).Resolve(t.Context())
	e := p.Pick(client, nil)
	if e == nil || !e.AddrPort.Addr().IsLoopback() {
		t.Errorf("Pick(%v, nil) = %v, want a loopback address of localhost", client, e)
	}
}

var errNoRoute = errors.New("network is unreachable")

// routeTable is a machine's routes: it has none to the families that are set.
type routeTable struct{ no4, no6 atomic.Bool }

func (r *routeTable) route(a netip.Addr) error {
	if a.Is4() && r.no4.Load() || a.Is6() && r.no6.Load() {
		return errNoRoute
	}
	return nil
}

func TestFamilyWithoutRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("a.internal:443", "b.internal:443", "six.internal:443")})
		var dns nameServer
		dns.set("a.internal", "10.0.0.1", "2001:db8::1")
		dns.set("b.internal", "10.0.0.2", "2001:db8::2", "0.0.0.0")
		dns.set("six.internal", "2001:db8::6")
		var machine routeTable
		machine.no6.Store(true)
		var log bytes.Buffer
		r := &Resolver{Pools: []*Pool{p}, Lookup: dns.lookup, Log: logTo(&log), Route: machine.route}
		r.Resolve(t.Context())
		without := []string{"a.internal:443 (10.0.0.1:443)", "b.internal:443 (10.0.0.2:443)", "six.internal:443 ([2001:db8::6]:443)"}
		wantNames(t, p, without...)
		if got := log.String(); strings.Count(got, "\n") != 1 ||
			!strings.HasPrefix(got, `level=WARN msg="no route to IPv6 addresses, they are left out" name=`) {
			t.Errorf("log is\n%swant one line for the family", got)
		}
		log.Reset()

		run(t, r)
		pass(time.Hour)
		wantNames(t, p, without...)
		wantLog(t, &log)

		machine.no4.Store(true) // the link is down: there is nothing to choose from
		pass(time.Minute)
		machine.no4.Store(false)
		pass(time.Minute)
		wantLog(t, &log)

		machine.no6.Store(false)
		pass(time.Minute)
		wantNames(t, p, "a.internal:443 (10.0.0.1:443)", "a.internal:443 ([2001:db8::1]:443)", "b.internal:443 (10.0.0.2:443)",
			"b.internal:443 ([2001:db8::2]:443)", "six.internal:443 ([2001:db8::6]:443)")
		wantLog(t, &log, `level=INFO msg="no IPv6 address is left out any more"`)
	})
}

// TestKernelRoute asks about addresses whose answer is the same on every machine.
func TestKernelRoute(t *testing.T) {
	if err := kernelRoute(netip.MustParseAddr("127.0.0.1")); err != nil {
		t.Errorf("kernelRoute(127.0.0.1) = %v, want a route", err)
	}
	// A link-local address without a zone never has a route, nor one of a family that is off.
	if err := kernelRoute(netip.MustParseAddr("fe80::1")); err == nil {
		t.Error("kernelRoute(fe80::1) = nil, want an error")
	}
}

func TestResolverFamily(t *testing.T) {
	for f, want := range map[Family]string{NoFamily: "10.0.0.1 2001:db8::1", IPv4: "10.0.0.1", IPv6: "2001:db8::1"} {
		p := newPool(t, Config{Servers: servers("origin.internal:443", "192.0.2.1:443", "[2001:db8::9]:443")})
		s := &nameServer{}
		s.set("origin.internal", "::ffff:10.0.0.1", "2001:db8::1")
		r := &Resolver{Pools: []*Pool{p}, Lookup: s.lookup, Route: routeToAll, Family: f}
		r.Resolve(t.Context())
		var got []string
		for _, e := range p.servers[0].endpoints {
			got = append(got, e.AddrPort.Addr().String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("with family %s the name has %q, want %q", f, got, want)
		}
		if n := len(names(p)); n != len(got)+2 {
			t.Errorf("with family %s the pool has %d endpoints, want those of addresses to stay", f, n)
		}
	}
}

// A server at the port of the listener is the edge itself when it is so at any listener's port.
func TestForbiddenAtThePortOfTheListener(t *testing.T) {
	p := newPool(t, Config{Servers: servers("10.0.0.1:listen", "10.0.0.2:listen", "origin.internal:listen")})
	s := &nameServer{}
	s.set("origin.internal", "10.0.0.1", "10.0.0.3")
	r := &Resolver{Pools: []*Pool{p}, Lookup: s.lookup, Route: routeToAll, Log: logTo(&bytes.Buffer{}),
		Forbidden: func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("10.0.0.1:0") }}
	r.Resolve(t.Context())
	wantNames(t, p, "10.0.0.2:listen", "origin.internal:listen (10.0.0.3)")
	if got := endpoint(t, p, "10.0.0.2:listen").At(993).String(); got != "10.0.0.2:993" {
		t.Errorf("At(993) = %s, want 10.0.0.2:993", got)
	}
}
