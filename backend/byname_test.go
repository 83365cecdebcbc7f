package backend

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A zone answers the look-ups of a Lookups, and notes them.
type zone struct {
	mu      sync.Mutex
	answers map[string]Answer
	fails   error // instead of an answer
	slow    time.Duration
	asked   []string
	now     int // look-ups in progress
	most    int // of them at one time
}

func (z *zone) set(host string, ttl time.Duration, addresses ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.answers == nil {
		z.answers = map[string]Answer{}
	}
	z.answers[host] = Answer{addrs(addresses...), ttl}
}

func (z *zone) fail(err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.fails = err
}

func (z *zone) lookup(ctx context.Context, host string, _ Family) (Answer, error) {
	z.mu.Lock()
	z.asked = append(z.asked, host)
	z.now++
	z.most = max(z.most, z.now)
	slow := z.slow
	z.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(slow):
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.now--
	a, ok := z.answers[host]
	switch {
	case ctx.Err() != nil:
		return Answer{}, ctx.Err()
	case z.fails != nil:
		return Answer{}, z.fails
	case !ok:
		return Answer{}, ErrNoAddress
	}
	return a, nil
}

func (z *zone) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	z.mu.Lock()
	defer z.mu.Unlock()
	if !slices.Equal(z.asked, want) {
		t.Errorf("the name server was asked for %q, want %q", z.asked, want)
	}
	z.asked = nil
}

// A bell counts how often it rings.
type bell struct{ rung chan struct{} }

func newBell() bell  { return bell{make(chan struct{}, 10)} }
func (b bell) Wake() { b.rung <- struct{}{} }

// byNamePool makes a pool at {sni}:443 in a bubble of synctest, whose look-ups end with the test.
func byNamePool(t *testing.T, z *zone, c Config) *Pool {
	t.Helper()
	if c.Servers == nil {
		c.Servers = servers("{sni}:443")
	}
	if c.Lookups == nil {
		c.Lookups = &Lookups{Lookup: z.lookup, Route: routeToAll}
		t.Cleanup(c.Lookups.Close)
	}
	return newPool(t, c)
}

// find returns the pool of a host, after the wait if there is one.
func find(t *testing.T, p *Pool, host string) (*Pool, error) {
	t.Helper()
	found, err := p.Find([]byte(host))
	if err != ErrUnknown {
		return found, err
	}
	b := newBell()
	wait, found, err := p.Ask([]byte(host), b)
	if wait == nil {
		return found, err
	}
	<-b.rung
	return wait.Result()
}

func wantFound(t *testing.T, p *Pool, host string, want ...string) *Pool {
	t.Helper()
	found, err := find(t, p, host)
	if err != nil {
		t.Fatalf("Find(%q) = %v, want %q", host, err, want)
	}
	wantNames(t, found, want...)
	return found
}

func wantNotFound(t *testing.T, p *Pool, host string, want error, text string) {
	t.Helper()
	found, err := find(t, p, host)
	if found != nil || !errors.Is(err, want) || err.Error() != text {
		t.Errorf("Find(%q) = %v, %v, want %s", host, found, err, text)
	}
}

var public = Fence{Public: true}

func TestFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		z.set("a.example", time.Minute, "8.8.8.8", "2600::1", "8.8.8.8", "::ffff:8.8.4.4")
		p := byNamePool(t, z, Config{To: public, Retries: 3, Balance: LeastConnections})
		found := wantFound(t, p, "a.example", "8.8.4.4:443", "8.8.8.8:443", "[2600::1]:443")
		if found.Name() != p.Name() || found.Retries() != 3 || found.ByName() || !p.ByName() {
			t.Errorf("pool of a name is %+v, want name and retries of its backend", found)
		}
		if again := wantFound(t, p, "a.example", names(found)...); again != found {
			t.Error("the second Find returns another pool, want the first one")
		}
		z.wantAsked(t, "a.example")
		if e := p.Pick(client, nil); e != nil {
			t.Errorf("Pick of a pool by name = %s, want none: no name is known", e)
		}
	})
}

func TestFindExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		p := byNamePool(t, z, Config{To: public})
		for _, tc := range []struct{ ttl, kept time.Duration }{
			{0, time.Second}, {30 * time.Second, 30 * time.Second}, {24 * time.Hour, time.Hour},
		} {
			host := tc.ttl.String()
			z.set(host, tc.ttl, "8.8.8.8")
			wantFound(t, p, host, "8.8.8.8:443")
			z.set(host, tc.ttl, "8.8.4.4")
			time.Sleep(tc.kept - time.Nanosecond)
			wantFound(t, p, host, "8.8.8.8:443")
			z.wantAsked(t, host)
			time.Sleep(time.Nanosecond)
			wantFound(t, p, host, "8.8.4.4:443")
			z.wantAsked(t, host)
		}
		wantNotFound(t, p, "missing.example", ErrNoAddress, "the name has no address")
		time.Sleep(missingFor - time.Nanosecond)
		wantNotFound(t, p, "missing.example", ErrNoAddress, "the name has no address")
		z.wantAsked(t, "missing.example")
		z.set("missing.example", 0, "8.8.8.8")
		time.Sleep(time.Nanosecond)
		wantFound(t, p, "missing.example", "8.8.8.8:443")
	})
}

// A name whose look-up fails keeps its addresses; one that is gone has lost them.
func TestFindKeepsWhatItHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		z.set("a.example", time.Minute, "8.8.8.8")
		p := byNamePool(t, z, Config{To: public})
		had := wantFound(t, p, "a.example", "8.8.8.8:443")
		z.fail(errors.New("no answer"))
		time.Sleep(time.Minute)
		if wantFound(t, p, "a.example", "8.8.8.8:443") != had {
			t.Error("after a failed look-up there is another pool, want the one before")
		}
		wantNotFound(t, p, "b.example", ErrLookupFailed, "the name was not resolved: no answer")
		z.wantAsked(t, "a.example", "a.example", "b.example")
		time.Sleep(failedFor - time.Nanosecond)
		find(t, p, "a.example")
		find(t, p, "b.example")
		z.wantAsked(t)
		time.Sleep(time.Nanosecond)
		z.fail(nil)
		z.set("b.example", time.Minute, "8.8.4.4")
		wantFound(t, p, "a.example", "8.8.8.8:443")
		wantFound(t, p, "b.example", "8.8.4.4:443")
		z.set("a.example", time.Minute, "10.0.0.1")
		z.set("b.example", time.Minute)
		time.Sleep(time.Minute)
		wantNotFound(t, p, "a.example", ErrDenied, "10.0.0.1 is not a public address")
		wantNotFound(t, p, "b.example", ErrNoAddress, "the name has no address")
	})
}

// A name whose look-up takes longer than its client waits keeps its addresses too.
func TestSlowLookupKeepsWhatItHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		z.set("a.example", time.Second, "8.8.8.8")
		p := byNamePool(t, z, Config{To: public})
		had := wantFound(t, p, "a.example", "8.8.8.8:443")
		z.slow = time.Hour
		time.Sleep(time.Second)
		wait, _, _ := p.Ask([]byte("a.example"), newBell())
		if found, err := wait.Result(); found != had || err != nil {
			t.Errorf("Result() before the answer = %v, %v, want what the name had", found, err)
		}
		pass(clientLookup)
		if found, err := p.Find([]byte("a.example")); found != had || err != nil {
			t.Errorf("Find() after the look-up timed out = %v, %v, want what the name had", found, err)
		}
	})
}

func TestFindDenies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		l := &Lookups{
			Lookup:    z.lookup,
			Route:     routeToAll,
			Own:       func(a netip.Addr) bool { return a == netip.MustParseAddr("8.8.8.8") },
			Forbidden: func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("10.0.0.5:443") },
		}
		t.Cleanup(l.Close)
		p := byNamePool(t, z, Config{To: public, Lookups: l})
		inside := byNamePool(t, z, Config{To: Fence{Networks: prefixes("10.0.0.0/8", "8.8.8.0/24")}, Lookups: l})
		z.set("both.example", 0, "127.0.0.1", "9.9.9.9", "10.1.1.1")
		wantFound(t, p, "both.example", "9.9.9.9:443")
		wantFound(t, inside, "both.example", "10.1.1.1:443")
		z.set("own.example", 0, "8.8.8.8")
		wantNotFound(t, p, "own.example", ErrDenied, "8.8.8.8 is an address of this machine")
		wantFound(t, inside, "own.example", "8.8.8.8:443")
		z.set("edge.example", 0, "10.0.0.5")
		wantNotFound(t, inside, "edge.example", ErrDenied, "10.0.0.5 is a listener of this edge")
		z.set("out.example", 0, "9.9.9.9")
		wantNotFound(t, inside, "out.example", ErrDenied, "9.9.9.9 is in none of the networks in `to`")
		z.set("none.example", 0, "0.0.0.0")
		wantNotFound(t, p, "none.example", ErrDenied, "0.0.0.0 is no address of a server")
	})
}

// Addresses without a route are left out while there are others.
func TestFindByRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		z.set("both.example", 0, "8.8.8.8", "2600::1")
		z.set("v6.example", 0, "2600::1", "2600::2")
		l := &Lookups{Lookup: z.lookup, Route: func(a netip.Addr) error {
			if a.Is6() {
				return errors.New("no route")
			}
			return nil
		}}
		t.Cleanup(l.Close)
		p := byNamePool(t, z, Config{To: public, Lookups: l})
		wantFound(t, p, "both.example", "8.8.8.8:443")
		wantFound(t, p, "v6.example", "[2600::1]:443", "[2600::2]:443")
	})
}

func TestFindWithSuffixAndPortOfTheListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		z.set("a.example.internal", time.Minute, "8.8.8.8", "2600::1")
		p := byNamePool(t, z, Config{To: public, Family: IPv4, Servers: servers("{sni}.internal:listen")})
		found := wantFound(t, p, "a.example", "8.8.8.8:listen")
		e := found.Pick(client, nil)
		if got := e.At(8443).String(); got != "8.8.8.8:8443" {
			t.Errorf("At(8443) = %s, want 8.8.8.8:8443", got)
		}
		long := "a.example." + string(slices.Repeat([]byte("a."), 118)) + "b"
		wantNotFound(t, p, long, ErrNoAddress, "the name has no address")
		z.wantAsked(t, "a.example.internal")
		z.set("b.example.internal", time.Minute, "2600::1")
		wantNotFound(t, p, "b.example", ErrNoAddress, "the name has no address")
	})
}

// Many that ask for one name wait for one look-up, and each is woken once.
func TestOneLookupForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{slow: time.Second}
		z.set("a.example", time.Minute, "8.8.8.8")
		p := byNamePool(t, z, Config{To: public})
		b := newBell()
		var waits []*Wait
		for range 3 {
			wait, _, _ := p.Ask([]byte("a.example"), b)
			waits = append(waits, wait)
		}
		waits[2].Leave()
		time.Sleep(time.Second / 2)
		if found, err := waits[1].Result(); found != nil || err != ErrLookupTimeout {
			t.Errorf("Result() before the answer = %v, %v, want %v", found, err, ErrLookupTimeout)
		}
		pass(time.Second)
		if len(b.rung) != 1 {
			t.Errorf("%d wakes, want 1 for the one that still waits", len(b.rung))
		}
		if found, err := waits[0].Result(); err != nil || names(found)[0] != "8.8.8.8:443" {
			t.Errorf("Result() = %v, %v, want 8.8.8.8:443", found, err)
		}
		z.wantAsked(t, "a.example")
	})
}

// Beyond what may wait, a client is turned away. Questions that nobody waits for make way.
func TestLookupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{slow: time.Second}
		z.set("popular.example", time.Second, "8.8.8.8")
		p := byNamePool(t, z, Config{To: public})
		popular := wantFound(t, p, "popular.example", "8.8.8.8:443")
		pass(2 * time.Second) // the name has expired
		b := bell{make(chan struct{}, 2*lookupsWaiting)}
		var waits []*Wait
		for i := range lookupsAtOnce + lookupsWaiting {
			wait, _, err := p.Ask(fmt.Appendf(nil, "n%d.example", i), b)
			if wait == nil {
				t.Fatalf("Ask for name %d = %v, want a wait", i, err)
			}
			waits = append(waits, wait)
		}
		if wait, _, err := p.Ask([]byte("more.example"), b); wait != nil || err != ErrLookups {
			t.Errorf("Ask for one name more = %v, %v, want %v", wait, err, ErrLookups)
		}
		if _, found, err := p.Ask([]byte("popular.example"), b); found != popular {
			t.Errorf("Ask for a known name that has expired = %v, %v, want what it had", found, err)
		}
		waits[len(waits)-1].Leave()
		if wait, _, err := p.Ask([]byte("more.example"), b); wait == nil {
			t.Errorf("Ask after another has left = %v, want a wait", err)
		}
		pass(time.Minute)
		if z.most != lookupsAtOnce || z.now != 0 || len(p.byName.asked) != 0 {
			t.Errorf("%d look-ups at once, %d now, %d open questions, want %d, 0, 0", z.most, z.now, len(p.byName.asked), lookupsAtOnce)
		}
		if len(z.asked) != 1+lookupsAtOnce+lookupsWaiting {
			t.Errorf("%d look-ups, want none for the name that nobody waits for", len(z.asked))
		}
	})
}

// Names that are asked for once do not push out those that many ask for, and all are bounded.
func TestFloodOfNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		z.set("popular.example", time.Hour, "8.8.8.8")
		p := byNamePool(t, z, Config{To: public})
		wantFound(t, p, "popular.example", "8.8.8.8:443")
		popular := wantFound(t, p, "popular.example", "8.8.8.8:443")
		for i := range 3 * maxNames {
			host := fmt.Sprintf("n%d.example", i)
			if i%2 == 0 {
				z.set(host, time.Hour, netip.AddrFrom4([4]byte{9, byte(i >> 16), byte(i >> 8), byte(i)}).String())
			}
			find(t, p, host)
		}
		if wantFound(t, p, "popular.example", "8.8.8.8:443") != popular {
			t.Error("a flood of names pushed out the one that is asked for time and again")
		}
		if n := p.byName.known.Len(); n > maxNames {
			t.Errorf("%d names are known, want at most %d", n, maxNames)
		}
		runtime.GC()
		if n := p.byName.at.len(); n > 2*maxNames {
			t.Errorf("%d endpoints are known for %d names", n, maxNames)
		}
	})
}

func TestFindTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := byNamePool(t, &zone{slow: time.Hour}, Config{To: public})
		began := time.Now()
		wantNotFound(t, p, "a.example", ErrLookupTimeout, "the name was not resolved in time")
		if took := time.Since(began); took != clientLookup {
			t.Errorf("look-up took %v, want %v", took, clientLookup)
		}
		z := &zone{}
		z.fail(fmt.Errorf("read udp: %w", os.ErrDeadlineExceeded)) // of the last name server
		wantNotFound(t, byNamePool(t, z, Config{To: public}), "a.example", ErrLookupTimeout, "the name was not resolved in time")
	})
}

func TestLookupsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Lookups{Lookup: (&zone{slow: time.Hour}).lookup}
		p := byNamePool(t, nil, Config{To: public, Lookups: l})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		b := newBell()
		wait, _, _ := p.Ask([]byte("a.example"), b)
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("Run() = %v, want %v", err, context.Canceled)
		}
		<-b.rung
		if _, err := wait.Result(); !errors.Is(err, ErrLookupFailed) {
			t.Errorf("Result() after the end = %v, want %v", err, ErrLookupFailed)
		}
		if wait, _, err := p.Ask([]byte("b.example"), b); wait != nil || err != ErrLookups {
			t.Errorf("Ask after the end = %v, %v, want %v", wait, err, ErrLookups)
		}
	})
}

// Names share the endpoints of their addresses, which outlive what is known of a name.
func TestEndpointsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		z.set("a.example", time.Minute, "8.8.8.8")
		z.set("b.example", time.Minute, "8.8.8.8")
		p := byNamePool(t, z, Config{To: public, MaxConnections: 1})
		e := wantPick(t, wantFound(t, p, "a.example", "8.8.8.8:443"), nil, "8.8.8.8:443")
		wantPick(t, wantFound(t, p, "b.example", "8.8.8.8:443"), nil, "")
		p.Forget()
		runtime.GC()
		b := wantFound(t, p, "b.example", "8.8.8.8:443")
		wantPick(t, b, nil, "")
		e.Release()
		wantPick(t, b, nil, "8.8.8.8:443")
		z.wantAsked(t, "a.example", "b.example", "b.example")
	})
}

// What nothing uses any more is forgotten.
func TestEndpointsAreForgotten(t *testing.T) {
	x := &endpoints{}
	s := &server{configured: "{sni}:443"}
	kept := x.endpoint(s, netip.MustParseAddrPort("8.8.8.8:443"))
	x.endpoint(s, netip.MustParseAddrPort("8.8.4.4:443"))
	for x.len() > 1 {
		runtime.GC() // cleanups run some time later
	}
	if e := x.endpoint(s, kept.AddrPort); e != kept {
		t.Errorf("%s is another endpoint, want the one in use", e)
	}
}

func TestAdoptByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		z.set("a.example", time.Hour, "8.8.8.8")
		c := Config{To: public, MaxConnections: 1}
		before := byNamePool(t, z, c)
		c.Lookups = before.byName.lookups
		found := wantFound(t, before, "a.example", "8.8.8.8:443")
		wantPick(t, found, nil, "8.8.8.8:443")

		same := byNamePool(t, z, c)
		same.Adopt(before)
		if wantFound(t, same, "a.example", "8.8.8.8:443") != found {
			t.Error("a pool that is configured alike looks the name up again")
		}
		for what, change := range map[string]func(*Config){
			"max_connections": func(c *Config) { c.MaxConnections = 2 },
			"to":              func(c *Config) { c.To = Fence{Networks: prefixes("8.0.0.0/8")} },
			"family":          func(c *Config) { c.Family = IPv4 },
		} {
			other := c
			change(&other)
			after := byNamePool(t, z, other)
			after.Adopt(same)
			now := wantFound(t, after, "a.example", "8.8.8.8:443")
			if now == found {
				t.Errorf("another %s: the name is as it was known, want it looked up again", what)
			}
			wantActive(t, endpoint(t, now, "8.8.8.8:443"), 1)
		}
		ordinary := newPool(t, Config{Servers: servers("10.0.0.1:443")})
		ordinary.Adopt(before)
		wantNames(t, ordinary, "10.0.0.1:443")
	})
}

func TestByNameIsAlone(t *testing.T) {
	_, err := New(Config{Name: "any", Servers: servers("10.0.0.1:443", "{sni}:443")})
	const want = `backend "any": server "{sni}:443" must be the only one, since it is every name`
	if err == nil || err.Error() != want {
		t.Errorf("New() = %v, want %s", err, want)
	}
}

func TestFindDoesNotAllocate(t *testing.T) {
	z := &zone{}
	z.set("a-name-longer-than-thirty-two-bytes.example", time.Hour, "8.8.8.8", "2600::1")
	p := byNamePool(t, z, Config{To: public})
	host := []byte("a-name-longer-than-thirty-two-bytes.example")
	find(t, p, string(host))
	find(t, p, string(host)) // among those that are asked for more than once
	if n := testing.AllocsPerRun(100, func() {
		found, _ := p.Find(host)
		found.Pick(client, nil).Release()
	}); n != 0 {
		t.Errorf("Find and Pick allocate %v times, want 0", n)
	}
}

func BenchmarkFind(b *testing.B) {
	z := &zone{}
	z.set("shop.example.com", time.Hour, "8.8.8.8", "2600::1")
	p, _ := New(Config{Name: "any", Servers: servers("{sni}:443"), To: public, Lookups: &Lookups{Lookup: z.lookup, Route: routeToAll}})
	defer p.byName.lookups.Close()
	host, rung := []byte("shop.example.com"), newBell()
	p.Ask(host, rung)
	<-rung.rung
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			found, _ := p.Find(host)
			found.Pick(client, nil).Release()
		}
	})
}
