package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestP6ABacklogIsReadInOrder(t *testing.T) {
	s := open(t, Config{})
	const tokens = 3
	want := make([][]uint64, tokens)
	for i := range 120 {
		token := rand.IntN(tokens)
		want[token] = append(want[token], publish(t, s, Message{ID: fmt.Sprint(i), Token: hash(token), Data: []byte{byte(i)}}))
	}
	for token, all := range want {
		filter := TokenFilter(hash(token))
		first, last := all[0], all[len(all)-1]
		for _, c := range []struct {
			after, upTo uint64
			max         int
		}{
			{0, last, 1000}, {0, 1 << 62, 1000}, {0, last, 7}, {0, last, 1}, {0, last, 0}, {0, last, -1},
			{first, last, 1000}, {first - 1, first, 1000}, {0, first, 1000}, {0, first - 1, 1000}, {last, last, 1000}, {last, last + 9, 1000},
			{last, first, 1000}, {all[9], all[19], 1000}, {all[9], all[19], 10}, {all[9], all[19], 9}, {1 << 62, 1<<62 + 1, 5},
		} {
			var expect []uint64
			for _, seq := range all {
				if seq > c.after && seq <= c.upTo && len(expect) < c.max {
					expect = append(expect, seq)
				}
			}
			found, err := s.Backlog(t.Context(), filter, c.after, c.upTo, c.max)
			if err != nil || !slices.Equal(seqs(found), expect) {
				t.Errorf("Backlog(after %d, up to %d, max %d) = %v, %v, want %v", c.after, c.upTo, c.max, seqs(found), err, expect)
			}
			for _, m := range found {
				if m.Token != hash(token) {
					t.Errorf("Backlog of token %d has a message of token hash %s", token, m.Token)
				}
			}
		}
	}
}

// A server looks for the messages of 1,024 subjects at once, and for no more.
func TestT3ABacklogOfAnyLength(t *testing.T) {
	s := open(t, Config{Backlog: 5000})
	all, version := AppSubjects("mail", "1")[1], AppSubjects("mail", "1")[0]
	want := map[string][]uint64{}
	fillAsync(t, s, 1500, func(i int) Message {
		return Message{ID: fmt.Sprint(i), App: "mail", Version: []string{"1", EveryVersion}[min(i%10, 1)]}
	}, func(m Message, seq uint64) { want[m.target()] = append(want[m.target()], seq) })
	for _, filter := range []string{all, version} {
		expect := want[filter]
		for _, page := range []int{200, 1024, 5000} {
			var got []uint64
			for after := uint64(0); ; {
				found, err := s.Backlog(within(t, patience), filter, after, 1<<62, page)
				if err != nil {
					t.Fatalf("Backlog: %v", err)
				}
				if len(found) == 0 {
					break
				}
				got = append(got, seqs(found)...)
				after = got[len(got)-1]
			}
			if !slices.Equal(got, expect) {
				t.Errorf("Backlog in pages of %d has %d messages, want %d in order", page, len(got), len(expect))
			}
		}
	}
}

// fillAsync stores n messages without waiting for each.
func fillAsync(t testing.TB, s *Store, n int, make func(int) Message, stored func(Message, uint64)) {
	t.Helper()
	type pending struct {
		m   Message
		ack jetstream.PubAckFuture
	}
	var waiting []pending
	collect := func() {
		for _, p := range waiting {
			select {
			case ack := <-p.ack.Ok():
				stored(p.m, ack.Sequence)
			case err := <-p.ack.Err():
				t.Fatalf("publish: %v", err)
			}
		}
		waiting = waiting[:0]
	}
	for i := range n {
		m := make(i)
		msg, err := m.encode(s.cfg.Now(), s.cfg.Retention)
		if err != nil {
			t.Fatal(err)
		}
		ack, err := s.js.PublishMsgAsync(msg)
		if err != nil {
			t.Fatal(err)
		}
		if waiting = append(waiting, pending{m, ack}); len(waiting) == 1000 {
			collect()
		}
	}
	collect()
}

func TestT3OneCopyServesAnApp(t *testing.T) {
	s := open(t, Config{})
	before, _, err := s.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	one := publish(t, s, Message{ID: "1", App: "mail", Version: "2.1"})
	every := publish(t, s, Message{ID: "2", App: "mail", Version: EveryVersion})
	publish(t, s, Message{ID: "3", App: "chat", Version: EveryVersion})
	for version, want := range map[string][][]uint64{"2.1": {{one}, {every}}, "2.2": {{}, {every}}, "": {{}, {every}}} {
		for i, filter := range AppSubjects("mail", version) {
			for range 3 { // as many terminals
				found, err := s.Backlog(t.Context(), filter, 0, 1<<62, 10)
				if err != nil || !slices.Equal(seqs(found), want[i]) {
					t.Errorf("Backlog of version %q, filter %d = %v, %v, want %v", version, i, seqs(found), err, want[i])
				}
			}
		}
	}
	if after, _, err := s.Size(t.Context()); err != nil || after != before+3 {
		t.Errorf("Size() = %d, %v after three messages, want %d", after, err, before+3)
	}
}

func TestT2AMessageIsFoundUnderItsTokenOnly(t *testing.T) {
	s := open(t, Config{})
	_, ann := tokenOf(t, s, "ann", "phone", "mail")
	_, bob := tokenOf(t, s, "bob", "phone", "mail") // after an account switch
	_, chat := tokenOf(t, s, "ann", "phone", "chat")
	seq := publish(t, s, Message{ID: "1", Token: ann.Hash})
	for name, c := range map[string]struct {
		Token
		want []uint64
	}{"its own": {ann, []uint64{seq}}, "another account's": {bob, nil}, "another app's": {chat, nil}} {
		found, err := s.Backlog(t.Context(), TokenFilter(c.Hash), 0, 1<<62, 10)
		if err != nil || !slices.Equal(seqs(found), c.want) {
			t.Errorf("Backlog of %s token = %v, %v, want %v", name, seqs(found), err, c.want)
		}
	}
}

func TestMessagesExpire(t *testing.T) {
	s := open(t, Config{})
	soon := publish(t, s, Message{ID: "1", Token: hash(1), Expires: time.Now().Add(100 * time.Millisecond)})
	late := publish(t, s, Message{ID: "2", Token: hash(1)})
	waitGone(t, s, soon)
	if _, err := s.Message(t.Context(), late); err != nil {
		t.Errorf("Message that has not expired: %v", err)
	}
}

func TestDelete(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	var all []uint64
	for i := range 200 {
		all = append(all, publish(t, s, Message{ID: fmt.Sprint(i), Token: hash(1)}))
	}
	kept := all[150]
	s.Delete(append(slices.DeleteFunc(slices.Clone(all), func(seq uint64) bool { return seq == kept }), 1<<40, 0)...)
	s.Delete(all[0]) // again
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := open(t, Config{Dir: dir}).Backlog(t.Context(), TokenFilter(hash(1)), 0, 1<<62, 1000)
	if err != nil || !slices.Equal(seqs(found), []uint64{kept}) {
		t.Errorf("Backlog after Delete and Close = %v, %v, want %v", seqs(found), err, []uint64{kept})
	}
}
