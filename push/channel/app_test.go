package channel

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"keyhole/push/store"
)

func TestT3OneCopyServesEveryTerminalOfAppAndVersion(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		var channels []*Channel
		var sinks []*terminal
		for i, version := range []string{"1.0", "2.0", "2.0", "2.0"} {
			a := phone(fmt.Sprint(i))
			a.Version, a.User = version, fmt.Sprint("user", i)
			c, s := n.listenAs(t, a, fmt.Sprint("tok", i), nil)
			channels, sinks = append(channels, c), append(sinks, s)
		}
		elsewhere := phone("x")
		elsewhere.App = "chat"
		_, chat := n.listenAs(t, elsewhere, "tokx", nil)
		n.publish(toApp("2.0", ""))
		n.publish(toApp("*", ""))
		synctest.Wait()
		wantSeqs(t, "sent to 1.0", sinks[0].seqs(), 2)
		for i := 1; i < 4; i++ {
			wantSeqs(t, "sent to 2.0", sinks[i].seqs(), 1, 2)
			mustAck(t, channels[i], 1, 2)
		}
		wantSeqs(t, "sent to another app", chat.seqs())
		wantSeqs(t, "stored after three terminals have it", n.w.stored(), 1, 2)

		// What one acknowledged is still there for one that comes late.
		late := phone("late")
		_, s := n.listenAs(t, late, "toklate", nil)
		synctest.Wait()
		wantSeqs(t, "sent to a terminal that comes late", s.seqs(), 1, 2)
	})
}

func TestT4CursorOfTheTerminalSurvivesReconnect(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		for range 6 {
			n.publish(toApp("2.0", ""))
		}
		c, sink := n.listen(t, "c1", nil)
		synctest.Wait()
		wantSeqs(t, "sent first", sink.seqs(), 1, 2, 3, 4, 5, 6)
		mustAck(t, c, 1, 2, 5)
		c.Close("gone")
		n.publish(toApp("2.0", ""))
		time.Sleep(flushEvery) // the record goes through the store
		synctest.Wait()
		c, sink = n.listen(t, "c2", nil)
		synctest.Wait()
		wantSeqs(t, "sent after 1, 2 and 5 were acknowledged", sink.seqs(), 3, 4, 6, 7)
		mustAck(t, c, 3, 4, 6, 7)
		time.Sleep(flushEvery)
		synctest.Wait()
		subject := subjectOf(audience{"mail", "2.0"})
		if got := n.w.record("tok").Cursors[subject]; got.Floor != 7 || len(got.Above) != 0 {
			t.Errorf("cursor = %+v, want floor 7 with nothing above it", got)
		}
		reads := 0
		n.w.hook(func(op string) error {
			if op == "backlog" {
				reads++
			}
			return nil
		})
		c.Close("gone")
		_, sink = n.listen(t, "c3", nil)
		synctest.Wait()
		wantSeqs(t, "sent when all is acknowledged", sink.seqs())
		if reads != 1 {
			t.Errorf("%d reads of a backlog, want 1: of the token's", reads)
		}
	})
}

func TestT3VersionChangeInTheStateMovesTheSubscription(t *testing.T) {
	bubble(t, Config{Window: 10}, func(t *testing.T, n *node) {
		n.publish(toApp("2.1", ""))
		c, sink := n.listen(t, "c1", map[string]string{"network": "wifi"})
		n.publish(toApp("2.0", ""))
		n.publish(toApp("2.0", "network=none"))
		synctest.Wait()
		wantSeqs(t, "sent at 2.0", sink.seqs(), 2)

		mustSet(t, c, map[string]string{"app_version": "2.1"})
		n.publish(toApp("2.0", ""))
		n.publish(toApp("2.1", ""))
		n.publish(toApp("*", ""))
		synctest.Wait()
		wantSeqs(t, "sent at 2.1", sink.seqs(), 2, 1, 5, 6)
		if info := n.Channels()[0]; info.Held != 0 || info.Version != "2.1" {
			t.Errorf("at 2.1: %+v, want nothing held for 2.0", info)
		}
		mustAck(t, c, 2, 1, 5, 6) // 2 was of the version that it has left

		mustSet(t, c, map[string]string{"app_version": "2.0", "network": "none"})
		synctest.Wait()
		wantSeqs(t, "sent back at 2.0: what is new there", sink.seqs(), 2, 1, 5, 6, 3, 4)
		mustAck(t, c, 3, 4)
		c.Close("gone")
		n.flush(t)
		for _, version := range []string{"2.0", "2.1"} {
			a := phone(version)
			a.Version = version
			_, sink = n.listenAs(t, a, "tok", nil)
			synctest.Wait()
			wantSeqs(t, "sent after everything was acknowledged", sink.seqs())
		}
	})
}

func TestT3VersionChangeWhileMessagesAreInFlight(t *testing.T) {
	bubble(t, Config{Window: 1}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", nil)
		n.publish(toApp("2.0", ""))
		n.publish(toApp("2.0", ""))
		synctest.Wait()
		mustSet(t, c, map[string]string{"app_version": "2.1"})
		mustSet(t, c, map[string]string{"app_version": "2.0"})
		mustAck(t, c, 1)
		synctest.Wait()
		wantSeqs(t, "sent, each once", sink.seqs(), 1, 2)
		mustSet(t, c, map[string]string{"app_version": "2.1"})
		mustAck(t, c, 2)
		mustSet(t, c, map[string]string{"app_version": "2.0"})
		synctest.Wait()
		wantSeqs(t, "sent, still each once", sink.seqs(), 1, 2)
		c.Close("gone")
		n.flush(t)
		if got := n.w.record("tok").Cursors[subjectOf(audience{"mail", "2.0"})]; got.Floor != 2 {
			t.Errorf("cursor of 2.0 = %+v, want floor 2", got)
		}
	})
}

func TestT3VersionWithTheNameOfAll(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c", map[string]string{"app_version": "*"})
		n.publish(toApp("*", ""))
		n.publish(toApp("2.0", ""))
		synctest.Wait()
		wantSeqs(t, "sent at version *", sink.seqs(), 1)
		mustSet(t, c, map[string]string{"app_version": ""})
		n.publish(toApp("*", ""))
		synctest.Wait()
		wantSeqs(t, "sent at version \"\"", sink.seqs(), 1, 3)
	})
}

func TestCursorsOfFormerVersionsAreBounded(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		for i := range 50 {
			c, _ := n.listen(t, fmt.Sprint(i), map[string]string{"app_version": fmt.Sprint(i)})
			for j := range 50 {
				mustSet(t, c, map[string]string{"app_version": fmt.Sprint(i, ".", j)})
			}
			c.Close("gone")
			n.flush(t)
			if got := len(n.w.record("tok").Cursors); got > maxCursors+3 {
				t.Fatalf("%d cursors in the record, want at most %d", got, maxCursors+3)
			}
		}
		if len(n.groups) != 0 {
			t.Errorf("%d groups left, want none", len(n.groups))
		}
	})
}

func TestCursorCompaction(t *testing.T) {
	own, other := &group{audience: audience{"mail", "*"}}, &group{audience: audience{"mail", "2.0"}}
	for _, c := range []struct {
		name     string
		inflight []flight
		held     []held
		skipped  uint64
		acks     []uint64
		want     store.Cursor
	}{
		{"all acknowledged", nil, nil, 0, []uint64{10, 30, 20}, store.Cursor{Floor: 90}},
		{"none", []flight{{10, own}}, nil, 0, nil, store.Cursor{Floor: 9}},
		{"beyond one in flight", []flight{{20, own}}, nil, 0, []uint64{10, 30}, store.Cursor{Floor: 19, Above: []uint64{30}}},
		{"beyond one held", []flight{{50, own}}, []held{{seq: 20, feed: ofApp}}, 0, []uint64{10, 60, 30},
			store.Cursor{Floor: 19, Above: []uint64{30, 60}}},
		{"beyond one passed over", nil, nil, 30, []uint64{10, 40}, store.Cursor{Floor: 29, Above: []uint64{40}}},
		{"of other feeds", []flight{{5, nil}, {6, other}}, []held{{seq: 7, feed: ofVersion}}, 0, []uint64{10}, store.Cursor{Floor: 90}},
		{"twice", []flight{{20, own}}, nil, 0, []uint64{30, 30}, store.Cursor{Floor: 19, Above: []uint64{30}}},
		{"below the floor", []flight{{20, own}}, nil, 0, []uint64{30, 19, 1}, store.Cursor{Floor: 19, Above: []uint64{30}}},
	} {
		ch := &Channel{inflight: c.inflight, held: c.held}
		f := &ch.feeds[ofApp]
		*f = feed{group: own, pos: 90, skipped: c.skipped}
		for _, seq := range c.acks {
			ch.acknowledge(own, seq)
		}
		ch.compact(f)
		if got := f.cursor; got.Floor != c.want.Floor || !slices.Equal(got.Above, c.want.Above) {
			t.Errorf("%s: cursor = %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestCursorIsBoundedAndLosesNothing(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, _ := n.listen(t, "c1", cellular)
		n.publish(toApp("2.0", "network=wifi"))
		const total = maxAbove + 500
		for i := range uint64(total) {
			n.publish(toApp("2.0", ""))
			synctest.Wait()
			mustAck(t, c, i+2)
		}
		c.Close("gone")
		n.flush(t)
		cursor := n.w.record("tok").Cursors[subjectOf(audience{"mail", "2.0"})]
		if cursor.Floor != 0 || len(cursor.Above) != maxAbove || !slices.IsSorted(cursor.Above) {
			t.Fatalf("cursor with floor %d and %d above, want 0 and %d", cursor.Floor, len(cursor.Above), maxAbove)
		}
		// The forgotten ones come once more, the held one at last.
		c, sink := n.listen(t, "c2", wifi)
		var got []uint64
		for {
			synctest.Wait()
			seqs := sink.seqs()[len(got):]
			if len(seqs) == 0 {
				break
			}
			got = append(got, seqs...)
			mustAck(t, c, seqs...)
		}
		if len(got) != 501 || got[0] != 1 || got[500] != 501 {
			t.Errorf("%d sent again, %v, want 1 to 501", len(got), got)
		}
	})
}

func TestT4RecordIsWrittenLazily(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, _ := n.listen(t, "c", nil)
		for i := range uint64(20) {
			n.publish(toApp("2.0", ""))
			synctest.Wait()
			mustAck(t, c, i+1)
			time.Sleep(flushEvery / 10)
		}
		synctest.Wait()
		if n.w.writes() < 1 || n.w.writes() > 3 {
			t.Errorf("%d writes for 20 acknowledgements in 4 seconds, want 2 or so", n.w.writes())
		}
		time.Sleep(time.Hour)
		writes := n.w.writes()
		// Messages to a token are deleted: nothing is to be remembered.
		for i := range uint64(20) {
			n.publish(to(""))
			synctest.Wait()
			mustAck(t, c, i+21)
		}
		time.Sleep(time.Hour)
		if n.w.writes() != writes {
			t.Errorf("%d writes for acknowledgements to the token, want none", n.w.writes()-writes)
		}
	})
}

func TestT4RecordThatCannotBeWrittenWaits(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		n.w.fail("put")
		var sinks []*terminal
		for i := range 3 * writers {
			a := phone(fmt.Sprint(i))
			a.Device = fmt.Sprint("device", i)
			c, s := n.listenAs(t, a, fmt.Sprint("tok", i), nil)
			sinks = append(sinks, s)
			if i%2 == 0 {
				c.Close("gone")
			}
		}
		n.publish(toApp("2.0", ""))
		time.Sleep(time.Minute)
		if n.w.writes() != 0 {
			t.Fatalf("%d records written, want none", n.w.writes())
		}
		n.w.hook(nil)
		time.Sleep(flushEvery)
		synctest.Wait()
		if n.w.writes() != 3*writers {
			t.Errorf("%d records written, want %d", n.w.writes(), 3*writers)
		}
		wantSeqs(t, "sent meanwhile", sinks[1].seqs(), 1)
	})
}
