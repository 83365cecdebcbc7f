package backend

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func wantPatience(t *testing.T, e *Endpoint, want time.Duration) {
	t.Helper()
	if got := e.Patience(); got != want {
		t.Errorf("Patience() of %s = %v, want %v", e, got, want)
	}
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("10.0.0.1:443")})
		e := endpoint(t, p, "10.0.0.1:443")
		wantPatience(t, e, 250*time.Millisecond)
		for took, want := range map[time.Duration]time.Duration{
			0:                      250 * time.Millisecond,
			100 * time.Millisecond: 250 * time.Millisecond,
			300 * time.Millisecond: 600 * time.Millisecond,
			3 * time.Second:        time.Second,
		} {
			e.Connected(took)
			wantPatience(t, e, want)
		}
		e.Connected(time.Millisecond)
		for _, want := range []time.Duration{500 * time.Millisecond, time.Second, time.Second} {
			after := e.Patience()
			time.Sleep(after)
			for range 100 { // dials that began together count as one
				p.TimedOut(e, after)
			}
			wantPatience(t, e, want)
		}
		e.Connected(time.Millisecond)
		wantPatience(t, e, 250*time.Millisecond)
	})
}

// A doubted endpoint comes last, is tried by one connection every 30 s, and is as before once that
// connects.
func TestDoubt(t *testing.T) {
	for _, b := range allBalances {
		t.Run(b.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testDoubt(t, b) })
		})
	}
}

func testDoubt(t *testing.T, b Balance) {
	p := newPool(t, Config{Balance: b, Servers: append(weights(1), ServerConfig{Address: "10.9.0.1:443", Backup: 1})})
	e := wantPick(t, p, nil, "10.0.0.1:443")
	time.Sleep(minPatience)
	p.TimedOut(e, minPatience)
	e.Release()
	for range 2 {
		pass(doubtFor - 1)
		wantPick(t, p, nil, "10.9.0.1:443").Release()
		pass(1)
		wantPick(t, p, nil, "10.0.0.1:443").Release() // one connection tries it
		wantPick(t, p, nil, "10.9.0.1:443").Release() // and no other
	}
	wantPick(t, p, []*Endpoint{endpoint(t, p, "10.9.0.1:443")}, "10.0.0.1:443").Release() // there is no other
	e.Connected(time.Millisecond)
	for range 3 {
		wantPick(t, p, nil, "10.0.0.1:443").Release()
	}
	if p.mark.Load() != 0 {
		t.Error("the pool has doubts although its last dials connected, want none")
	}
}

// The others share the load of a doubted server by weight.
func TestDoubtLeavesWeights(t *testing.T) {
	for _, b := range []Balance{RoundRobin, RandomTwo} {
		p := newPool(t, Config{Balance: b, Servers: weights(4, 1, 2)})
		p.TimedOut(endpoint(t, p, "10.0.0.1:443"), minPatience)
		got := map[string]int{}
		for range 3000 {
			e := p.Pick(client, nil)
			got[e.String()]++
			if b == RoundRobin {
				e.Release()
			}
		}
		wantAbout(t, b.String()+": weight 1", got["10.0.0.2:443"], 1000)
		wantAbout(t, b.String()+": weight 2", got["10.0.0.3:443"], 2000)
	}
}

func TestDoubtMovesOnlyItsClients(t *testing.T) {
	p := newPool(t, Config{Balance: ClientHash, Servers: weights(1, 1, 1)})
	before := hashed(p)
	one := endpoint(t, p, "10.0.0.1:443")
	p.TimedOut(one, minPatience)
	for i, e := range hashed(p) {
		if before[i] != e && before[i] != one || e == one {
			t.Fatalf("client %d moved from %v to %v, want only those of %v to move", i, before[i], e, one)
		}
	}
}

// A dial that times out while others connect is no reason for doubt.
func TestLostPacketIsNoDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Config{Servers: servers("10.0.0.1:443", "10.0.0.2:443")})
		e := endpoint(t, p, "10.0.0.1:443")
		time.Sleep(time.Minute)
		e.Connected(time.Millisecond)
		time.Sleep(minPatience - 1)
		p.TimedOut(e, minPatience)
		if e.doubted() || p.doubts() {
			t.Errorf("%s is doubted after one of two dials timed out, want no doubt", e)
		}
		wantPatience(t, e, minPatience)
		time.Sleep(time.Nanosecond)
		p.TimedOut(e, minPatience)
		if !e.doubted() {
			t.Errorf("%s is not doubted, want doubt: none has connected since the dial began", e)
		}
	})
}

func TestAdoptKeepsDoubts(t *testing.T) {
	before := newPool(t, Config{Servers: weights(1, 1)})
	before.TimedOut(endpoint(t, before, "10.0.0.1:443"), minPatience)
	after := newPool(t, Config{Servers: weights(1, 1)})
	after.Adopt(before)
	if got := sequence(after, 4); got != "2222" {
		t.Errorf("after Adopt the sequence is %s, want 2222", got)
	}
}

// An address that leaves the answers and returns while connections are open is doubted as before.
func TestReturningAddressKeepsDoubt(t *testing.T) {
	p := newPool(t, Config{Servers: servers("a.internal:443")})
	answer(t, p, "a.internal", "10.0.0.1", "10.0.0.2")
	one := endpoint(t, p, "a.internal:443 (10.0.0.1:443)")
	one.acquire(0)
	p.TimedOut(one, minPatience)
	answer(t, p, "a.internal", "10.0.0.2")
	if got := sequence(p, 2); got != "22" {
		t.Errorf("the sequence is %s, want 22", got)
	}
	answer(t, p, "a.internal", "10.0.0.1", "10.0.0.2")
	if got := sequence(p, 4); got != "2222" {
		t.Errorf("with 1 back the sequence is %s, want 2222", got)
	}
}

func TestDoubtDoesNotAllocate(t *testing.T) {
	for _, b := range allBalances {
		p := newPool(t, Config{Balance: b, Servers: append(weights(1, 1), servers("[2001:db8::1]:443")...)})
		tried := []*Endpoint{endpoint(t, p, "10.0.0.1:443")}
		if n := testing.AllocsPerRun(100, func() {
			e := p.Pick(client, tried)
			p.HasOther(tried, e)
			p.TimedOut(e, e.Patience())
			p.PickAgain(client, tried).Release()
			e.Connected(time.Millisecond)
			e.Release()
		}); n != 0 {
			t.Errorf("%s: a retry allocates %v times, want 0", b, n)
		}
	}
}

// A doubt that begins while a pick finds none left is not lost.
func TestConcurrentDoubts(t *testing.T) {
	p := newPool(t, Config{Servers: weights(make([]int, 200)...)}) // looking at so many takes its time
	one := endpoint(t, p, "10.0.0.1:443")
	var picks atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				p.Pick(client, nil).Release()
				picks.Add(1)
			}
		}
	}()
	for i := range 4000 {
		p.TimedOut(one, 0)
		for before := picks.Load(); picks.Load() < before+2; { // until a pick that has begun is over
			runtime.Gosched()
		}
		if !p.doubts() {
			t.Errorf("the pool has no doubts about %v, which has timed out %d times, want some", one, i+1)
			break
		}
		one.Connected(0)
		one.connectedAt.Store(0) // or the next would be one of two dials of which one connects
	}
	close(stop)
	<-done
	one.Connected(0)
	p.Pick(client, nil).Release()
	if p.mark.Load() != 0 {
		t.Error("the pool has doubts although every endpoint connected, want none")
	}
}
