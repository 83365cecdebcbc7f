package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keyhole/push/wire"
)

// traffic publishes through some stores until it is stopped.
type traffic struct {
	mu    sync.Mutex
	acked []uint64
	count atomic.Int64
	stop  context.CancelFunc
	done  sync.WaitGroup
}

func publishThrough(t *testing.T, stores ...*Store) *traffic {
	tr := &traffic{}
	ctx, stop := context.WithCancel(context.Background())
	tr.stop = stop
	t.Cleanup(func() { tr.end() }) // of a test that failed meanwhile
	for n, s := range stores {
		for worker := range 3 {
			tr.done.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					id := fmt.Sprintf("%d/%d/%d", n, worker, i)
					seq, _, err := s.Publish(within(t, patience), Message{ID: id, Token: hash(i % 50), Topic: id, Data: []byte(id)})
					if err != nil {
						t.Errorf("Publish(%q): %v", id, err)
						return
					}
					tr.mu.Lock()
					tr.acked = append(tr.acked, seq)
					tr.mu.Unlock()
					tr.count.Add(1)
				}
			})
		}
	}
	return tr
}

// more waits until as many publishes again were acknowledged.
func (tr *traffic) more(t *testing.T, n int64) {
	t.Helper()
	goal := tr.count.Load() + n
	eventually(t, "publishes are acknowledged again", func() bool { return tr.count.Load() >= goal })
}

func (tr *traffic) last() uint64 {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Max(tr.acked)
}

func (tr *traffic) end() []uint64 {
	tr.stop()
	tr.done.Wait()
	slices.Sort(tr.acked)
	return tr.acked
}

func TestP6NothingIsLostWhenAServerOfTheClusterIsKilled(t *testing.T) {
	c := startCluster(t)
	a, b := c.open(t), c.open(t)
	var ra, rb recorder
	subA, subB := subscribe(t, a, &ra), subscribe(t, b, &rb)
	start := subA.Last()
	tr := publishThrough(t, a, b)
	tr.more(t, 20)
	victims := []struct {
		role string
		name func() string
	}{
		{"stream's leader", func() string { return c.settled(a).Leader }},
		{"consumer's server", func() string { return c.consumerServer(a) }},
		{"server that a node is connected to", func() string { return c.nodeServer(b) }},
	}
	soak := soakTime(t)
	end := time.Now().Add(soak)
	for n := 0; n == 0 || soak > 0 && (n < len(victims) || time.Now().Before(end)); n++ {
		victim := victims[n%len(victims)]
		c.settled(a)
		i := c.index(victim.name())
		began := time.Now()
		c.kill(i)
		acked := tr.last()
		if got, err := b.Last(within(t, patience)); err != nil || got < acked {
			t.Errorf("%s killed: Last = %d, %v, want %d or more, which was acknowledged", victim.role, got, err, acked)
		}
		tr.more(t, 20)
		published := time.Since(began)
		goal := tr.last()
		eventually(t, "both nodes are handed messages again", func() bool { return min(subA.Last(), subB.Last()) >= goal })
		t.Logf("%s killed: acknowledged again after %s, handed over after %s", victim.role,
			published.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		c.start(i)
		tr.more(t, 20)
	}
	acked := tr.end()
	last := acked[len(acked)-1]
	for name, r := range map[string]struct {
		*recorder
		*Subscription
	}{"a": {&ra, subA}, "b": {&rb, subB}} {
		eventually(t, "node "+name+" was handed the last message", func() bool { return r.Last() >= last })
		checkGapless(t, name, r.seqs(), acked)
	}
	if start >= acked[0] {
		t.Errorf("Last() at first = %d, want less than %d", start, acked[0])
	}
	checkBacklogs(t, b, acked)
}

// checkGapless checks that all acknowledged messages were handed over, in
// order and once.
func checkGapless(t *testing.T, node string, got, acked []uint64) {
	t.Helper()
	if !slices.IsSorted(got) {
		t.Errorf("node %s: sequences are not in order", node)
	}
	if len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("node %s: a message was handed over twice", node)
	}
	for _, seq := range acked {
		if _, ok := slices.BinarySearch(got, seq); !ok {
			t.Errorf("node %s: message %d was acknowledged and not handed over", node, seq)
		}
	}
}

// checkBacklogs checks that every acknowledged message is stored.
func checkBacklogs(t *testing.T, s *Store, acked []uint64) {
	t.Helper()
	var stored []uint64
	for token := range 50 {
		found, err := s.Backlog(within(t, patience), TokenFilter(hash(token)), 0, acked[len(acked)-1], 1<<20)
		if err != nil {
			t.Fatalf("Backlog: %v", err)
		}
		stored = append(stored, seqs(found)...)
	}
	slices.Sort(stored)
	for _, seq := range acked {
		if _, ok := slices.BinarySearch(stored, seq); !ok {
			t.Errorf("message %d was acknowledged and is not stored", seq)
		}
	}
}

func TestP6ABacklogIsReadFromAServerThatHasAllOfIt(t *testing.T) {
	c := startCluster(t)
	a, b := c.open(t), c.open(t)
	last := publish(t, a, Message{ID: "first", Token: hash(1)})
	filter := TokenFilter(hash(1))

	_, err := b.Backlog(within(t, 500*time.Millisecond), filter, 0, last+100, 10)
	wantError(t, "Backlog up to what no server has", err, wire.StoreUnavailable)

	type answer struct {
		found []Message
		err   error
	}
	answers := make(chan answer)
	ctx := within(t, patience)
	go func() {
		found, err := b.Backlog(ctx, filter, 0, last+1, 10)
		answers <- answer{found, err}
	}()
	next := publish(t, a, Message{ID: "second", Token: hash(1)})
	if got := <-answers; got.err != nil || !slices.Equal(seqs(got.found), []uint64{last, next}) {
		t.Errorf("Backlog up to the next message = %v, %v, want %d and %d", seqs(got.found), got.err, last, next)
	}

	if err := a.eraseAll(ctx, messageStream, markSubject); err != nil {
		t.Fatal(err)
	}
	if found, err := b.Backlog(ctx, TokenFilter(hash(2)), 0, next, 10); err != nil || len(found) != 0 {
		t.Errorf("Backlog of nothing, without the mark = %v, %v, want nothing", found, err)
	}
	if _, err := a.stored(ctx, messageStream, getRequest{Last: markSubject}); err != nil {
		t.Errorf("the mark was not written again: %v", err)
	}
	for i := range 50 {
		m := Message{ID: fmt.Sprint("message ", i), Token: hash(3)}
		m.Seq = publish(t, a, m)
		if got, err := b.Last(ctx); err != nil || got < m.Seq {
			t.Fatalf("Last at another node = %d, %v after message %d was stored", got, err, m.Seq)
		}
		found, err := b.Backlog(ctx, TokenFilter(hash(3)), m.Seq-1, m.Seq, 10)
		if err != nil || !slices.Equal(seqs(found), []uint64{m.Seq}) {
			t.Fatalf("Backlog of message %d = %v, %v", m.Seq, seqs(found), err)
		}
		if got, err := b.Message(ctx, m.Seq); err != nil || got.ID != m.ID || got.Token != m.Token {
			t.Fatalf("Message(%d) = %+v, %v, want %+v", m.Seq, got, err, m)
		}
	}
}

func TestT1OneTokenOnEveryNode(t *testing.T) {
	c := startCluster(t)
	a, b := c.open(t), c.open(t)
	for i := range 30 {
		device := fmt.Sprint("phone ", i)
		texts := make(chan string, 2)
		for _, s := range []*Store{a, b} {
			go func() {
				text, _, err := s.TokenOf(within(t, patience), "ann", device, "mail")
				if err != nil {
					t.Errorf("TokenOf: %v", err)
				}
				texts <- text
			}()
		}
		if one, two := <-texts, <-texts; one != two {
			t.Fatalf("TokenOf at two nodes = %q and %q, want one token", one, two)
		}
		n, err := a.CreateSession(within(t, patience), Session{ID: device, User: "ann", Expires: time.Now().Add(time.Hour).UnixMilli()})
		if err != nil {
			t.Fatalf("CreateSession: %v", err)
		}
		if got, err := b.Session(within(t, patience), device); err != nil || got != n {
			t.Fatalf("Session at another node = %+v, %v, want %+v", got, err, n)
		}
		checkOneUpdateWins(t, n, a, b)
	}
}

// checkOneUpdateWins makes the same update at two nodes at once.
func checkOneUpdateWins(t *testing.T, n Session, stores ...*Store) {
	t.Helper()
	n.Epoch++
	errs := make(chan error, len(stores))
	for _, s := range stores {
		go func() {
			_, err := s.UpdateSession(within(t, patience), n)
			errs <- err
		}()
	}
	won := 0
	for range stores {
		if err := <-errs; err == nil {
			won++
		} else if !errors.Is(err, ErrConflict) {
			t.Errorf("UpdateSession: %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d updates of one revision were made, want 1", won, len(stores))
	}
}

func TestReadyNeedsAQuorum(t *testing.T) {
	c := startCluster(t)
	s := c.open(t)
	if err := s.Ready(within(t, patience)); err != nil {
		t.Errorf("Ready = %v, want nil", err)
	}
	c.kill(0)
	c.kill(1)
	wantError(t, "Ready with one server of three", s.Ready(within(t, 3*time.Second)), wire.StoreUnavailable)
	_, _, err := s.Publish(within(t, 3*time.Second), Message{ID: "1", Token: hash(1)})
	wantError(t, "Publish with one server of three", err, wire.StoreUnavailable)
	c.start(0)
	eventually(t, "ready with two servers of three", func() bool { return s.Ready(within(t, 5*time.Second)) == nil })
	publish(t, s, Message{ID: "1", Token: hash(1)})
}

func TestAServerWithoutStorage(t *testing.T) {
	s := startServers(t, natsConfig{Name: "alone", Dir: t.TempDir(), Port: freePorts(t, 1)[0], MaxStore: 2 << 20}).open(t)
	for i := range 2000 {
		_, _, err := s.Publish(within(t, patience), Message{ID: fmt.Sprint(i), Token: hash(1), Data: make([]byte, 4000)})
		if err == nil {
			continue
		}
		if !errors.Is(err, wire.DiskFull) || !strings.Contains(err.Error(), s.cfg.URL) {
			t.Errorf("Publish without storage = %v, want %s and the URL", err, wire.DiskFull)
		}
		return
	}
	t.Error("8 MB were stored in 2 MiB")
}
