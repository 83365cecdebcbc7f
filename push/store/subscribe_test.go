package store

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestP6EveryMessageIsHandedOverInOrder(t *testing.T) {
	s := open(t, Config{})
	before := publish(t, s, Message{ID: "before", Token: hash(1)})
	var r recorder
	sub := subscribe(t, s, &r)
	if got := sub.Last(); got != before {
		t.Errorf("Last() at first = %d, want %d", got, before)
	}
	r.onSeq = func(seq uint64) {
		if got := sub.Last(); got != seq {
			t.Errorf("Last() while message %d is handed over = %d", seq, got)
		}
	}
	acked := publishFromMany(t, s, 8, 100)
	last := acked[len(acked)-1]
	eventually(t, "the last message is handed over", func() bool { return sub.Last() >= last })
	sub.Close()
	if got := r.seqs(); !slices.Equal(got, acked) {
		t.Errorf("%d messages were handed over, want the %d that were acknowledged, in order", len(got), len(acked))
	}
	publish(t, s, Message{ID: "after", Token: hash(1)})
	if got := len(r.seqs()); got != len(acked) {
		t.Errorf("%d messages were handed over after Close, want none", got-len(acked))
	}
}

// publishFromMany returns the sequences in order.
func publishFromMany(t *testing.T, s *Store, publishers, each int) []uint64 {
	t.Helper()
	var mu sync.Mutex
	var acked []uint64
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				seq, _, err := s.Publish(within(t, patience), Message{ID: fmt.Sprint(p, "/", i), Token: hash(p)})
				if err != nil {
					t.Errorf("Publish: %v", err)
				}
				mu.Lock()
				acked = append(acked, seq)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(acked)
	return acked
}

// The consumer goes again and again, as it does with its server.
func TestP6NothingIsMissedWhenTheConsumerGoes(t *testing.T) {
	s := open(t, Config{})
	var r recorder
	sub := subscribe(t, s, &r)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for info := range s.streams[messageStream].ListConsumers(t.Context()).Info() {
				if err := s.streams[messageStream].DeleteConsumer(t.Context(), info.Name); err != nil {
					t.Errorf("DeleteConsumer: %v", err)
				}
			}
		}
	})
	acked := publishFromMany(t, s, 4, 150)
	close(stop)
	wg.Wait()
	eventually(t, "the last message is handed over", func() bool { return sub.Last() >= acked[len(acked)-1] })
	sub.Close()
	checkGapless(t, "embedded", r.seqs(), acked)
}

func TestP6ASlowHandlerMissesNothing(t *testing.T) {
	s := open(t, Config{})
	var r recorder
	gate := make(chan struct{})
	r.onSeq = func(uint64) { <-gate }
	sub := subscribe(t, s, &r)
	acked := publishFromMany(t, s, 4, feedBatch*6/10) // more than a feed asks for at once, and than it has room for
	close(gate)
	eventually(t, "the last message is handed over", func() bool { return sub.Last() >= acked[len(acked)-1] })
	sub.Close()
	checkGapless(t, "slow", r.seqs(), acked)
}

func TestAFeedEndsWithItsConsumer(t *testing.T) {
	s := open(t, Config{})
	var r recorder
	sub := subscribe(t, s, &r)
	f, err := s.newFeed(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := s.streams[messageStream].DeleteConsumer(t.Context(), f.name); err != nil {
		t.Fatal(err)
	}
	if err := sub.read(f); err == nil {
		t.Error("read of a feed whose consumer is gone = nil, want an error")
	}
}

// As after a cluster has lost its disks.
func TestAStreamThatCountsAnewIsNoticed(t *testing.T) {
	s := open(t, Config{})
	sub := &Subscription{s: s, h: &recorder{}}
	sub.ctx = within(t, 5*time.Second) // which go by, and in which the store has to answer once
	sub.last.Store(publish(t, s, Message{ID: "1", Token: hash(1)}) + 1)
	_, err := sub.reopenOnce()
	want := fmt.Sprintf("has come to %d of %d", sub.Last()-1, sub.Last())
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("reopenOnce after a message that is not there = %v, want %q", err, want)
	}
	sub.ctx = t.Context()
	publish(t, s, Message{ID: "2", Token: hash(1)})
	f, err := sub.reopenOnce()
	if err != nil {
		t.Fatalf("reopenOnce after the last message: %v", err)
	}
	f.close()
}

func TestEvents(t *testing.T) {
	s := open(t, Config{})
	var one, two recorder
	subscribe(t, s, &one)
	subscribe(t, s, &two)
	for _, e := range []Event{
		{Kind: TokenRevoked, Key: hash(1), Node: "n"}, {Kind: SessionRevoked, Key: "*.>"}, {Kind: SessionRenewed, Key: "s"},
		{Kind: UserDisabled, Key: "ann"}, {Kind: RingChanged}, {Kind: Attached, Key: hash(1), Node: "n", Conn: "c"},
	} {
		if err := s.Announce(t.Context(), e); err != nil {
			t.Errorf("Announce(%s): %v", e.Kind, err)
		}
		eventually(t, e.Kind+" reaches every subscription", func() bool { return one.has(e) && two.has(e) })
	}
	if err := s.Announce(t.Context(), Event{Kind: "unknown.>"}); err == nil {
		t.Error("Announce of an unknown kind = nil, want an error")
	}
}

func TestT3AppLast(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	version, every := AppSubjects("mail", "1")[0], AppSubjects("mail", "1")[1]
	for i := range 3 {
		publish(t, s, Message{ID: fmt.Sprint("e", i), App: "mail", Version: EveryVersion})
	}
	publish(t, s, Message{ID: "chat", App: "chat", Version: "1"})
	first, err := s.Backlog(t.Context(), every, 0, 1<<62, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Config{Dir: dir})
	sub := subscribe(t, s, &recorder{})
	if got, want := s.AppLast(every), first[2].Seq; got != want {
		t.Errorf("AppLast of what was stored before = %d, want %d", got, want)
	}
	if got := s.AppLast(version); got != 0 {
		t.Errorf("AppLast of none = %d, want 0", got)
	}
	seq := publish(t, s, Message{ID: "v", App: "mail", Version: "1"})
	eventually(t, "the message is handed over", func() bool { return sub.Last() >= seq })
	if got := s.AppLast(version); got != seq {
		t.Errorf("AppLast of what was handed over = %d, want %d", got, seq)
	}
	if got := s.AppLast(TokenFilter(hash(1))); got != 0 {
		t.Errorf("AppLast of a token's filter = %d, want 0", got)
	}
}

// A message that is not one, as another program might store it, is passed over.
func TestWhatIsNoMessageIsPassedOver(t *testing.T) {
	s := open(t, Config{})
	var r recorder
	sub := subscribe(t, s, &r)
	for _, subject := range []string{"m.t.x.y", "m.t", "m.x", "ev.x.y", "ev.", "w"} {
		if subject == "ev." {
			subject += "z"
		}
		if _, err := s.write(t.Context(), newMsg(subject, []byte("{"))); err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
	}
	bad := newMsg("m.t.!.y", nil)
	bad.Header.Set(metaHeader, `{"id":"1"}`)
	if _, err := s.js.PublishMsg(t.Context(), bad, jetstream.WithRetryAttempts(0)); err != nil {
		t.Fatal(err)
	}
	seq := publish(t, s, Message{ID: "1", Token: hash(1)})
	eventually(t, "the message after them is handed over", func() bool { return sub.Last() >= seq })
	sub.Close()
	if got := r.seqs(); !slices.Equal(got, []uint64{seq}) {
		t.Errorf("handed over = %v, want %d only", got, seq)
	}
}

func TestNothingLeaks(t *testing.T) {
	cycle := func() {
		s, err := Open(t.Context(), Config{Dir: t.TempDir(), Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		subscribe(t, s, &recorder{}).Close()
		subscribe(t, s, &recorder{})
		publish(t, s, Message{ID: "1", Token: hash(1)})
		for range 10 {
			if _, err := s.Backlog(t.Context(), TokenFilter(hash(1)), 0, 1<<62, 1); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.nc.NumSubscriptions(); n > 4 {
			t.Errorf("%d subscriptions are open, want no more than those of one Subscribe and the replies", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cycle() // what is started once for the process
	before := runtime.NumGoroutine()
	for range 5 {
		cycle()
	}
	eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+2 })
}
