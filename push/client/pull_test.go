package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"keyhole/push/wire"
)

// A shelf answers pulls with pages of its messages.
type shelf struct {
	f        *fake
	page     int
	messages []wire.Message
	queries  []string
	acked    []uint64
	code     wire.Code // refuses the first request with it
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.f.authorized(w, r) {
		return
	}
	if code := s.code; code != "" {
		s.code = ""
		refuseHTTP(w, http.StatusUnauthorized, code)
		return
	}
	if r.URL.Path == "/v1/messages/ack" {
		var q ackRequest
		_ = json.NewDecoder(r.Body).Decode(&q)
		s.acked = append(s.acked, q.Seq...)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.queries = append(s.queries, r.URL.RawQuery)
	var after uint64
	_, _ = fmt.Sscan(r.URL.Query().Get("after"), &after)
	reply := pullReply{Messages: []wire.Message{}}
	for _, m := range s.messages {
		if m.Seq <= after {
			continue
		}
		if len(reply.Messages) == s.page {
			reply.Next = reply.Messages[s.page-1].Seq
			break
		}
		reply.Messages = append(reply.Messages, m)
	}
	_ = json.NewEncoder(w).Encode(reply)
}

func newShelf(t *testing.T, ids ...string) (*fake, *shelf) {
	f := newFake(t)
	s := &shelf{f: f, page: 2}
	for i, id := range ids {
		s.messages = append(s.messages, *message(id, uint64(i+1)))
	}
	f.api = s
	return f, s
}

func ids(messages []Message) (ids []string) {
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	return ids
}

func TestT4PullReturnsWhatIsStored(t *testing.T) {
	noLeaks(t)
	f, shelf := newShelf(t, "a", "b", "c", "d", "e")
	terminal, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	got, err := terminal.Pull(t.Context())
	if want := []string{"a", "b", "c", "d", "e"}; err != nil || !slices.Equal(ids(got), want) {
		t.Fatalf("Pull() = %q, %v, want %q", ids(got), err, want)
	}
	if string(got[0].Data) != "data of a" {
		t.Errorf("Data = %q, want the message's", got[0].Data)
	}
	if want := []string{"limit=100&token=the-token&version=2.1", "after=2&limit=100&token=the-token&version=2.1", "after=4&limit=100&token=the-token&version=2.1"}; !slices.Equal(shelf.queries, want) {
		t.Errorf("asked for %q, want %q", shelf.queries, want)
	}
	if err := terminal.Acknowledge(t.Context(), got[1], got[3]); err != nil {
		t.Fatal(err)
	}
	if want := []uint64{2, 4}; !slices.Equal(shelf.acked, want) {
		t.Errorf("acknowledged %d, want %d", shelf.acked, want)
	}
	got, err = terminal.Pull(t.Context())
	if want := []string{"a", "c", "e"}; err != nil || !slices.Equal(ids(got), want) {
		t.Errorf("Pull() = %q, %v, want %q without those acknowledged", ids(got), err, want)
	}
	if err := terminal.Acknowledge(t.Context()); err != nil {
		t.Errorf("Acknowledge() of nothing = %v, want nil", err)
	}
}

// What Pull has acknowledged, Run does not hand over, not even after a restart.
func TestPullAndRunShareWhatWasSeen(t *testing.T) {
	f, _ := newShelf(t, "a")
	cfg := f.config()
	cfg.Profile = &memory{}
	terminal, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	got, err := terminal.Pull(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := terminal.Acknowledge(t.Context(), got...); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg)
	c := f.connected()
	c.send(message("a", 1))
	if got := c.acked(); got != 1 {
		t.Errorf("ack of %d, want 1", got)
	}
	r.nothing()
}

func TestPullOfALostSessionLogsInOnce(t *testing.T) {
	f, shelf := newShelf(t, "a")
	shelf.code = wire.SessionRevoked
	terminal, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := terminal.Pull(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("Pull() = %q, %v, want the message", ids(got), err)
	}
	if f.logins != 2 {
		t.Errorf("%d logins, want 2", f.logins)
	}
}

func TestPullOfALostTokenAsksForAnother(t *testing.T) {
	f, shelf := newShelf(t, "a")
	terminal, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	shelf.code = wire.TokenExpired
	if got, err := terminal.Pull(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("Pull() = %q, %v, want the message", ids(got), err)
	}
	if f.logins != 1 || f.asked != 2 {
		t.Errorf("%d logins and %d requests for the token, want 1 and 2", f.logins, f.asked)
	}
}

func TestPullSaysWhatWasRefused(t *testing.T) {
	f, shelf := newShelf(t)
	terminal, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	shelf.code = wire.TokenRevoked
	if _, err := terminal.Pull(t.Context()); !errors.Is(err, wire.TokenRevoked) {
		t.Errorf("Pull() = %v, want %s", err, wire.TokenRevoked)
	}
	if terminal.Token() != "" {
		t.Errorf("Token() = %q after %s, want none", terminal.Token(), wire.TokenRevoked)
	}
	shelf.code = wire.AckUnknown
	if err := terminal.Acknowledge(t.Context(), Message{ID: "m", Seq: 1}); !errors.Is(err, wire.AckUnknown) || terminal.hasSeen("m") {
		t.Errorf("Acknowledge() = %v, want %s, and the message not taken for seen", err, wire.AckUnknown)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := terminal.Pull(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Pull() = %v, want the context's error", err)
	}
}

// Proofs carry the time. A clock that is wrong makes the first one fail, and
// the answer puts it right.
func TestPullAllowsForAWrongClock(t *testing.T) {
	f, _ := newShelf(t, "a")
	cfg := f.config()
	cfg.Profile = &memory{}
	first, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		cfg.Now = func() time.Time { return time.Now().Add(skew) }
		again, err := New(cfg) // whose session is of the profile: nothing has told it the time
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Pull(t.Context()); err != nil || len(got) != 1 {
			t.Errorf("Pull() = %q, %v with a clock off by %s, want the message", ids(got), err, skew)
		}
	}
	if f.logins != 1 {
		t.Errorf("%d logins, want 1", f.logins)
	}
}

// Many ask at once, and one logs in.
func TestPullsAtOnceLogInOnce(t *testing.T) {
	f, shelf := newShelf(t)
	shelf.page = 1
	terminal, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	for range 5 {
		go func() {
			_, err := terminal.signedIn(context.Background())
			errs <- err
		}()
	}
	for range 5 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if f.logins != 1 || f.asked != 1 {
		t.Errorf("%d logins and %d requests for the token, want 1 and 1", f.logins, f.asked)
	}
}
