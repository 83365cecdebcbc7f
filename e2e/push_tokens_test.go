package e2e

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"keyhole/push/client"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// T1: who asks with device, app and account gets a token, and for the same three the same.
func TestT1SameTripleGetsTheSameToken(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	first := s.handset("alice", "phone", "news").token
	h := s.handset("alice", "phone", "news") // logged in anew
	if h.token != first {
		t.Errorf("after another login the token is %q, want %q", h.token, first)
	}
	s.node.Stop()
	s.node.start()
	h.askToken()
	if h.token != first {
		t.Errorf("after a restart the token is %q, want %q", h.token, first)
	}
	for _, other := range [][3]string{{"bob", "phone", "news"}, {"alice", "tablet", "news"}, {"alice", "phone", "bank"}} {
		if token, err := h.tokenOf(other[0], other[1], other[2]); !isCode(err, wire.TokenNotYours) {
			t.Errorf("the session of alice, phone, news asks for the token of %q: %q, %v, want %s", other, token, err, wire.TokenNotYours)
		}
	}
}

// T2: another account on the same phone, or another app on it, has another token, and gets nothing of this one's.
func TestT2TokenBelongsToOneTriple(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	s.node.user("bob")
	key := s.node.publisher("newsroom")
	alice := s.handset("alice", "phone", "news")
	s.publish(key, client.Publication{Token: alice.token, Data: []byte("for alice's news")})
	others := map[string]*handset{
		"another account": s.handset("bob", "phone", "news"),
		"another app":     s.handset("alice", "phone", "bank"),
		"another device":  s.handset("alice", "tablet", "news"),
	}
	for what, h := range others {
		if h.token == alice.token {
			t.Errorf("%s has the same token", what)
		}
		if got, err := h.stored(alice.token); !isCode(err, wire.TokenNotYours) {
			t.Errorf("%s pulls %+v, %v, want %s", what, got, err, wire.TokenNotYours)
		}
		h.verify()
		h.send(&wire.Listen{Token: alice.token})
		h.wantEnd(wire.TokenNotYours)
		s.publish(key, client.Publication{Token: h.token, Data: []byte("for " + what)})
		h.listen(nil)
		h.wantMessage("for " + what) // and not what was published before it
	}
	alice.listen(nil)
	alice.wantMessage("for alice's news")
	s.publish(key, client.Publication{App: "bank", Version: "*", Data: []byte("for all of the bank")})
	s.publish(key, client.Publication{App: "news", Version: "*", Data: []byte("for all of the news")})
	alice.wantMessage("for all of the news")
	others["another app"].wantMessage("for all of the bank")
}

// T3: a message is saved under a token, or once for every terminal of an app in a version.
func TestT3OneCopyServesEveryTerminalOfAVersion(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	var phones, older []*handset
	for _, device := range []string{"one", "two", "three"} {
		phones = append(phones, s.handset("alice", device, "news"))
	}
	older = append(older, s.handset("alice", "four", "news"), s.handset("alice", "five", "bank"))
	older[0].version = "0.9"
	all := slices.Concat(phones, older)
	for _, h := range all[:4] {
		h.listen(nil)
	}
	s.publish(key, client.Publication{App: "news", Version: "1.0", Data: []byte("to version 1.0 of news")})
	if got := s.node.metric("pushd_store_messages"); got != "1" {
		t.Errorf("pushd_store_messages = %s, want one copy for %d terminals", got, len(phones))
	}
	phones[2].hangUp() // it may have it or not
	phones[2].listen(nil)
	for _, h := range phones {
		if m := h.wantMessage("to version 1.0 of news"); m.To != "app" {
			t.Errorf("the message is to %q, want app", m.To)
		}
	}
	for _, h := range all {
		s.publish(key, client.Publication{Token: h.token, Data: []byte("to " + h.device)})
	}
	all[4].listen(nil)
	for _, h := range all {
		if m := h.wantMessage("to " + h.device); m.To != "token" {
			t.Errorf("the message is to %q, want token", m.To)
		}
	}
	s.node.metricBecomes("pushd_store_messages", "1")
}

// T4: a terminal that comes with its token gets what is stored for it, and for its app and version.
func TestT4PullGetsWhatIsStored(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	h := s.handset("alice", "phone", "news")
	s.publish(key, client.Publication{Token: h.token, Data: []byte("to the token")})
	s.publish(key, client.Publication{App: "news", Version: "1.0", Data: []byte("to the version")})
	s.publish(key, client.Publication{App: "news", Version: "2.0", Data: []byte("to another version")})
	s.publish(key, client.Publication{App: "bank", Version: "1.0", Data: []byte("to another app")})
	s.publish(key, client.Publication{App: "news", Version: "*", Data: []byte("to every version")})
	pulled, err := h.stored(h.token)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, m := range pulled {
		texts = append(texts, string(m.Data))
	}
	if want := []string{"to the token", "to the version", "to every version"}; !slices.Equal(texts, want) {
		t.Errorf("pulled %q, want %q", texts, want)
	}

	// The client that apps embed pulls and acknowledges the same, without a connection that stays.
	c := s.config("alice", "phone", "news")
	c.OnMessage = nil
	p, err := client.New(c)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := p.Pull(t.Context())
	if err != nil || len(messages) != 3 {
		t.Fatalf("Pull = %+v, %v, want 3 messages", messages, err)
	}
	if err := p.Acknowledge(t.Context(), messages...); err != nil {
		t.Fatal(err)
	}
	if again, err := h.stored(h.token); err != nil || len(again) != 0 {
		t.Errorf("after the acknowledgement there are %+v, %v, want none", again, err)
	}
}

// T5: a token is an address of 256 random bits that nothing on the disk tells, and no credential.
func TestT5TokenIsAnAddressAndStoredHashed(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	h := s.handset("alice", "phone", "news")
	raw, err := base64.RawURLEncoding.DecodeString(h.token)
	if err != nil || len(raw) < 20 {
		t.Errorf("token %q has %d bytes (%v), want 20 or more in base64url", h.token, len(raw), err)
	}
	if other := s.handset("alice", "tablet", "news").token; other[:8] == h.token[:8] {
		t.Errorf("tokens %q and %q begin alike", h.token, other)
	}
	h.listen(nil)
	s.publish(key, client.Publication{Token: h.token, Data: []byte("a needle in the store")})
	h.hangUp()

	for name, authorization := range map[string]string{"none": "", "bearer": "Bearer " + h.token, "DPoP": "DPoP " + h.token} {
		header := http.Header{"Authorization": {authorization}}
		for method, path := range map[string]string{http.MethodGet: "/v1/messages?token=" + h.token, http.MethodPost: "/v1/tokens", http.MethodDelete: "/v1/session"} {
			if err := h.request(header, method, path, map[string]string{"device": "phone", "app": "news", "account": "alice"}, nil); !isCode(err, wire.Unauthorized) && !isCode(err, wire.SessionInvalid) && !isCode(err, wire.ProofInvalid) {
				t.Errorf("%s %s with the token as %s: %v, want a refusal of the credential", method, path, name, err)
			}
		}
	}
	if _, err := s.tryPublish(h.token, map[string]any{"token": h.token, "text": "x"}); !isCode(err, wire.Unauthorized) {
		t.Errorf("publish with the token as the key: %v, want %s", err, wire.Unauthorized)
	}
	h.session, h.key = h.token, newClientKey(t)
	h.dial()
	h.send(h.hello())
	h.wantEnd(wire.SessionInvalid)

	s.node.Terminate()
	if !inFolder(t, s.node.dir, []byte("a needle in the store")) {
		t.Error("the message is not found in the data folder: what does this test look through?")
	}
	if inFolder(t, s.node.dir, []byte(h.token)) || inFolder(t, s.node.dir, raw) {
		t.Error("the token stands in the data folder")
	}
}

// inFolder reports whether a file of a folder has this in it.
func inFolder(t *testing.T, dir string, what []byte) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, what)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// T5: a revoked token is worthless at once, also on a live connection, and one that nobody uses expires.
func TestT5TokenIsRevokedAndExpires(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "tokens: {idle: 240h}")
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	h, neighbour := s.handset("alice", "phone", "news"), s.handset("alice", "tablet", "news")
	h.listen(nil)
	neighbour.listen(nil)
	s.publish(key, client.Publication{Token: h.token, Data: []byte("before")})
	want[*wire.Message](h) // and no acknowledgement
	s.node.pushd("token", "revoke", h.token)
	h.wantEnd(wire.TokenRevoked)
	publish := func(token string, want wire.Code) {
		t.Helper()
		if _, err := s.tryPublish(key, map[string]any{"token": token, "text": "x"}); !isCode(err, want) {
			t.Errorf("publish: %v, want %s", err, want)
		}
	}
	publish(h.token, wire.TokenRevoked)
	if got, err := h.stored(h.token); !isCode(err, wire.TokenRevoked) {
		t.Errorf("pull of a revoked token: %+v, %v, want %s", got, err, wire.TokenRevoked)
	}
	revoked := h.token
	h.askToken()
	if h.token == revoked {
		t.Error("after the revocation the token is the same")
	}
	h.listen(nil)
	s.publish(key, client.Publication{Token: h.token, Data: []byte("after")})
	h.wantMessage("after")
	s.publish(key, client.Publication{Token: neighbour.token, Data: []byte("untouched")})
	neighbour.wantMessage("untouched")

	h.hangUp()
	neighbour.hangUp()
	s.node.Terminate()
	s.node.unused(h.token, 12*24*time.Hour)
	s.node.start()
	publish(h.token, wire.TokenExpired)
	expired := h.token
	h.askToken()
	if h.token == expired {
		t.Error("after it has expired the token is the same")
	}
	publish(expired, wire.TokenRevoked)
	s.publish(key, client.Publication{Token: neighbour.token, Data: []byte("in use")})
}

// unused makes a token of a node that has stopped look as if nobody had used it for so long.
func (n *pushNode) unused(token string, age time.Duration) {
	n.t.Helper()
	s, err := store.Open(n.t.Context(), store.Config{Dir: n.dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		n.t.Fatal(err)
	}
	record, err := s.Token(n.t.Context(), store.TokenHash(token))
	if err == nil {
		record.Used = record.Used.Add(-age)
		_, err = s.UpdateToken(n.t.Context(), record)
	}
	if err != nil {
		n.t.Error(err)
	}
	if err := s.Close(); err != nil {
		n.t.Error(err)
	}
}
