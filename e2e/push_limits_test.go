package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"keyhole/push/client"
	"keyhole/push/wire"
)

// A payload has 4,096 bytes and not one more, whichever way it comes.
func TestPushLimitOfPayloads(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	h := s.handset("alice", "phone", "news")
	h.listen(nil)
	if got := h.last.Limits.PayloadBytes; got != 4096 {
		t.Errorf("the terminal is told of payloads of %d bytes, want 4096", got)
	}
	most := make([]byte, 4096)
	s.publish(key, client.Publication{Token: h.token, Data: most})
	if m := h.wantMessage(string(most)); len(m.Data) != 4096 {
		t.Errorf("%d bytes have come, want 4096", len(m.Data))
	}
	if _, err := s.tryPublish(key, map[string]any{"token": h.token, "data": make([]byte, 4097)}); !isCode(err, wire.PayloadTooLarge) {
		t.Errorf("publish 4097 bytes: %v, want %s", err, wire.PayloadTooLarge)
	}
	for length, want := range map[int]int{4096: http.StatusCreated, 4097: http.StatusRequestEntityTooLarge} {
		if got := s.webPush(h.token, length); got != want {
			t.Errorf("a Web Push of %d bytes is answered %d, want %d", length, got, want)
		}
	}
}

// webPush returns the status that a message of so many encrypted bytes is answered with.
func (s *pushSite) webPush(token string, length int) int {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url()+"/push/"+token, strings.NewReader(strings.Repeat("x", length)))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = http.Header{"Ttl": {"60"}, "Content-Encoding": {"aes128gcm"}}
	resp, err := s.http().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// Limits of the configuration hold, and what is refused by one of them leaves everything else as it was.
func TestPushLimitsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "limits: {frame_bytes: 4096, payload_bytes: 10, backlog: 3, connections: 3, connections_per_account: 2, state_keys: 3, window: 2, login_per_minute: 100}")
	s.node.user("alice")
	s.node.user("bob")
	key := s.node.publisher("newsroom")
	h := s.handset("alice", "phone", "news")
	for i := range 3 {
		s.publish(key, client.Publication{Token: h.token, Data: fmt.Append(nil, i)})
	}
	if _, err := s.tryPublish(key, map[string]any{"token": h.token, "text": "3"}); !isCode(err, wire.BacklogFull) {
		t.Errorf("a fourth message for a terminal that is away: %v, want %s", err, wire.BacklogFull)
	}
	if _, err := s.tryPublish(key, map[string]any{"token": h.token, "text": "11 letters."}); !isCode(err, wire.PayloadTooLarge) {
		t.Errorf("a message of 11 bytes: %v, want %s", err, wire.PayloadTooLarge)
	}
	h.listen(nil)
	if l := h.last.Limits; l != (wire.Limits{FrameBytes: 4096, PayloadBytes: 10, StateKeys: 3, Window: 2}) {
		t.Errorf("the terminal is told of limits %+v, want those of the configuration", l)
	}
	// Two of the three are on their way until one of them is acknowledged.
	first, second := want[*wire.Message](h), want[*wire.Message](h)
	h.beat()
	h.send(&wire.Ack{Seq: []uint64{first.Seq, second.Seq}})
	h.wantMessage("2")
	s.publish(key, client.Publication{Token: h.token, Data: []byte("3")})
	h.wantMessage("3")

	h.send(&wire.State{Set: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}})
	h.wantRefusal(wire.StateInvalid)

	tablet, watch, bob := s.handset("alice", "tablet", "news"), s.handset("alice", "watch", "news"), s.handset("bob", "phone", "news")
	tablet.listen(nil)
	watch.dial()
	watch.send(watch.hello())
	watch.challenged()
	watch.send(watch.confirm())
	watch.wantEnd(wire.TooManyConnections)
	bob.listen(nil)
	watch.dial() // whoever it is: three are there
	watch.wantEnd(wire.TooManyConnections)

	bob.sendText(`{"type":"ack","seq":[` + strings.Repeat("1,", 2100) + `1]}`)
	bob.wantEnd(wire.FrameTooLarge)
	s.publish(key, client.Publication{Token: h.token, Data: []byte("goes on")})
	h.wantMessage("goes on")
}

// Passwords cannot be tried one after the other, and one account's attempts are not another's.
func TestPushLimitOfLogins(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "limits: {login_per_minute: 1}") // more, and one is free again while a busy machine hashes
	s.node.user("alice")
	s.node.user("bob")
	if err := s.stranger("alice", "phone", "news").login("not it"); !isCode(err, wire.LoginFailed) {
		t.Fatalf("login with a wrong password: %v, want %s", err, wire.LoginFailed)
	}
	body, err := json.Marshal(map[string]string{
		"user": "alice", "password": pushPassword, "device": "phone", "app": "news", "client_key": newClientKey(t).Public().String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.http().Post(s.url()+"/v1/login", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode != http.StatusTooManyRequests || err != nil || after < 1 || after > 60 {
		t.Errorf("the second login is answered %s, Retry-After %q, want 429 and up to a minute", resp.Status, resp.Header.Get("Retry-After"))
	}
	if err := s.stranger("bob", "phone", "news").login(pushPassword); err != nil {
		t.Errorf("login of another account: %v", err)
	}
}
