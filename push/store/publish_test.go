package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"keyhole/push/wire"
)

func TestP6AnIDIsStoredOnce(t *testing.T) {
	s := open(t, Config{})
	m := Message{ID: "1", Publisher: "web", Token: hash(1), Data: []byte("x"), Topic: "t"}
	first := publish(t, s, m)
	m.Expires = time.Now().Add(time.Hour) // as a publisher that tries again says it
	seq, duplicate, err := s.Publish(t.Context(), m)
	if seq != first || !duplicate || err != nil {
		t.Errorf("Publish again = %d, %t, %v, want %d, true", seq, duplicate, err, first)
	}
	for name, change := range map[string]func(*Message){
		"content":   func(m *Message) { m.Data = []byte("y") },
		"token":     func(m *Message) { m.Token = hash(2) },
		"condition": func(m *Message) { m.Condition = "network=wifi" },
	} {
		other := m
		change(&other)
		_, _, err := s.Publish(t.Context(), other)
		wantError(t, "Publish with another "+name, err, wire.IDConflict)
	}
	m.Publisher = "another"
	if seq, duplicate, err := s.Publish(t.Context(), m); seq == first || duplicate || err != nil {
		t.Errorf("Publish by another publisher = %d, %t, %v, want it stored", seq, duplicate, err)
	}
	s.Delete(first)
	waitGone(t, s, first)
	m.Publisher = "web"
	if seq, duplicate, err := s.Publish(t.Context(), m); seq != first || !duplicate || err != nil {
		t.Errorf("Publish again after it was acknowledged = %d, %t, %v, want %d, true", seq, duplicate, err, first)
	}
}

// What a publisher is told is stored must be: the id of a message that was
// acknowledged a moment ago does not stand for another one, whichever node
// stored it.
func TestP6AnIDOfAnAcknowledgedMessageIsNotAnothers(t *testing.T) {
	s, heard := open(t, Config{}), &recorder{}
	subscribe(t, s, heard)
	own := Message{ID: "1", Publisher: "web", Token: hash(1), Data: []byte("x")}
	own.Seq = publish(t, s, own)
	others := own
	others.ID = "2"
	copied := others
	msg, err := copied.encode(time.Now(), s.cfg.Retention)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := s.write(t.Context(), msg) // as another node does
	if err != nil {
		t.Fatal(err)
	}
	others.Seq = ack.Sequence
	eventually(t, "both are handed over", func() bool { return len(heard.seqs()) == 2 })
	for _, m := range []Message{own, others} {
		s.Delete(m.Seq)
		waitGone(t, s, m.Seq)
		elsewhere, different := m, m
		elsewhere.Token, different.Data = hash(2), []byte("y")
		_, _, err = s.Publish(t.Context(), elsewhere)
		wantError(t, "Publish to another token", err, wire.IDConflict)
		_, _, err = s.Publish(t.Context(), different)
		wantError(t, "Publish of another content", err, wire.IDConflict)
		if seq, duplicate, err := s.Publish(t.Context(), m); seq != m.Seq || !duplicate || err != nil {
			t.Errorf("Publish again = %d, %t, %v, want %d, true", seq, duplicate, err, m.Seq)
		}
	}
}

func waitGone(t testing.TB, s *Store, seq uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("message %d is deleted", seq), func() bool {
		_, err := s.Message(t.Context(), seq)
		return errors.Is(err, ErrNotFound)
	})
}

// Two minutes after its message, JetStream has forgotten an id.
func TestP6AnIDIsKnownWhileItsMessageIsStored(t *testing.T) {
	s := open(t, Config{})
	m := Message{ID: "1", Token: hash(1), Data: []byte("x")}
	forgotten := m
	msg, err := forgotten.encode(time.Now(), s.cfg.Retention)
	if err != nil {
		t.Fatal(err)
	}
	msg.Header.Del(jetstream.MsgIDHeader)
	ack, err := s.write(t.Context(), msg)
	if err != nil {
		t.Fatal(err)
	}
	if seq, duplicate, err := s.Publish(t.Context(), m); seq != ack.Sequence || !duplicate || err != nil {
		t.Errorf("Publish of a stored message = %d, %t, %v, want %d, true", seq, duplicate, err, ack.Sequence)
	}
	m.Data = []byte("y")
	_, _, err = s.Publish(t.Context(), m)
	wantError(t, "Publish of another message with its id", err, wire.IDConflict)
	s.Delete(ack.Sequence)
	waitGone(t, s, ack.Sequence)
	if seq := publish(t, s, m); seq <= ack.Sequence {
		t.Errorf("Publish after it was acknowledged = %d, want it stored", seq)
	}
}

func TestATopicReplacesWhatWasNotDelivered(t *testing.T) {
	s := open(t, Config{})
	first := publish(t, s, Message{ID: "1", Token: hash(1), Topic: "score", Data: []byte("1:0")})
	others := []Message{
		{ID: "2", Token: hash(1), Topic: "weather"},
		{ID: "3", Token: hash(2), Topic: "score"},
		{ID: "4", Token: hash(1)},
	}
	for i, m := range others {
		others[i].Seq = publish(t, s, m)
	}
	last := publish(t, s, Message{ID: "5", Token: hash(1), Topic: "score", Data: []byte("2:0")})
	_, err := s.Message(t.Context(), first)
	wantError(t, "Message of a replaced one", err, ErrNotFound)
	for _, m := range others {
		if _, err := s.Message(t.Context(), m.Seq); err != nil {
			t.Errorf("Message(%q) of another topic or token: %v", m.ID, err)
		}
	}
	found, err := s.Backlog(t.Context(), TokenFilter(hash(1)), 0, last, 10)
	if got, want := fmt.Sprint(seqs(found)), fmt.Sprint([]uint64{others[0].Seq, others[2].Seq, last}); got != want || err != nil {
		t.Errorf("Backlog = %s, %v, want %s", got, err, want)
	}
}

func TestMessagesThatCannotBeStored(t *testing.T) {
	s := open(t, Config{})
	for want, m := range map[string]Message{
		"without an id":   {Token: hash(1)},
		"neither":         {ID: "1"},
		"both":            {ID: "1", Token: hash(1), App: "a", Version: "1"},
		"more than":       {ID: "1", Token: hash(1), Data: make([]byte, maxData+1)},
		"\"1\" goes nei":  {ID: "1", App: "mail"},
		"\"2\" goes nei":  {ID: "2", Version: "1"},
		"\"3\" goes both": {ID: "3", Token: hash(1), Version: "1"},
	} {
		if _, _, err := s.Publish(t.Context(), m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Publish(%q) = %v, want %q", m.ID, err, want)
		}
	}
	publish(t, s, Message{ID: "largest", Token: hash(1), Data: make([]byte, maxData)})
}

func TestBacklogIsLimited(t *testing.T) {
	s := open(t, Config{Backlog: 5})
	var first uint64
	for i := range 5 {
		first = max(first, publish(t, s, Message{ID: fmt.Sprint(i), Token: hash(1)}))
	}
	topic := Message{ID: "topic", Token: hash(1), Topic: "t"}
	for name, m := range map[string]Message{"a sixth message": {ID: "6", Token: hash(1)}, "a new topic": topic} {
		_, _, err := s.Publish(t.Context(), m)
		wantError(t, "Publish of "+name, err, wire.BacklogFull)
	}
	publish(t, s, Message{ID: "6", Token: hash(2)})
	for i := range 20 {
		publish(t, s, Message{ID: fmt.Sprint(i), Publisher: "other", App: "mail", Version: EveryVersion})
	}
	s.Delete(first)
	waitGone(t, s, first)
	publish(t, s, topic)
	_, _, err := s.Publish(t.Context(), Message{ID: "7", Token: hash(1)})
	wantError(t, "Publish when it is full again", err, wire.BacklogFull)
	topic.ID = "topic again"
	publish(t, s, topic) // in the place of the other
}

// What was published and acknowledged before does not count.
func TestBacklogCountsWhatIsStored(t *testing.T) {
	s := open(t, Config{Backlog: 3})
	subscribe(t, s, &recorder{})
	for i := range 30 {
		seq := publish(t, s, Message{ID: fmt.Sprint(i), Token: hash(1)})
		s.Delete(seq)
		waitGone(t, s, seq)
	}
}

func TestBacklogIsLimitedForManyPublishersAtOnce(t *testing.T) {
	const limit, publishers = 20, 16
	s := open(t, Config{Backlog: limit})
	var stored atomic.Int64
	var wg sync.WaitGroup
	for worker := range publishers {
		wg.Go(func() {
			for i := range 10 {
				_, _, err := s.Publish(t.Context(), Message{ID: fmt.Sprint(worker, "/", i), Token: hash(1)})
				if err == nil {
					stored.Add(1)
				} else if !errors.Is(err, wire.BacklogFull) {
					t.Errorf("Publish: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := stored.Load(); n < limit || n > limit+publishers {
		t.Errorf("%d messages were stored, want %d, and no more than one more for each of %d publishers", n, limit, publishers)
	}
}

func TestPublishWithoutRoom(t *testing.T) {
	s := open(t, Config{MinFree: 1 << 60})
	_, _, err := s.Publish(t.Context(), Message{ID: "1", Token: hash(1)})
	wantError(t, "Publish below MinFree", err, wire.DiskFull)
	wantError(t, "Ready below MinFree", s.Ready(t.Context()), wire.DiskFull)
	if err == nil || !strings.Contains(err.Error(), s.cfg.Dir) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("Publish below MinFree = %v, want the folder and the remedy", err)
	}
	if err := s.CreateUser(t.Context(), User{Name: "ann"}); err != nil {
		t.Errorf("CreateUser below MinFree: %v", err)
	}
}

func TestReady(t *testing.T) {
	s := open(t, Config{})
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("Ready = %v, want nil", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, "Ready after Close", s.Ready(t.Context()), wire.StoreUnavailable)
}

func TestNothingWaitsAfterClose(t *testing.T) {
	s := open(t, Config{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for name, call := range map[string]func() error{
		"Publish":   func() error { _, _, err := s.Publish(ctx, Message{ID: "1", Token: hash(1)}); return err },
		"User":      func() error { _, err := s.User(ctx, "ann"); return err },
		"Backlog":   func() error { _, err := s.Backlog(ctx, TokenFilter(hash(1)), 0, 1, 1); return err },
		"Subscribe": func() error { _, err := s.Subscribe(ctx, &recorder{}); return err },
		"Announce":  func() error { return s.Announce(ctx, Event{Kind: Attached}) },
		"TokenOf":   func() error { _, _, err := s.TokenOf(ctx, "a", "b", "c"); return err },
	} {
		wantError(t, name+" after Close", call(), wire.StoreUnavailable)
	}
	s.Delete(1)
	if err := s.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	s := open(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Publish(ctx, Message{ID: "1", Token: hash(1)})
	wantError(t, "Publish with an ended context", err, wire.StoreUnavailable)
	wantError(t, "Publish with an ended context", err, context.Canceled)
}
