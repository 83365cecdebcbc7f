package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keyhole/push/keys"
	"keyhole/push/webpush"
	"keyhole/push/wire"
)

// acked is the sequence that the next Ack names.
func (c *fakeConn) acked() uint64 {
	c.f.t.Helper()
	a := must[*wire.Ack](c)
	if len(a.Seq) != 1 {
		c.f.t.Fatalf("Ack.Seq = %d, want one", a.Seq)
	}
	return a.Seq[0]
}

func TestP6MessagesAreHandedOverOneAtATimeInOrder(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	cfg := f.config()
	var inHand atomic.Int32
	cfg.OnMessage = func(context.Context, Message) error {
		if inHand.Add(1) != 1 {
			t.Error("two messages are in hand at once")
		}
		inHand.Add(-1)
		return nil
	}
	r := start(t, cfg)
	c := f.connected()
	const messages = 50
	go func() {
		for i := range uint64(messages) {
			c.send(message(fmt.Sprint("m", i), i+1))
		}
	}()
	for i := range uint64(messages) {
		if got, want := r.message().ID, fmt.Sprint("m", i); got != want {
			t.Fatalf("message %d is %q, want %q", i, got, want)
		}
		if got := c.acked(); got != i+1 {
			t.Fatalf("ack of %d, want %d", got, i+1)
		}
	}
}

func TestP6MessageHasWhatTheFrameHas(t *testing.T) {
	f := newFake(t)
	r := start(t, f.config())
	c := f.connected()
	c.send(&wire.Message{ID: "a:1", Seq: 7, To: "app", Time: 1000, Expires: 2000, Data: []byte{0, 255}, ContentType: "text/plain",
		ContentEncoding: "gzip", Topic: "t", Urgency: "high", Redelivered: true})
	got := r.message()
	want := Message{ID: "a:1", Seq: 7, To: "app", Time: time.UnixMilli(1000), Expires: time.UnixMilli(2000), Data: []byte{0, 255},
		ContentType: "text/plain", ContentEncoding: "gzip", Topic: "t", Urgency: "high", Redelivered: true}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("OnMessage got %+v, want %+v", got, want)
	}
}

// A duplicate is acknowledged and not handed over: on the same connection, on
// the next, and after a restart.
func TestP6DuplicateIsAcknowledgedAlone(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	profile := &memory{}
	cfg := f.config()
	cfg.Profile = profile
	r := start(t, cfg)
	c := f.connected()
	c.send(message("m", 1))
	r.message()
	if got := c.acked(); got != 1 {
		t.Fatalf("ack of %d, want 1", got)
	}
	again := func(c *fakeConn, r *running, seq uint64) {
		t.Helper()
		c.send(message("m", seq))
		if got := c.acked(); got != seq {
			t.Fatalf("ack of %d, want %d", got, seq)
		}
		r.nothing()
	}
	again(c, r, 2)
	c.close()
	again(f.connected(), r, 3)
	r.stop()
	r = start(t, cfg)
	again(f.connected(), r, 4)
}

// The first copy is still with OnMessage when the second comes.
func TestP6DuplicateOfTheMessageInHand(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	release := make(chan struct{})
	cfg.OnMessage = func(context.Context, Message) error { <-release; return nil }
	r := start(t, cfg)
	c := f.connected()
	c.send(message("m", 1), message("m", 2))
	close(release)
	r.message()
	if first, second := c.acked(), c.acked(); first != 1 || second != 2 {
		t.Errorf("acks of %d and %d, want 1 and 2", first, second)
	}
	r.nothing()
}

func TestP6RefusedMessageComesAgainWithTheNextConnection(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	cfg := f.config()
	var calls atomic.Int32
	cfg.OnMessage = func(_ context.Context, m Message) error {
		if m.ID == "bad" && calls.Add(1) == 1 {
			return errors.New("disk full")
		}
		return nil
	}
	r := start(t, cfg)
	c := f.connected()
	c.send(message("bad", 1), message("good", 2))
	if got := c.acked(); got != 2 {
		t.Fatalf("ack of %d, want that of the good one alone", got)
	}
	c.close()
	c = f.connected()
	c.send(message("bad", 1))
	if got := c.acked(); got != 1 {
		t.Fatalf("ack of %d, want 1", got)
	}
	if got := []string{r.message().ID, r.message().ID, r.message().ID}; !slices.Equal(got, []string{"bad", "good", "bad"}) {
		t.Errorf("handed over %q, want the bad one again", got)
	}
}

// The connection is lost while a message is in hand. It is taken all the same,
// and its second copy is a duplicate; what came behind it is forgotten, and
// comes again.
func TestP6ConnectionLostWithAMessageInHand(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	cfg := f.config()
	came, release := make(chan struct{}, 10), make(chan struct{})
	cfg.OnMessage = func(context.Context, Message) error { came <- struct{}{}; <-release; return nil }
	r := start(t, cfg)
	c := f.connected()
	c.send(message("a", 1), message("b", 2))
	<-came
	c.close()
	c = f.connected()
	c.send(message("a", 1), message("b", 2))
	close(release)
	if first, second := c.acked(), c.acked(); first != 1 || second != 2 {
		t.Errorf("acks of %d and %d, want 1 and 2", first, second)
	}
	if got := []string{r.message().ID, r.message().ID}; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("handed over %q, want each once", got)
	}
	r.nothing()
}

// Run ends with a message in hand: it waits, and acknowledges.
func TestP6MessageInHandIsAcknowledgedAtTheEnd(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	profile := &memory{}
	cfg := f.config()
	cfg.Profile = profile
	came := make(chan struct{})
	cfg.OnMessage = func(ctx context.Context, _ Message) error {
		close(came)
		<-ctx.Done() // ends with Run's
		return nil
	}
	r := start(t, cfg)
	c := f.connected()
	c.send(message("m", 1))
	<-came
	r.cancel()
	if got := c.acked(); got != 1 {
		t.Fatalf("ack of %d, want 1", got)
	}
	r.end()
	if got := profile.record(t).Seen; len(got) != len(seenID{}) {
		t.Errorf("the profile has %d bytes of ids, want one id", len(got))
	}
}

// OnMessage returns while there is no connection: what it took is saved at
// once, and its second copy is a duplicate.
func TestP6MessageTakenBetweenConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPipeFake(t)
		profile := &memory{}
		cfg := f.config()
		cfg.Profile = profile
		cfg.MinBackoff, cfg.MaxBackoff = time.Hour, time.Hour
		came, release := make(chan struct{}), make(chan struct{})
		cfg.OnMessage = func(context.Context, Message) error { close(came); <-release; return nil }
		r := start(t, cfg)
		c := f.connected()
		c.send(message("m", 1))
		<-came
		c.close()
		r.until(Waiting)
		close(release)
		synctest.Wait()
		if got := profile.record(t).Seen; len(got) != len(seenID{}) {
			t.Errorf("the profile has %d bytes of ids, want one id", len(got))
		}
		c = f.connected()
		c.send(message("m", 1))
		if got := c.acked(); got != 1 {
			t.Errorf("ack of %d, want 1", got)
		}
	})
}

// Run ends between two connections with a message in hand: it waits for it.
func TestP6MessageInHandIsRememberedAtTheEnd(t *testing.T) {
	f := newFake(t)
	profile := &memory{}
	cfg := f.config()
	cfg.Profile = profile
	cfg.MinBackoff, cfg.MaxBackoff = time.Hour, time.Hour
	came := make(chan struct{})
	cfg.OnMessage = func(ctx context.Context, _ Message) error { close(came); <-ctx.Done(); return nil }
	r := start(t, cfg)
	c := f.connected()
	c.send(message("m", 1))
	<-came
	c.close()
	r.until(Waiting)
	r.stop()
	if got := profile.record(t).Seen; len(got) != len(seenID{}) {
		t.Errorf("the profile has %d bytes of ids, want one id", len(got))
	}
}

// Ids are saved at most once a second, however many messages come.
func TestP6SeenIDsAreSavedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPipeFake(t)
		profile := &memory{}
		cfg := f.config()
		cfg.Profile = profile
		r := start(t, cfg)
		c := f.connected()
		r.until(Listening)
		before := profile.count()
		for i := range uint64(100) {
			c.send(message(fmt.Sprint("m", i), i+1))
			c.acked()
			time.Sleep(50 * time.Millisecond) // of the bubble's clock
		}
		time.Sleep(saveEvery)
		synctest.Wait()
		if got := profile.count() - before; got != 5 {
			t.Errorf("%d saves in the 5 s of a hundred messages, want 5", got)
		}
		if got := len(profile.record(t).Seen); got != 100*len(seenID{}) {
			t.Errorf("the profile has %d bytes of ids, want those of 100", got)
		}
	})
}

func TestP6MoreThanTheWindowEndsTheConnection(t *testing.T) {
	f := newFake(t)
	f.confirmed.Limits.Window = 2
	cfg := f.config()
	release := make(chan struct{})
	cfg.OnMessage = func(context.Context, Message) error { <-release; return nil }
	r := start(t, cfg)
	c := f.connected()
	for i := range uint64(4) {
		c.send(message(fmt.Sprint("m", i), i+1))
	}
	r.waitingFor(wire.OutOfOrder)
	close(release)
}

func TestSeenKeepsTheLast1024(t *testing.T) {
	var s seen
	id := func(i int) string { return fmt.Sprint("id-", i) }
	const all = 2*seenLimit + 10
	for i := range all {
		s.add(id(i))
	}
	check := func(s seen) {
		t.Helper()
		for i := range all {
			if got, want := s.has(id(i)), i >= all-seenLimit; got != want {
				t.Fatalf("has(%q) = %t, want %t", id(i), got, want)
			}
		}
	}
	check(s)
	read := readSeen(s.appendTo(nil))
	check(read)
	read.add("one more")
	if read.has(id(all-seenLimit)) || !read.has(id(all-seenLimit+1)) {
		t.Error("after it was read, another one than the oldest makes room")
	}
	if got := readSeen(make([]byte, 100_000)); len(got.ids) != seenLimit {
		t.Errorf("readSeen() of too many has %d, want %d", len(got.ids), seenLimit)
	}
}

func TestK7PayloadsAndStatesAreSealed(t *testing.T) {
	f := newFake(t)
	f.confirmed.Encryption = true
	cfg := f.config()
	cfg.State = map[string]string{"network": "wifi"}
	r := start(t, cfg)
	c := f.next()
	listen := c.listening()
	server := f.ring.Current().Private
	if got, err := server.Open("keyhole-push.v1 state", listen.Sealed); err != nil || string(got) != `{"network":"wifi"}` || listen.State != nil {
		t.Errorf("Listen has state %v and sealed %s, %v; want it sealed alone", listen.State, got, err)
	}
	r.SetState(map[string]string{"battery": "9"}, "network")
	state := must[*wire.State](c)
	if got, err := server.Open("keyhole-push.v1 state", state.Sealed); err != nil || string(got) != `{"set":{"battery":"9"},"unset":["network"]}` || state.Set != nil || state.Unset != nil {
		t.Errorf("State has set %v and sealed %s, %v; want it sealed alone", state.Set, got, err)
	}
	c.send(sealedMessage(t, f.client, "m", 1))
	if got := r.message(); string(got.Data) != "data of m" {
		t.Errorf("Data = %q, want it opened", got.Data)
	}
}

func sealedMessage(t *testing.T, to keys.Public, id string, seq uint64) *wire.Message {
	t.Helper()
	m := message(id, seq)
	var err error
	if m.Data, err = to.Seal("keyhole-push.v1 message", m.Data); err != nil {
		t.Fatal(err)
	}
	m.Encryption = "hpke"
	return m
}

// What is sealed to a key that is not here comes again; it is not lost by an
// acknowledgement.
func TestK7UnreadableMessageIsNotAcknowledged(t *testing.T) {
	f := newFake(t)
	r := start(t, f.config())
	c := f.connected()
	stranger, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	odd := message("odd", 3)
	odd.Encryption = "rot13"
	c.send(sealedMessage(t, stranger.Public(), "m", 1), odd, message("plain", 2))
	if got := c.acked(); got != 2 {
		t.Errorf("ack of %d, want that of the message that can be read", got)
	}
	if got := r.message().ID; got != "plain" {
		t.Errorf("message %q, want the one that can be read", got)
	}
}

// A message on its way while the key is renewed is sealed to the old one or to
// the new one.
func TestK7MessagesAroundARenewalAreRead(t *testing.T) {
	f := newFake(t)
	f.quick()
	r := start(t, f.config())
	c := f.connected()
	h := c.renewal()
	old := f.client
	reply := f.heartbeatReply(h)
	c.send(sealedMessage(t, old, "old before", 1), sealedMessage(t, f.client, "new before", 2), reply,
		sealedMessage(t, old, "old after", 3), sealedMessage(t, f.client, "new after", 4))
	for _, want := range []string{"old before", "new before", "old after", "new after"} {
		if got := r.message().ID; got != want {
			t.Errorf("message %q, want %q", got, want)
		}
	}
}

func TestWebPushIsDecrypted(t *testing.T) {
	f := newFake(t)
	r := start(t, f.config())
	c := f.connected()
	s := r.Subscription()
	if s.Endpoint != fakeURL+"/push/the-token" {
		t.Errorf("Endpoint = %q, want what the server gave", s.Endpoint)
	}
	body, err := webpush.Encrypt(decode64(t, s.P256DH), decode64(t, s.Auth), []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	m := message("w", 1)
	m.Data, m.ContentEncoding = body, "aes128gcm"
	c.send(m)
	if got := r.message(); string(got.Data) != "hello" || got.ContentEncoding != "" {
		t.Errorf("Data, ContentEncoding = %q, %q, want what was encrypted, and none", got.Data, got.ContentEncoding)
	}
	c.acked()
	m = message("x", 2)
	m.Data, m.ContentEncoding = bytes.Repeat([]byte{7}, 200), "aes128gcm"
	c.send(m)
	if got := c.acked(); got != 2 {
		t.Errorf("ack of %d, want that of what nobody can ever read", got)
	}
	r.nothing()
}
