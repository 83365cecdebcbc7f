package channel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// bubble runs f with one node on a store in memory and a clock that stands
// still while anything runs. Nothing may be left running at the end.
func bubble(t *testing.T, c Config, f func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newWorld().node(c)
		f(t, n)
		if err := n.Registry.Close(t.Context()); err != nil {
			t.Errorf("Close() = %v, want nil", err)
		}
	})
}

func TestP2ConnectionIsAnnouncedThenCompletedByListen(t *testing.T) {
	bubble(t, Config{Node: "a"}, func(t *testing.T, n *node) {
		sink := newTerminal()
		since := time.Now().Add(-time.Second)
		a := phone("c1")
		a.Since = since
		c, err := n.Register(t.Context(), a, sink)
		if err != nil {
			t.Fatal(err)
		}
		want := a
		want.Node = "a"
		if got := n.Channels(); len(got) != 1 || got[0].Attributes != want || n.Len() != 1 {
			t.Fatalf("Channels() after Register = %+v, want one with %+v", got, want)
		}
		seq := n.publish(to(""))
		synctest.Wait()
		wantSeqs(t, "sent before Listen", sink.seqs())

		if err := c.Listen(t.Context(), "tok", map[string]string{"network": "wifi", "app_version": "2.1"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantSeqs(t, "sent after Listen", sink.seqs(), seq)
		want.Token, want.Version = "tok", "2.1"
		info := n.Channels()[0]
		if info.Attributes != want || info.State["network"] != "wifi" || info.InFlight != 1 || info.Behind {
			t.Errorf("Channels()[0] after Listen = %+v, want %+v with its state and one message in flight", info, want)
		}
		if got := c.Attributes(); got != want {
			t.Errorf("Attributes() = %+v, want %+v", got, want)
		}
		if e := n.w.events; len(e) != 1 || e[0].Kind != store.Attached || e[0].Key != "tok" || e[0].Node != "a" {
			t.Errorf("announced %+v, want that tok attached to a", e)
		}
		c.Close("gone")
		c.Close("gone twice")
		if n.Len() != 0 || len(n.Channels()) != 0 {
			t.Errorf("Len() after Close = %d, want 0", n.Len())
		}
		synctest.Wait()
		if got := sink.codes(); len(got) != 0 {
			t.Errorf("sink closed with %v by Close of its own side, want not", got)
		}
	})
}

func TestChannelsOldestFirst(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		for i, conn := range []string{"c", "b", "a"} {
			a := phone(conn)
			a.User = conn
			a.Since = time.Now().Add(time.Duration(i/2) * time.Second)
			if _, err := n.Register(t.Context(), a, newTerminal()); err != nil {
				t.Fatal(err)
			}
		}
		var order []string
		for _, i := range n.Channels() {
			order = append(order, i.Conn)
		}
		if want := []string{"b", "c", "a"}; !slices.Equal(order, want) {
			t.Errorf("Channels() in order %v, want %v", order, want)
		}
	})
}

func TestOlderChannelOfATokenIsReplaced(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		old, oldSink := n.listen(t, "old", nil)
		_, sink := n.listen(t, "new", nil)
		seq := n.publish(to(""))
		synctest.Wait()
		wantSeqs(t, "sent to the newer", sink.seqs(), seq)
		wantSeqs(t, "sent to the older", oldSink.seqs())
		if got := oldSink.codes(); !slices.Equal(got, []wire.Code{wire.Replaced}) {
			t.Errorf("older closed with %v, want replaced, once", got)
		}
		wantCode(t, "Ack on the older", old.Ack([]uint64{seq}), wire.Replaced)
		wantCode(t, "SetState on the older", old.SetState(nil, nil), wire.Replaced)
		wantSeqs(t, "stored", n.w.stored(), seq)
	})
}

func TestOlderChannelIsReplacedByAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, b := w.node(Config{Node: "a"}), w.node(Config{Node: "b"})
		_, oldSink := a.listen(t, "old", nil)
		time.Sleep(time.Millisecond)
		_, sink := b.listen(t, "new", nil)
		// Each hears of both; the event of the older reaches b late.
		a.hear()
		b.hear()
		synctest.Wait()
		if got := oldSink.codes(); !slices.Equal(got, []wire.Code{wire.Replaced}) {
			t.Errorf("older closed with %v, want replaced", got)
		}
		if got := sink.codes(); len(got) != 0 || b.Len() != 1 || a.Len() != 0 {
			t.Errorf("newer closed with %v, want not", got)
		}
	})
}

func TestAttachedEventsThatMustNotCloseAnything(t *testing.T) {
	bubble(t, Config{Node: "a"}, func(t *testing.T, n *node) {
		now := time.Now().UnixNano()
		_, sink := n.listen(t, "c", nil)
		later := attachment(now+1, "x")
		for _, e := range []store.Event{
			{Node: "a", Key: "tok", Conn: later},                                   // our own
			{Node: "b", Key: "other", Conn: later},                                 // of another terminal
			{Node: "b", Key: "tok", Conn: attachment(now-1, "x")},                  // older than ours
			{Node: "", Key: "tok", Conn: attachment(now, "x")},                     // at the same time: the name decides
			{Node: "b", Key: "tok", Conn: ""},                                      // of nobody knows when
			{Node: "b", Key: "tok", Conn: "99999999999999999999999999999999999/x"}, // likewise
		} {
			e.Kind = store.Attached
			n.Event(e)
			if n.Len() != 1 {
				t.Fatalf("after %+v: Len() = %d, want 1", e, n.Len())
			}
		}
		n.Event(store.Event{Kind: store.Attached, Node: "b", Key: "tok", Conn: attachment(now, "x")})
		synctest.Wait()
		if got := sink.codes(); !slices.Equal(got, []wire.Code{wire.Replaced}) {
			t.Errorf("closed with %v by an event of the same time and a later name, want replaced", got)
		}
	})
}

func TestRevocationEndsTheLiveChannel(t *testing.T) {
	for _, c := range []struct {
		event store.Event
		want  wire.Code
	}{
		{store.Event{Kind: store.TokenRevoked, Key: "tok"}, wire.TokenRevoked},
		{store.Event{Kind: store.SessionRevoked, Key: "s1"}, wire.SessionRevoked},
		{store.Event{Kind: store.UserDisabled, Key: "ann"}, wire.AccountDisabled},
	} {
		t.Run(c.event.Kind, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, n *node) {
				_, sink := n.listen(t, "c", nil)
				other := Attributes{Conn: "o", User: "bob", Session: "s2", Device: "phone", App: "mail"}
				_, otherSink := n.listenAs(t, other, "bobs", nil)
				n.Event(store.Event{Kind: c.event.Kind, Key: "somebody else"})
				n.Event(store.Event{Kind: store.RingChanged, Key: c.event.Key})
				if n.Len() != 2 {
					t.Fatalf("Len() after events that are not about it = %d, want 2", n.Len())
				}
				n.Event(c.event)
				n.publish(to(""))
				synctest.Wait()
				if got := sink.codes(); !slices.Equal(got, []wire.Code{c.want}) {
					t.Errorf("closed with %v, want %s", got, c.want)
				}
				wantSeqs(t, "sent after the revocation", sink.seqs())
				if got := otherSink.codes(); len(got) != 0 || n.Len() != 1 {
					t.Errorf("the channel of somebody else closed with %v, want not", got)
				}
			})
		})
	}
}

func TestDisabledAccountEndsEveryChannelOfIt(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		var sinks []*terminal
		for i := range 5 {
			a := phone(fmt.Sprint(i))
			a.Device = fmt.Sprint("device", i)
			_, s := n.listenAs(t, a, fmt.Sprint("tok", i), nil)
			sinks = append(sinks, s)
		}
		n.Event(store.Event{Kind: store.UserDisabled, Key: "ann"})
		synctest.Wait()
		for i, s := range sinks {
			if got := s.codes(); !slices.Equal(got, []wire.Code{wire.AccountDisabled}) {
				t.Errorf("channel %d closed with %v, want account_disabled", i, got)
			}
		}
	})
}

func TestRevocationBetweenLookupAndRegister(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		a := phone("c")
		a.Since = time.Now()
		time.Sleep(time.Second)
		n.Event(store.Event{Kind: store.SessionRevoked, Key: "s1"})
		_, err := n.Register(t.Context(), a, newTerminal())
		wantCode(t, "Register with a session revoked since", err, wire.SessionRevoked)

		a.Session = "s3"
		n.Event(store.Event{Kind: store.UserDisabled, Key: "ann"})
		_, err = n.Register(t.Context(), a, newTerminal())
		wantCode(t, "Register with an account disabled since", err, wire.AccountDisabled)

		// Enabled again: the connection after that is a new one.
		time.Sleep(time.Second)
		a.Since = time.Now()
		c, err := n.Register(t.Context(), a, newTerminal())
		if err != nil {
			t.Fatalf("Register of a connection made after the event: %v", err)
		}
		n.Event(store.Event{Kind: store.TokenRevoked, Key: "tok"})
		wantCode(t, "Listen with a token revoked since", c.Listen(t.Context(), "tok", nil), wire.TokenRevoked)
		if err := c.Listen(t.Context(), "tok2", nil); err != nil {
			t.Errorf("Listen with another token = %v, want nil", err)
		}
	})
}

func TestRevocationsAreBounded(t *testing.T) {
	var r revocations
	now := time.Now()
	for i := range 10 * maxRevocations {
		r.add(store.TokenRevoked, fmt.Sprint(i), now)
	}
	if n := len(r.latest) + len(r.before); n > 2*maxRevocations {
		t.Errorf("%d revocations kept, want at most %d", n, 2*maxRevocations)
	}
	if last := 10*maxRevocations - maxRevocations; !r.since(store.TokenRevoked, fmt.Sprint(last), now) {
		t.Errorf("the last %d are not all known", maxRevocations)
	}
}

func TestPerAccountLimit(t *testing.T) {
	bubble(t, Config{PerAccount: 2}, func(t *testing.T, n *node) {
		n.listen(t, "c1", nil)
		tablet := phone("c2")
		tablet.Device = "tablet"
		_, sink := n.listenAs(t, tablet, "tok2", nil)

		watch := phone("c3")
		watch.Device = "watch"
		_, err := n.Register(t.Context(), watch, newTerminal())
		wantCode(t, "Register of a third", err, wire.TooManyConnections)

		other := watch
		other.User = "bob"
		if _, err := n.Register(t.Context(), other, newTerminal()); err != nil {
			t.Errorf("Register of another account = %v, want nil", err)
		}
		// The tablet is back, and its former connection was not missed yet.
		tablet.Conn = "c4"
		if _, err := n.Register(t.Context(), tablet, newTerminal()); err != nil {
			t.Errorf("Register of a device that is here already = %v, want nil", err)
		}
		synctest.Wait()
		if got := sink.codes(); !slices.Equal(got, []wire.Code{wire.Replaced}) {
			t.Errorf("its former channel closed with %v, want replaced", got)
		}
		if n.Len() != 3 {
			t.Errorf("Len() = %d, want 3", n.Len())
		}
	})
}

func TestCloseDrainsAndRefuses(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, sink := n.listen(t, "c1", nil)
		idle, err := n.Register(t.Context(), phone("c2"), newTerminal())
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Registry.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := sink.codes(); !slices.Equal(got, []wire.Code{wire.Draining}) {
			t.Errorf("closed with %v, want draining", got)
		}
		if got := n.w.record("tok"); got.Node != "" || got.AppVersion != "2.0" {
			t.Errorf("record after Close = %+v, want one that no node has", got)
		}
		_, err = n.Register(t.Context(), phone("c3"), newTerminal())
		wantCode(t, "Register after Close", err, wire.Draining)
		wantCode(t, "Listen after Close", idle.Listen(t.Context(), "tok", nil), wire.Draining)
		wantCode(t, "Ack after Close", c.Ack(nil), wire.Draining)
	})
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newWorld().node(Config{})
		release := make(chan struct{})
		_, sink := n.listen(t, "c", nil)
		sink.before = func(*wire.Message) error { <-release; return nil }
		n.publish(to(""))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Registry.Close(ctx); err == nil {
			t.Error("Close with a Send that hangs = nil, want the error of its context")
		}
		close(release)
	})
}

func TestListenErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		unfollowed := New(Config{Store: w})
		c, err := unfollowed.Register(t.Context(), phone("c"), newTerminal())
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "Listen before Follow", c.Listen(t.Context(), "tok", nil), wire.StoreUnavailable)

		n := w.node(Config{})
		c, err = n.Register(t.Context(), phone("c"), newTerminal())
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "SetState before Listen", c.SetState(map[string]string{"a": "b"}, nil), wire.OutOfOrder)
		wantCode(t, "Ack before Listen", c.Ack([]uint64{1}), wire.AckUnknown)
		w.fail("terminal")
		wantCode(t, "Listen without the store", c.Listen(t.Context(), "tok", nil), wire.StoreUnavailable)
		w.hook(nil)
		if err := c.Listen(t.Context(), "tok", nil); err != nil {
			t.Errorf("Listen once more = %v, want nil", err)
		}
		wantCode(t, "Listen twice", c.Listen(t.Context(), "tok", nil), wire.OutOfOrder)
		c.Close("gone")
		if err := c.Ack([]uint64{1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Ack after Close = %v, want net.ErrClosed", err)
		}
		wantSeqs(t, "records written before the time for it", []uint64{uint64(w.writes())}, 0)
		time.Sleep(flushEvery)
		synctest.Wait()
		if w.writes() != 1 {
			t.Errorf("%d records written, want 1", w.writes())
		}
	})
}

func TestAnnouncementThatFailsDoesNotMatter(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		n.w.fail("announce")
		_, sink := n.listen(t, "c", nil)
		seq := n.publish(to(""))
		synctest.Wait()
		wantSeqs(t, "sent", sink.seqs(), seq)
	})
}
