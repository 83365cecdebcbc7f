package backend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestConcurrentPicks picks and releases from many goroutines while a resolver swaps the snapshots
// as fast as it can. No endpoint may ever have more connections than its limit, and in the end
// every one must have none.
func TestConcurrentPicks(t *testing.T) {
	const limit, pickers, picks = 2, 8, 2000
	for _, b := range allBalances {
		t.Run(b.String(), func(t *testing.T) {
			list := append(weights(1, 2), ServerConfig{Address: "a.internal:443"}, ServerConfig{Address: "b.internal:443", Backup: 1})
			p := newPool(t, Config{Servers: list, Balance: b, MaxConnections: limit})
			ctx, cancel := context.WithCancel(t.Context())
			resolver := &Resolver{Pools: []*Pool{p}, Refresh: time.Microsecond, Lookup: changing}
			resolver.Resolve(ctx)
			done := make(chan error)
			go func() { done <- resolver.Run(ctx) }()

			var seen sync.Map // *Endpoint -> *atomic.Int64, what is held as the pickers count it
			var wg sync.WaitGroup
			for i := range pickers {
				wg.Go(func() { pickAndRelease(t, p, byte(i), picks, limit, &seen) })
			}
			wg.Wait()
			cancel()
			<-done
			for e := range seen.Range {
				wantActive(t, e.(*Endpoint), 0)
			}
		})
	}
}

// changing answers with one to three addresses out of four.
func changing(context.Context, string) ([]netip.Addr, error) {
	var as []netip.Addr
	for range 3 {
		as = append(as, netip.AddrFrom4([4]byte{10, 0, 1, byte(rand.IntN(4))}))
	}
	return as, nil
}

func pickAndRelease(t *testing.T, p *Pool, id byte, picks int, limit int64, seen *sync.Map) {
	for i := range picks {
		from := netip.AddrFrom4([4]byte{192, 0, id, byte(i)})
		var held []*Endpoint
		for range 3 {
			e := p.Pick(from, held)
			if e == nil {
				break
			}
			v, _ := seen.LoadOrStore(e, new(atomic.Int64))
			if n := v.(*atomic.Int64).Add(1); n > limit {
				t.Errorf("%s has %d connections, want %d or fewer", e, n, limit)
			}
			held = append(held, e)
		}
		for _, e := range held {
			v, _ := seen.Load(e)
			v.(*atomic.Int64).Add(-1)
			e.Release()
		}
	}
}

// TestLimitIsReached: as many pickers as there is room for all get in, whatever the order.
func TestLimitIsReached(t *testing.T) {
	const limit, size = 8, 4
	for _, b := range allBalances {
		t.Run(b.String(), func(t *testing.T) {
			p := newPool(t, Config{Servers: weights(1, 1, 1, 1), Balance: b, MaxConnections: limit})
			var got atomic.Int64
			var wg sync.WaitGroup
			for range limit*size + 10 {
				wg.Go(func() {
					if p.Pick(client, nil) != nil {
						got.Add(1)
					}
				})
			}
			wg.Wait()
			if n := got.Load(); n != limit*size {
				t.Errorf("%d of %d picks got an endpoint, want %d", n, limit*size+10, limit*size)
			}
			for i := range size {
				wantActive(t, endpoint(t, p, fmt.Sprintf("10.0.0.%d:443", i+1)), limit)
			}
		})
	}
}

// TestConcurrentAdopt adopts while both pools are in use and the old one is still refreshed.
func TestConcurrentAdopt(t *testing.T) {
	c := Config{Servers: servers("a.internal:443", "10.0.0.1:443"), Balance: LeastConnections}
	before := newPool(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	resolver := &Resolver{Pools: []*Pool{before}, Refresh: time.Microsecond, Lookup: changing}
	resolver.Resolve(ctx)
	done := make(chan error)
	go func() { done <- resolver.Run(ctx) }()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				e := before.Pick(client, nil)
				after := newPool(t, c)
				after.Adopt(before)
				if f := after.Pick(client, []*Endpoint{e}); f == nil {
					t.Error("Pick from a pool that adopted a resolved name = nil, want an endpoint")
				} else {
					f.Release()
				}
				e.Release()
			}
		})
	}
	wg.Wait()
	cancel()
	<-done
	for _, name := range names(before) {
		wantActive(t, endpoint(t, before, name), 0)
	}
}
