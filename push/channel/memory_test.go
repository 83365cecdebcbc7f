package channel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"testing"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// nobody is a Sink that takes no memory.
type nobody struct{}

func (nobody) Send(*wire.Message) error { return nil }
func (nobody) Close(wire.Code, string)  {}

// An empty is a Source with nothing in it.
type empty struct{ Source }

func (empty) Backlog(context.Context, string, uint64, uint64, int) ([]store.Message, error) {
	return nil, nil
}
func (empty) Terminal(context.Context, string) (store.Terminal, error) {
	return store.Terminal{}, store.ErrNotFound
}
func (empty) PutTerminal(context.Context, string, store.Terminal) error { return nil }
func (empty) Announce(context.Context, store.Event) error               { return nil }
func (empty) AppLast(string) uint64                                     { return 0 }
func (empty) Delete(...uint64)                                          {}
func (empty) Last() uint64                                              { return 9 }

// crowd connects so many terminals, each of an account of its own.
func crowd(tb testing.TB, r *Registry, n int) []*Channel {
	tb.Helper()
	all := make([]*Channel, n)
	for i := range all {
		hash := sha256.Sum256(fmt.Append(nil, i))
		c, err := r.Register(context.Background(), Attributes{
			Conn: hex.EncodeToString(hash[:8]), User: fmt.Sprintf("user-%d@example.com", i), Session: hex.EncodeToString(hash[8:24]),
			Device: hex.EncodeToString(hash[16:]), App: "com.example.mail", Version: fmt.Sprint("2.", i%3),
		}, nobody{})
		if err != nil {
			tb.Fatal(err)
		}
		state := map[string]string{"network": "wifi", "foreground": "false", "battery": fmt.Sprint(i % 101), "os": "android 16"}
		if err := c.Listen(context.Background(), hex.EncodeToString(hash[:]), state); err != nil {
			tb.Fatal(err)
		}
		all[i] = c
	}
	return all
}

// settled waits until no channel has anything to do.
func settled(tb testing.TB, r *Registry) {
	tb.Helper()
	done := make(chan struct{})
	go func() { r.tasks.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		tb.Fatalf("channels with nothing to do still do something after %s", patience)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestIdleChannelIsSmallAndHasNoGoroutine(t *testing.T) {
	const n, limit = 10_000, 1500
	r := New(Config{Store: empty{}})
	r.Follow(empty{})
	goroutines, before := runtime.NumGoroutine(), heap()
	all := crowd(t, r, n)
	settled(t, r)
	if err := r.journal.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	bytes := int(heap()-before) / n
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines for %d idle channels, want none", got-goroutines, n)
	}
	if t.Logf("%d bytes for an idle channel with its attributes and a state of 5 keys", bytes); bytes > limit {
		t.Errorf("%d bytes for an idle channel, want %d at most", bytes, limit)
	}
	for _, c := range all {
		c.Close("gone")
	}
	if got := r.Len() + len(r.users) + len(r.tokens) + len(r.groups); got != 0 {
		t.Errorf("%d left in the registry after every channel was closed, want 0", got)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A channel that was busy is as small afterwards, but for what it remembers of
// acknowledgements.
func TestBusyChannelIsSmallAgain(t *testing.T) {
	const n, limit = 500, 2500
	r := New(Config{Store: empty{}})
	r.Follow(empty{})
	before := heap()
	all := crowd(t, r, n)
	settled(t, r)
	seq := uint64(100)
	for range 100 {
		seq++
		r.Message(&store.Message{Seq: seq, App: "com.example.mail", Version: "*"})
		settled(t, r)
		for _, c := range all {
			mustAck(t, c, seq)
		}
	}
	if err := r.journal.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	bytes := int(heap()-before) / n
	if t.Logf("%d bytes for a channel after 100 messages", bytes); bytes > limit {
		t.Errorf("%d bytes for a channel that was busy, want %d at most", bytes, limit)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// BenchmarkMessageToApp is what the one goroutine of the subscription spends on
// a message to so many terminals, and what they spend on sending it.
func BenchmarkMessageToApp(b *testing.B) {
	for _, n := range []int{1, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := New(Config{Store: empty{}})
			r.Follow(empty{})
			all := crowd(b, r, n)
			settled(b, r)
			seq := uint64(100)
			var offered time.Duration
			for b.Loop() {
				seq++
				start := time.Now()
				r.Message(&store.Message{Seq: seq, App: "com.example.mail", Version: "*", Condition: "network=wifi"})
				offered += time.Since(start)
				settled(b, r)
				for _, c := range all {
					if err := c.Ack([]uint64{seq}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(offered.Microseconds())/float64(b.N)/float64(n), "µs-offer/terminal")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/terminal")
		})
	}
}

// BenchmarkListen is what the registry spends on a terminal that comes and
// goes, without the store.
func BenchmarkListen(b *testing.B) {
	r := New(Config{Store: empty{}})
	r.Follow(empty{})
	state := map[string]string{"network": "wifi"}
	for b.Loop() {
		c, err := r.Register(context.Background(), Attributes{Conn: "c", User: "u", Device: "d", App: "a", Version: "1"}, nobody{})
		if err == nil {
			err = c.Listen(context.Background(), "tok", state)
		}
		if err != nil {
			b.Fatal(err)
		}
		c.Close("gone")
	}
	settled(b, r)
}
