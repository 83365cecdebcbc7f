package channel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// A server is a registry on a real store, as the one of a push server.
type server struct {
	*Registry
	s *store.Store
}

func openStore(tb testing.TB) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), store.Config{Dir: tb.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatalf("Open: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close of the store: %v", err)
		}
	})
	return s
}

func serve(tb testing.TB, s *store.Store, c Config) *server {
	tb.Helper()
	c.Store = s
	r := New(c)
	sub, err := s.Subscribe(tb.Context(), r)
	if err != nil {
		tb.Fatalf("Subscribe: %v", err)
	}
	r.Follow(sub)
	tb.Cleanup(func() {
		sub.Close()
		if err := r.Close(context.WithoutCancel(tb.Context())); err != nil {
			tb.Errorf("Close of the registry: %v", err)
		}
	})
	return &server{r, s}
}

func (s *server) publish(tb testing.TB, m store.Message) uint64 {
	tb.Helper()
	seq, _, err := s.s.Publish(tb.Context(), m)
	if err != nil {
		tb.Errorf("Publish: %v", err)
	}
	return seq
}

// listen connects the terminal of phone; its token is that of "tok".
func (s *server) listen(tb testing.TB, conn string, state map[string]string) (*Channel, *terminal) {
	tb.Helper()
	sink := newTerminal()
	c, err := s.Register(tb.Context(), phone(conn), sink)
	if err == nil {
		err = c.Listen(tb.Context(), hashed, state)
	}
	if err != nil {
		tb.Fatalf("connect %s: %v", conn, err)
	}
	return c, sink
}

var hashed = store.TokenHash("tok")

// gets waits until t was sent exactly these.
func (t *terminal) gets(tb testing.TB, want ...uint64) {
	tb.Helper()
	t.until(tb, fmt.Sprint("delivery of ", want), func() bool { return len(t.seqs()) >= len(want) })
	wantSeqs(tb, "sent", t.seqs(), want...)
}

func TestP6AwayAndBackOnARealStore(t *testing.T) {
	s := serve(t, openStore(t), Config{Window: 3})
	id := 0
	publish := func(m store.Message) uint64 {
		id++
		m.ID = fmt.Sprint(id)
		return s.publish(t, m)
	}
	own, all := store.Message{Token: hashed}, toApp("*", "")
	a, b := publish(own), publish(all)
	c, sink := s.listen(t, "c1", cellular)
	held := publish(store.Message{Token: hashed, Condition: "network=wifi"})
	d := publish(toApp("2.0", ""))
	sink.gets(t, a, b, d)
	publish(toApp("1.0", ""))
	publish(store.Message{Token: store.TokenHash("other")})
	mustAck(t, c, a, b)
	mustSet(t, c, wifi)
	sink.gets(t, a, b, d, held)
	c.Close("gone")

	e := publish(own)
	c, sink = s.listen(t, "c2", wifi)
	sink.gets(t, held, d, e)
	for i, want := range []bool{true, true, false} {
		if m := sink.message(i); m.Redelivered != want {
			t.Errorf("Redelivered of %d = %v, want %v", m.Seq, m.Redelivered, want)
		}
	}
	mustAck(t, c, held, d, e)
	c.Close("gone")
	if err := s.journal.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.deleted(t, a, held, e)

	// The record is read from the store, by another server.
	s = serve(t, s.s, Config{})
	_, sink = s.listen(t, "c3", wifi)
	f := publish(all)
	sink.gets(t, f)
}

// deleted waits until the store has deleted what was acknowledged.
func (s *server) deleted(t *testing.T, seqs ...uint64) {
	t.Helper()
	for _, seq := range seqs {
		for {
			_, err := s.s.Message(t.Context(), seq)
			if errors.Is(err, store.ErrNotFound) {
				break
			}
			if err != nil {
				t.Fatalf("Message(%d): %v", seq, err)
			}
			runtime.Gosched()
		}
	}
}

func TestP6TopicIsSentOnceWhileTheTerminalIsAway(t *testing.T) {
	s := serve(t, openStore(t), Config{})
	s.publish(t, store.Message{ID: "1", Token: hashed, Topic: "score"})
	last := s.publish(t, store.Message{ID: "2", Token: hashed, Topic: "score"})
	_, sink := s.listen(t, "c1", nil)
	sink.gets(t, last)
}

func TestServersOfOneStore(t *testing.T) {
	st := openStore(t)
	a, b := serve(t, st, Config{Node: "a"}), serve(t, st, Config{Node: "b"})
	_, old := a.listen(t, "c1", nil)
	seq := b.publish(t, store.Message{ID: "1", Token: hashed})
	old.gets(t, seq)
	c, sink := b.listen(t, "c2", nil)
	old.until(t, "close of the older", func() bool { return slices.Equal(old.codes(), []wire.Code{wire.Replaced}) })
	sink.gets(t, seq)
	mustAck(t, c, seq)
	if got := sink.codes(); len(got) != 0 {
		t.Errorf("the newer was closed with %v, want not", got)
	}
}

func TestRevokedTokenOnARealStore(t *testing.T) {
	s := serve(t, openStore(t), Config{})
	_, token, err := s.s.TokenOf(t.Context(), "ann", "phone", "mail")
	if err != nil {
		t.Fatal(err)
	}
	sink := newTerminal()
	c, err := s.Register(t.Context(), phone("c"), sink)
	if err == nil {
		err = c.Listen(t.Context(), token.Hash, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.s.RevokeToken(t.Context(), token.Hash); err != nil {
		t.Fatal(err)
	}
	sink.until(t, "close", func() bool { return slices.Equal(sink.codes(), []wire.Code{wire.TokenRevoked}) })
}

// TestP6StormOnARealStore has terminals lose their connection all the time
// while messages are published, and none may be missing in the end.
func TestP6StormOnARealStore(t *testing.T) {
	const phones, messages = 12, 40
	s := serve(t, openStore(t), Config{Window: 4})
	var actors sync.WaitGroup
	actors.Go(func() {
		for i := range messages {
			for p := range phones {
				s.publish(t, store.Message{ID: fmt.Sprint(i, p), Token: store.TokenHash(fmt.Sprint(p))})
			}
			s.publish(t, store.Message{ID: fmt.Sprint(i), App: "mail", Version: "2.0"})
		}
	})
	for p := range phones {
		actors.Go(func() { s.storm(t, p, 2*messages) })
	}
	actors.Wait()
}

// storm connects one terminal again and again until it has so many messages.
func (s *server) storm(t *testing.T, p, want int) {
	have := map[string]bool{}
	for n := 1; len(have) < want; n++ {
		sink := newTerminal()
		a := phone(fmt.Sprint(p, ":", n))
		a.Device = fmt.Sprint(p)
		c, err := s.Register(t.Context(), a, sink)
		if err == nil {
			err = c.Listen(t.Context(), store.TokenHash(fmt.Sprint(p)), nil)
		}
		if err != nil {
			t.Errorf("connect %s: %v", a.Conn, err)
			return
		}
		// Some connections end before anything has come, and each but the last
		// with something that is not acknowledged.
		for i := 0; i < n%7 && len(have) < want; i++ {
			sink.until(t, "message", func() bool { return len(sink.seqs()) > i })
			m := sink.message(i)
			if last := i == n%7-1; last && len(have) < want-1 {
				break
			}
			mustAck(t, c, m.Seq)
			have[m.ID] = true
		}
		c.Close("gone")
	}
}

// BenchmarkReturn is what a terminal costs that comes back to a real store and
// finds so many messages.
func BenchmarkReturn(b *testing.B) {
	for _, n := range []int{0, 1, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := serve(b, openStore(b), Config{})
			for i := range n {
				s.publish(b, store.Message{ID: fmt.Sprint(i), Token: hashed})
			}
			for b.Loop() {
				c, sink := s.listen(b, "c", nil)
				sink.until(b, "messages", func() bool { return len(sink.seqs()) == n })
				settled(b, s.Registry)
				c.Close("gone")
			}
		})
	}
}

// BenchmarkDelivery is publish to send, one at a time, on a real store.
func BenchmarkDelivery(b *testing.B) {
	s := serve(b, openStore(b), Config{})
	c, sink := s.listen(b, "c", nil)
	settled(b, s.Registry)
	for n := 0; b.Loop(); n++ {
		seq := s.publish(b, store.Message{ID: fmt.Sprint(n), Token: hashed})
		sink.until(b, "message", func() bool { return sink.has(seq) })
		mustAck(b, c, seq)
	}
}
