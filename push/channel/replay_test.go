package channel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

func TestP6StoredMessagesOfAllFeedsComeInOrder(t *testing.T) {
	bubble(t, Config{Window: 500}, func(t *testing.T, n *node) {
		var want []uint64
		for i := range 200 {
			switch i % 5 {
			case 0, 3:
				want = append(want, n.publish(to("")))
			case 1:
				want = append(want, n.publish(toApp("*", "")))
			case 2:
				want = append(want, n.publish(toApp("2.0", "")))
			case 4:
				n.publish(store.Message{Token: "other"})
				n.publish(toApp("1.0", ""))
				n.publish(store.Message{App: "chat", Version: "*"})
				n.publish(store.Message{App: "chat", Version: "2.0"})
			}
		}
		_, sink := n.listen(t, "c", nil)
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), want...)
		want = append(want, n.publish(to("")))
		synctest.Wait()
		wantSeqs(t, "sent with one more", sink.seqs(), want...)
	})
}

func TestP6MessageAsItIsSent(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		published := time.Now()
		m := store.Message{
			ID: "id", Token: "tok", Data: []byte("data"), ContentType: "text/plain", ContentEncoding: "aes128gcm",
			Topic: "top", Urgency: "high", Publisher: "secret", Published: published, Expires: published.Add(time.Hour),
		}
		n.publish(m)
		n.publish(toApp("*", ""))
		_, sink := n.listen(t, "c", nil)
		synctest.Wait()
		got := *sink.message(0)
		want := wire.Message{
			ID: "id", Seq: 1, To: "token", Time: published.UnixMilli(), Expires: published.UnixMilli() + 3_600_000,
			ContentType: "text/plain", ContentEncoding: "aes128gcm", Topic: "top", Urgency: "high",
		}
		if string(got.Data) != "data" {
			t.Errorf("Data = %q, want data", got.Data)
		}
		if got.Data = nil; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("sent %+v, want %+v", got, want)
		}
		if got := sink.message(1); got.To != "app" || got.Expires != 0 {
			t.Errorf("message to the app sent as %+v, want to app, without expiry", got)
		}
	})
}

// Each message may be published at any moment of a Listen, and reach the
// subscription at any later one.
func TestP6NothingFallsBetweenRegisterReplayAndLive(t *testing.T) {
	moments := []string{"before", "terminal", "announce", "backlog 1", "backlog 2", "backlog 3", "after"}
	for from, published := range moments {
		for _, handed := range moments[from:] {
			t.Run(published+" to "+handed, func(t *testing.T) {
				bubble(t, Config{}, func(t *testing.T, n *node) {
					testInterleaving(t, n, published, handed)
				})
			})
		}
	}
}

func testInterleaving(t *testing.T, n *node, published, handed string) {
	n.publish(to("")) // so that there is something to replay
	n.publish(toApp("2.0", ""))
	n.publish(toApp("*", ""))
	var mu sync.Mutex
	reached := map[string]bool{}
	handing := false
	now := func(moment string) {
		mu.Lock()
		defer mu.Unlock()
		if reached[moment] {
			return
		}
		reached[moment] = true
		if moment == published {
			n.w.publish(to(""))
			n.w.publish(toApp("2.0", ""))
			n.w.publish(toApp("*", ""))
		}
		// A read may come before what Listen still does: whatever is published
		// after the moment of handing over is handed over at once.
		if handing = handing || moment == handed; handing {
			n.hand(100)
		}
	}
	reads := 0
	n.w.hook(func(op string) error {
		if op == "backlog" {
			reads++
			op = fmt.Sprint(op, " ", reads)
		}
		now(op)
		return nil
	})
	now("before")
	_, sink := n.listen(t, "c", nil)
	synctest.Wait()
	now("after")
	synctest.Wait()
	wantSeqs(t, "sent", sink.seqs(), 1, 2, 3, 4, 5, 6)
	if info := n.Channels()[0]; info.Behind {
		t.Error("Behind = true after everything was sent, want false")
	}
}

// The subscription says how far it is before it hands the message over, and
// what AppLast says comes in between.
func TestP6ListenWhileAMessageIsBeingHandedOver(t *testing.T) {
	for _, late := range []bool{false, true} {
		bubble(t, Config{}, func(t *testing.T, n *node) {
			n.publish(toApp("2.0", ""))
			m := toApp("2.0", "")
			m.Seq = n.w.publish(m)
			n.at.Store(m.Seq)
			if !late {
				n.w.sawApp(&m)
			}
			_, sink := n.listen(t, "c", nil)
			synctest.Wait()
			n.w.sawApp(&m)
			n.Message(&m)
			synctest.Wait()
			wantSeqs(t, fmt.Sprintf("sent, AppLast late %v", late), sink.seqs(), 1, 2)
		})
	}
}

func TestP6ListenAsOneWhoHasItAllWhileAMessageIsBeingHandedOver(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		n.publish(toApp("2.0", ""))
		c, _ := n.listen(t, "c1", nil)
		synctest.Wait()
		mustAck(t, c, 1)
		m := toApp("2.0", "")
		m.Seq = n.w.publish(m)
		n.at.Store(m.Seq)
		_, sink := n.listen(t, "c2", nil)
		synctest.Wait()
		n.w.sawApp(&m)
		n.Message(&m)
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), 2)
	})
}

func TestP6RedeliveredMarksWhatMayHaveBeenSent(t *testing.T) {
	m := &counts{}
	bubble(t, Config{Window: 2, Metrics: m}, func(t *testing.T, n *node) {
		marks := func(sink *terminal) (marked []uint64) {
			synctest.Wait()
			for i := range sink.seqs() {
				if m := sink.message(i); m.Redelivered {
					marked = append(marked, m.Seq)
				}
			}
			return marked
		}
		for range 3 {
			n.publish(to(""))
		}
		c, sink := n.listen(t, "c1", nil)
		wantSeqs(t, "marked on the first connection ever", marks(sink))
		c.Close("gone")

		c, sink = n.listen(t, "c2", nil)
		wantSeqs(t, "marked on the second", marks(sink), 1, 2)
		mustAck(t, c, 1, 2)
		wantSeqs(t, "marked, with the third, which had no room before", marks(sink), 1, 2)
		n.flush(t)
		n.publish(to(""))
		synctest.Wait()
		c.Close("gone")
		n.w.hook(func(op string) error {
			if op == "terminal" {
				t.Error("a record that is not written yet was read from the store")
			}
			return nil
		})
		c, sink = n.listen(t, "c3", nil)
		wantSeqs(t, "marked on the third, as 4 was sent too", marks(sink), 3, 4)
		n.w.hook(nil)
		n.flush(t)

		// Another node, while this one still says that the terminal is here.
		b := n.w.node(Config{Node: "b", Metrics: m})
		b.hand(100)
		m.replayed, m.delivered = 0, 0
		c2, sink2 := b.listen(t, "c4", nil)
		wantSeqs(t, "marked on another node", marks(sink2), 3, 4)
		mustAck(t, c2, 3, 4)
		b.publish(to(""))
		wantSeqs(t, "marked with a live one", marks(sink2), 3, 4)
		wantSeqs(t, "sent with a live one", sink2.seqs(), 3, 4, 5)
		if m.replayed != 2 || m.delivered != 1 {
			t.Errorf("replayed %d, delivered %d, want 2 and 1", m.replayed, m.delivered)
		}
		if err := b.Registry.Close(t.Context()); err != nil {
			t.Error(err)
		}
		c.Close("gone")
	})
}

func TestP6RedeliveredAfterTheServerHasDied(t *testing.T) {
	bubble(t, Config{Node: "b"}, func(t *testing.T, b *node) {
		a := b.w.node(Config{Node: "a"})
		_, sink := a.listen(t, "c1", nil)
		a.flush(t)
		seq := a.publish(to(""))
		synctest.Wait()
		wantSeqs(t, "sent by a, which dies now", sink.seqs(), seq)

		b.hand(1)
		_, sink = b.listen(t, "c2", nil)
		live := b.publish(to(""))
		synctest.Wait()
		wantSeqs(t, "sent by b", sink.seqs(), seq, live)
		if !sink.message(0).Redelivered || sink.message(1).Redelivered {
			t.Errorf("marked %v and %v, want the first alone", sink.message(0).Redelivered, sink.message(1).Redelivered)
		}
		if err := a.Registry.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestP6ConnectWhileTheRecordIsBeingWritten(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, _ := n.listen(t, "c1", nil)
		n.publish(toApp("2.0", ""))
		synctest.Wait()
		mustAck(t, c, 1)
		c.Close("gone")
		writing, written := make(chan struct{}), make(chan struct{})
		n.w.hook(func(op string) error {
			switch op {
			case "put":
				close(writing)
				<-written
			case "terminal":
				t.Error("a record that is being written was read from the store")
			}
			return nil
		})
		flushed := make(chan error, 1)
		go func() { flushed <- n.journal.flush(context.Background()) }()
		<-writing
		_, sink := n.listen(t, "c2", nil)
		n.w.hook(nil)
		close(written)
		if err := <-flushed; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		wantSeqs(t, "sent after it was acknowledged", sink.seqs())
	})
}

func TestP6AppLastThatLagsIsNotWaitedFor(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		m := toApp("2.0", "")
		m.Seq = n.w.publish(m)
		n.at.Store(m.Seq)
		n.w.hook(func(op string) error {
			if op == "announce" { // the channel is registered, and behind
				n.Message(&m)
			}
			return nil
		})
		_, sink := n.listen(t, "c", nil)
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), 1)
	})
}

func TestP6WindowIsFilledAndResumedByAcks(t *testing.T) {
	m := &counts{}
	bubble(t, Config{Window: 3, Metrics: m}, func(t *testing.T, n *node) {
		for range 4 {
			n.publish(to(""))
		}
		c, sink := n.listen(t, "c", nil)
		for range 30 {
			n.publish(to(""))
		}
		synctest.Wait()
		wantSeqs(t, "sent without an acknowledgement", sink.seqs(), 1, 2, 3)
		for i := uint64(1); i <= 34; i++ {
			mustAck(t, c, i)
			synctest.Wait()
			if got := len(sink.seqs()); got != min(int(i)+3, 34) {
				t.Fatalf("%d sent after %d acknowledgements, want %d", got, i, min(int(i)+3, 34))
			}
		}
		if got := sink.seqs(); !slices.IsSorted(got) || m.acknowledged != 34 {
			t.Errorf("sent %v, acknowledged %d, want 1 to 34", got, m.acknowledged)
		}
		wantSeqs(t, "stored", n.w.stored())
		if info := n.Channels()[0]; info.Behind || info.InFlight != 0 {
			t.Errorf("at the end: %+v, want up to date with nothing in flight", info)
		}
	})
}

func TestP6AckOfWhatWasNotSentChangesNothing(t *testing.T) {
	m := &counts{}
	bubble(t, Config{Window: 2, Metrics: m}, func(t *testing.T, n *node) {
		for range 3 {
			n.publish(to(""))
		}
		n.publish(store.Message{Token: "other"})
		c, sink := n.listen(t, "c", nil)
		synctest.Wait()
		for _, seqs := range [][]uint64{{3}, {4}, {0}, {99}, {1, 3}, {1, 2, 1 << 63}} {
			wantCode(t, fmt.Sprintf("Ack(%v)", seqs), c.Ack(seqs), wire.AckUnknown)
		}
		synctest.Wait()
		wantSeqs(t, "stored", n.w.stored(), 1, 2, 3, 4)
		wantSeqs(t, "sent", sink.seqs(), 1, 2)
		if m.acknowledged != 0 {
			t.Errorf("%d acknowledged, want 0", m.acknowledged)
		}
		// Twice in one frame, twice in two, and none at all.
		mustAck(t, c, 1, 1)
		mustAck(t, c, 1)
		mustAck(t, c)
		if m.acknowledged != 1 {
			t.Errorf("%d acknowledged, want 1", m.acknowledged)
		}
		wantSeqs(t, "stored", n.w.stored(), 2, 3, 4)
	})
}

// The store deletes in the background: what it still has is not sent again.
func TestP6AcknowledgedAndNotYetDeleted(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		n.w.fail("delete")
		c, _ := n.listen(t, "c1", nil)
		n.publish(to(""))
		n.publish(to(""))
		synctest.Wait()
		mustAck(t, c, 1)
		c.Close("gone")
		c, sink := n.listen(t, "c2", nil)
		synctest.Wait()
		wantSeqs(t, "sent after 1 was acknowledged", sink.seqs(), 2)
		mustAck(t, c, 1) // once more, as its client cannot know
	})
}

func TestAckOfLongAgoIsUnknown(t *testing.T) {
	bubble(t, Config{Window: 4}, func(t *testing.T, n *node) {
		c, _ := n.listen(t, "c", nil)
		for i := range uint64(10) {
			n.publish(to(""))
			synctest.Wait()
			mustAck(t, c, i+1)
		}
		mustAck(t, c, 7, 8, 9, 10)
		wantCode(t, "Ack of the fifth from the end", c.Ack([]uint64{6}), wire.AckUnknown)
		if len(c.recent) != 4 {
			t.Errorf("%d acknowledgements remembered, want 4", len(c.recent))
		}
	})
}

func TestP6ExpiredIsPassedOver(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		short := to("")
		short.Expires = time.Now().Add(time.Second)
		n.publish(short)
		n.publish(to(""))
		time.Sleep(time.Second)
		_, sink := n.listen(t, "c", nil)
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), 2)
	})
}

func TestP6StoreThatFailsIsAskedAgain(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		n.publish(to(""))
		n.publish(toApp("2.0", ""))
		asked := 0
		n.w.hook(func(op string) error {
			if op != "backlog" {
				return nil
			}
			if asked++; asked < 20 {
				return errors.New("no leader")
			}
			return nil
		})
		start := time.Now()
		_, sink := n.listen(t, "c", nil)
		n.publish(to(""))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), 1, 2, 3)
		if d := time.Since(start); asked > 30 || d > 6*time.Minute {
			t.Errorf("asked %d times in %v, want about 20", asked, d)
		}
	})
}

func TestP6CloseDuringReplay(t *testing.T) {
	for _, op := range []string{"terminal", "announce", "backlog"} {
		t.Run(op, func(t *testing.T) {
			var log strings.Builder
			c := Config{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))}
			bubble(t, c, func(t *testing.T, n *node) {
				n.publish(to(""))
				reading, read := make(chan struct{}), make(chan struct{})
				var once atomic.Bool
				n.w.hook(func(o string) error {
					if o == op && once.CompareAndSwap(false, true) {
						close(reading)
						<-read
					}
					return nil
				})
				sink := newTerminal()
				c, err := n.Register(t.Context(), phone("c"), sink)
				if err != nil {
					t.Fatal(err)
				}
				listened := make(chan error, 1)
				go func() { listened <- c.Listen(context.WithoutCancel(t.Context()), "tok", nil) }()
				<-reading
				c.Close("gone")
				close(read)
				<-listened
				synctest.Wait()
				if n.Len() != 0 || len(n.groups) != 0 || len(n.tokens) != 0 || len(n.users) != 0 {
					t.Errorf("left in the registry: %d groups, %d tokens, %d users, want none",
						len(n.groups), len(n.tokens), len(n.users))
				}
				// The next connection finds all of it.
				_, sink = n.listen(t, "c2", nil)
				synctest.Wait()
				wantSeqs(t, "sent on the next connection", sink.seqs(), 1)
			})
			if log.Len() != 0 {
				t.Errorf("logged %q, want nothing: a terminal that goes is no trouble", log.String())
			}
		})
	}
}

func TestCloseWhileTheStoreIsAway(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		n.publish(to(""))
		n.w.fail("backlog")
		c, _ := n.listen(t, "c", nil)
		time.Sleep(time.Minute)
		closed := time.Now()
		c.Close("gone")
		n.tasks.Wait()
		if d := time.Since(closed); d != 0 {
			t.Errorf("the channel went on for %v after Close, want 0", d)
		}
	})
}

func TestSendThatFailsEndsTheChannel(t *testing.T) {
	for _, c := range []struct {
		err  error
		want wire.Code
	}{
		{fmt.Errorf("%w: 10 seconds", wire.SlowTerminal), wire.SlowTerminal},
		{errors.New("connection reset by peer"), ""},
	} {
		bubble(t, Config{}, func(t *testing.T, n *node) {
			_, sink := n.listen(t, "c", nil)
			sink.before = func(*wire.Message) error { return c.err }
			n.publish(to(""))
			n.publish(to(""))
			synctest.Wait()
			if got := sink.codes(); !slices.Equal(got, []wire.Code{c.want}) || n.Len() != 0 {
				t.Errorf("after %v: closed with %q, %d left, want %q and none", c.err, got, n.Len(), c.want)
			}
			_, sink = n.listen(t, "c2", nil)
			synctest.Wait()
			wantSeqs(t, "sent on the next connection", sink.seqs(), 1, 2)
			if !sink.message(0).Redelivered || sink.message(1).Redelivered {
				t.Error("want the first marked, as it may have arrived, and the second not")
			}
		})
	}
}

func TestSlowSinkStopsNobodyElse(t *testing.T) {
	bubble(t, Config{Window: 100}, func(t *testing.T, n *node) {
		_, slow := n.listen(t, "slow", nil)
		release := make(chan struct{})
		slow.before = func(*wire.Message) error { <-release; return nil }
		other := phone("fast")
		other.Device = "tablet"
		_, fast := n.listenAs(t, other, "tok2", nil)
		start := time.Now()
		for range 50 {
			n.publish(toApp("*", "")) // the handler returns, or the bubble is stuck
		}
		synctest.Wait()
		if got := len(fast.seqs()); got != 50 || !time.Now().Equal(start) {
			t.Errorf("%d sent to the other terminal in %v, want 50 at once", got, time.Since(start))
		}
		for _, i := range n.Channels() {
			if i.Conn == "slow" && (!i.Behind || i.InFlight != 1) {
				t.Errorf("the slow channel = %+v, want behind, with one in flight", i)
			}
		}
		close(release)
		synctest.Wait()
		wantSeqs(t, "sent to the slow terminal", slow.seqs(), fast.seqs()...)
	})
}

func TestQueueOfASlowSinkIsBounded(t *testing.T) {
	bubble(t, Config{Window: 1000}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", nil)
		synctest.Wait()
		release := make(chan struct{})
		sink.before = func(*wire.Message) error { <-release; return nil }
		most := 0
		for range 10 * queueMax {
			n.publish(to(""))
			synctest.Wait()
			most = max(most, len(c.queue))
		}
		if most != queueMax {
			t.Errorf("up to %d messages in memory, want %d", most, queueMax)
		}
		close(release)
		synctest.Wait()
		if got := sink.seqs(); len(got) != 10*queueMax || !slices.IsSorted(got) {
			t.Errorf("sent %v, want 1 to %d", got, 10*queueMax)
		}
	})
}

func TestDeliveredMeasuresFromPublication(t *testing.T) {
	m := &counts{}
	bubble(t, Config{Metrics: m}, func(t *testing.T, n *node) {
		n.listen(t, "c", nil)
		seq := n.w.publish(to(""))
		time.Sleep(30 * time.Millisecond)
		n.hand(1)
		synctest.Wait()
		if m.delivered != 1 || m.latency != 30*time.Millisecond {
			t.Errorf("message %d: delivered %d after %v, want 1 after 30ms", seq, m.delivered, m.latency)
		}
	})
}
