package channel

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var (
	wifi     = map[string]string{"network": "wifi"}
	cellular = map[string]string{"network": "cellular"}
)

func TestP5HeldUntilAStateReportAndThenInOrder(t *testing.T) {
	m := &counts{}
	bubble(t, Config{Metrics: m}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", cellular)
		n.publish(to("network=wifi"))
		free := n.publish(to(""))
		n.publish(to("network=wifi, battery>=50"))
		n.publish(toApp("*", "network=wifi"))
		synctest.Wait()
		wantSeqs(t, "sent on cellular", sink.seqs(), free)
		if info := n.Channels()[0]; info.Held != 3 || m.held != 3 {
			t.Errorf("Held = %d, counted %d, want 3", info.Held, m.held)
		}
		mustSet(t, c, map[string]string{"foreground": "true"})
		synctest.Wait()
		wantSeqs(t, "sent after a report that changes nothing for them", sink.seqs(), free)

		mustSet(t, c, wifi)
		synctest.Wait()
		wantSeqs(t, "sent on wifi", sink.seqs(), 2, 1, 4)
		mustSet(t, c, map[string]string{"battery": "50"})
		synctest.Wait()
		wantSeqs(t, "sent with the battery at 50", sink.seqs(), 2, 1, 4, 3)
		if m.held != 0 || m.replayed != 3 || m.delivered != 1 {
			t.Errorf("held %d, replayed %d, delivered %d, want 0, 3, 1", m.held, m.replayed, m.delivered)
		}
		mustAck(t, c, 1, 2, 3, 4)
		wantSeqs(t, "stored after the acknowledgements", n.w.stored(), 4)
	})
}

func TestP5VersionConditionOfTheHello(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", nil)
		n.publish(to("app_version>=2.1"))
		n.publish(to("app_version>=2"))
		synctest.Wait()
		wantSeqs(t, "sent at 2.0", sink.seqs(), 2)
		mustSet(t, c, map[string]string{"app_version": "2.10"})
		synctest.Wait()
		wantSeqs(t, "sent at 2.10", sink.seqs(), 2, 1)
	})
}

func TestP5HeldSurvivesReconnect(t *testing.T) {
	m := &counts{}
	bubble(t, Config{Metrics: m}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c1", cellular)
		n.publish(to("network=wifi"))
		n.publish(toApp("2.0", "network=wifi"))
		n.publish(toApp("2.0", ""))
		synctest.Wait()
		wantSeqs(t, "sent on cellular", sink.seqs(), 3)
		mustAck(t, c, 3)
		c.Close("gone")
		if m.held != 0 {
			t.Errorf("held %d after Close, want 0", m.held)
		}
		c, sink = n.listen(t, "c2", cellular)
		synctest.Wait()
		wantSeqs(t, "sent on cellular again", sink.seqs())
		mustSet(t, c, wifi)
		synctest.Wait()
		wantSeqs(t, "sent on wifi", sink.seqs(), 1, 2)
		c.Close("gone")
		_, sink = n.listen(t, "c3", wifi)
		synctest.Wait()
		wantSeqs(t, "sent on the third connection, as nothing was acknowledged", sink.seqs(), 1, 2)
	})
}

func TestP5DueByTheStateOfListen(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, _ := n.listen(t, "c1", cellular)
		n.publish(to("network=wifi"))
		synctest.Wait()
		c.Close("gone")
		_, sink := n.listen(t, "c2", wifi)
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), 1)
	})
}

func TestP5ExpiredIsNotReleased(t *testing.T) {
	m := &counts{}
	bubble(t, Config{Metrics: m}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", cellular)
		short := to("network=wifi")
		short.Expires = time.Now().Add(time.Minute)
		n.publish(short)
		n.publish(to("network=wifi"))
		synctest.Wait()
		time.Sleep(time.Minute)
		mustSet(t, c, wifi)
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), 2)
		if m.held != 0 {
			t.Errorf("held %d, want 0", m.held)
		}
	})
}

func TestP5ExpiredWhileItIsReadIsNotSent(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", cellular)
		short := to("network=wifi")
		short.Expires = time.Now().Add(time.Minute)
		n.publish(short)
		synctest.Wait()
		n.w.hook(func(op string) error {
			if op == "message" {
				time.Sleep(time.Minute)
			}
			return nil
		})
		mustSet(t, c, wifi)
		time.Sleep(2 * time.Minute)
		wantSeqs(t, "sent", sink.seqs())
	})
}

func TestP5ReplacedInTheStoreIsNotReleased(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", cellular)
		n.publish(to("network=wifi"))
		n.publish(to("network=wifi"))
		synctest.Wait()
		n.w.Delete(1) // as a newer message of its topic does
		mustSet(t, c, wifi)
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), 2)
		if info := n.Channels()[0]; info.Held != 0 {
			t.Errorf("Held = %d, want 0", info.Held)
		}
	})
}

func TestP5StateThatChangesBackKeepsIt(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", cellular)
		n.publish(to("network=wifi"))
		synctest.Wait()
		reading, read := make(chan struct{}), make(chan struct{})
		n.w.hook(func(op string) error {
			if op == "message" {
				close(reading)
				<-read
			}
			return nil
		})
		mustSet(t, c, wifi)
		<-reading
		mustSet(t, c, cellular)
		n.w.hook(nil)
		close(read)
		synctest.Wait()
		wantSeqs(t, "sent on cellular", sink.seqs())
		mustSet(t, c, wifi)
		synctest.Wait()
		wantSeqs(t, "sent on wifi", sink.seqs(), 1)
	})
}

func TestP5ReleaseWaitsForTheWindow(t *testing.T) {
	bubble(t, Config{Window: 2}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", cellular)
		for range 5 {
			n.publish(to("network=wifi"))
		}
		synctest.Wait()
		mustSet(t, c, wifi)
		synctest.Wait()
		wantSeqs(t, "sent with a window of 2", sink.seqs(), 1, 2)
		mustAck(t, c, 1, 2)
		synctest.Wait()
		wantSeqs(t, "sent after two acknowledgements", sink.seqs(), 1, 2, 3, 4)
		// What is due and not sent is measured again.
		mustSet(t, c, cellular)
		mustAck(t, c, 3, 4)
		synctest.Wait()
		wantSeqs(t, "sent after the state changed back", sink.seqs(), 1, 2, 3, 4)
	})
}

func TestP5MoreHeldThanFitInMemory(t *testing.T) {
	bubble(t, Config{HoldMax: 3}, func(t *testing.T, n *node) {
		var want []uint64
		publish := func() {
			want = append(want, n.publish(to("network=wifi")))
			want = append(want, n.publish(toApp("2.0", "network=wifi")))
		}
		publish()
		c, sink := n.listen(t, "c1", cellular)
		for range 5 {
			publish()
		}
		free := n.publish(toApp("2.0", ""))
		synctest.Wait()
		wantSeqs(t, "sent on cellular", sink.seqs(), free)
		if info := n.Channels()[0]; info.Held != 3 {
			t.Errorf("Held = %d, want 3, the most", info.Held)
		}
		mustAck(t, c, free)
		mustSet(t, c, map[string]string{"foreground": "true"})
		synctest.Wait()
		wantSeqs(t, "sent after another report", sink.seqs(), free)
		mustSet(t, c, wifi)
		synctest.Wait()
		wantSeqs(t, "sent on wifi", sink.seqs(), append([]uint64{free}, want...)...)

		c.Close("gone")
		_, sink = n.listen(t, "c2", wifi)
		synctest.Wait()
		wantSeqs(t, "sent on the next connection, but for the one acknowledged", sink.seqs(), want...)
	})
}

func TestP5ConditionThatCannotBeReadStaysStored(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c1", wifi)
		n.publish(toApp("2.0", "network~=wi.*"))
		n.publish(toApp("2.0", ""))
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), 2)
		mustAck(t, c, 2)
		c.Close("gone")
		n.flush(t)
		if got := n.w.record("tok").Cursors[subjectOf(audience{"mail", "2.0"})]; got.Floor != 0 || !slices.Equal(got.Above, []uint64{2}) {
			t.Errorf("cursor = %+v, want floor 0 and 2 above it", got)
		}
	})
}

func TestP5ReleaseAgainWhenTheStoreFails(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", cellular)
		n.publish(to("network=wifi"))
		synctest.Wait()
		failures := 3
		n.w.hook(func(op string) error {
			if op == "message" && failures > 0 {
				failures--
				return errors.New("timeout")
			}
			return nil
		})
		mustSet(t, c, wifi)
		time.Sleep(time.Minute)
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), 1)
		if failures != 0 {
			t.Errorf("%d failures left, want 0", failures)
		}
	})
}

// counts is a Metrics for one goroutine at a time, as in a bubble.
type counts struct {
	delivered, replayed, held, acknowledged int
	latency                                 time.Duration
}

func (c *counts) Delivered(latency time.Duration) { c.delivered++; c.latency = latency }
func (c *counts) Replayed()                       { c.replayed++ }
func (c *counts) Held(delta int)                  { c.held += delta }
func (c *counts) Acknowledged(n int)              { c.acknowledged += n }
