package auth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

func TestK2SessionStandsForThePassword(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	var s *Session
	w.unchanged(func() { s = w.open(a, term.session) })
	want := keys.Claims{
		User: "alice", Device: "phone", App: "mail", STime: term.sTime, ID: s.Record.ID,
		Expires: term.sTime + 30*24*3600*1000, Thumbprint: term.key.Public().Thumbprint(),
	}
	if s.Claims != want {
		t.Errorf("Open: claims %+v, want %+v", s.Claims, want)
	}
	if s.Client != term.key.Public() || s.Renewed || s.Server.ID() != a.ring.get().Current().ID() {
		t.Errorf("Open: client key %s, renewed %t, server key %s, want the login's", s.Client, s.Renewed, s.Server.ID())
	}
}

// Anybody can seal to a public key; only a server can make the MAC.
func TestK2ForgedBySealingToThePublicKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	s := w.open(a, w.login(a, "alice").session)
	thief := newKey(t)
	claims := s.Claims
	claims.Thumbprint = thief.Public().Thumbprint()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	mac := make([]byte, 32)
	rand.Read(mac)
	sealed, err := s.Server.Private.Public().Seal("keyhole-push.v1 session", append(text, mac...))
	if err != nil {
		t.Fatal(err)
	}
	kid := s.Server.ID()
	w.unchanged(func() {
		_, err := a.Open(w.ctx, base64.RawURLEncoding.EncodeToString(append(kid[:], sealed...)))
		wantCode(t, "Open of forged claims", err, wire.SessionInvalid)
		if !errors.Is(err, keys.ErrForged) {
			t.Errorf("Open of forged claims = %v, want ErrForged in it for the log", err)
		}
	})
}

func TestK2WhatIsNoSessionIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	a.ring.pause = 0 // ids of no key are among these
	w.user("alice")
	good := w.login(a, "alice").session
	w.unchanged(func() {
		for _, bad := range []string{"", "x", "=", good[:20], good[:len(good)-4], good + "AAAA", good + "\n", strings.ToUpper(good), strings.Repeat("A", 4096), strings.Repeat("A", 1<<20)} {
			_, err := a.Open(w.ctx, bad)
			wantCode(t, "Open of "+bad[:min(len(bad), 30)], err, wire.SessionInvalid)
		}
	})
}

func TestK2SessionExpires(t *testing.T) {
	w := newWorld(t)
	a := w.node(func(c *Config) { c.SessionLife = time.Hour })
	w.user("alice")
	term := w.login(a, "alice")
	w.clock.Advance(time.Hour - time.Millisecond)
	w.open(a, term.session)
	w.clock.Advance(time.Millisecond)
	w.unchanged(func() {
		_, err := a.Open(w.ctx, term.session)
		wantCode(t, "Open at the expiry", err, wire.SessionExpired)
	})
}

func TestK2LoggedOutSessionIsRevoked(t *testing.T) {
	w := newWorld(t)
	a, b := w.node(), w.node()
	w.user("alice")
	gone, stays := w.login(a, "alice"), w.login(a, "alice")
	if err := a.Logout(w.ctx, w.open(a, gone.session)); err != nil {
		t.Fatalf("Logout = %v, want nil", err)
	}
	w.unchanged(func() {
		for _, node := range []*Auth{a, b} {
			_, err := node.Open(w.ctx, gone.session)
			wantCode(t, "Open after Logout", err, wire.SessionRevoked)
		}
	})
	w.open(b, stays.session)
}

func TestK2OperatorRevokesSessionsOfOneUser(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	w.user("bob")
	first, second, other := w.login(a, "alice"), w.loginAs(a, "alice", "tablet", "chat"), w.login(a, "bob")
	if err := w.store.RevokeSessions(w.ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	for _, term := range []terminal{first, second} {
		_, err := a.Open(w.ctx, term.session)
		wantCode(t, "Open after RevokeSessions", err, wire.SessionRevoked)
	}
	w.open(a, other.session)
}

func TestK2SessionsOfADisabledAccountAreRefused(t *testing.T) {
	w := newWorld(t)
	a, b := w.node(), w.node()
	w.user("alice")
	w.user("bob")
	term, other := w.login(a, "alice"), w.login(a, "bob")
	for range 2 { // the second time is how an operator repeats what failed half way
		if err := a.DisableUser(w.ctx, "alice"); err != nil {
			t.Fatalf("DisableUser = %v, want nil", err)
		}
	}
	w.unchanged(func() {
		_, err := b.Open(w.ctx, term.session)
		wantCode(t, "Open", err, wire.AccountDisabled)
	})
	w.open(b, other.session)
}

// Such tokens are sealed by the servers' own keys: after a back-up of the store
// was put back, records may be older than tokens, or gone.
func TestK2TokenThatDoesNotFitItsRecordIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	good := w.open(a, w.login(a, "alice").session).Claims
	for _, c := range []struct {
		name string
		set  func(*keys.Claims)
		want wire.Code
	}{
		{"record gone", func(c *keys.Claims) { c.ID = "0123456789abcdef0123456789abcdef" }, wire.SessionRevoked},
		{"another user", func(c *keys.Claims) { c.User = "bob" }, wire.SessionInvalid},
		{"another device", func(c *keys.Claims) { c.Device = "tablet" }, wire.SessionInvalid},
		{"another app", func(c *keys.Claims) { c.App = "chat" }, wire.SessionInvalid},
		{"another key", func(c *keys.Claims) { c.Thumbprint[0]++ }, wire.SessionInvalid},
		{"another time", func(c *keys.Claims) { c.STime++ }, wire.SessionInvalid},
		{"an epoch ahead", func(c *keys.Claims) { c.Epoch++ }, wire.SessionStale},
		{"the last epoch there can be but one", func(c *keys.Claims) { c.Epoch = 1<<64 - 2 }, wire.SessionStale},
	} {
		claims := good
		c.set(&claims)
		token, err := a.ring.get().Seal(claims)
		if err != nil {
			t.Fatal(err)
		}
		w.unchanged(func() {
			_, err := a.Open(w.ctx, token)
			wantCode(t, c.name+": Open", err, c.want)
		})
	}
}

// A token that was stolen opens, since it is shown to the server in clear; what
// the thief cannot do is prove the key in it.
func TestK2StolenTokenProvesNothing(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term, thief := w.login(a, "alice"), newKey(t)
	e := exchange(w.open(a, term.session), term.session)
	stolen := *e
	stolen.Client = thief.Public() // or ClientProof would not even sign
	proof, err := stolen.ClientProof(thief)
	if err != nil {
		t.Fatal(err)
	}
	if e.VerifyClient(proof) {
		t.Error("a proof by another key holds for the session, want none to")
	}
	if proof, err = e.ClientProof(term.key); err != nil || !e.VerifyClient(proof) {
		t.Errorf("the proof by the session's key does not hold (%v)", err)
	}
}

// exchange is the mutual verification of a terminal that shows token, as the
// server knows it.
func exchange(s *Session, token string) *wire.Exchange {
	return &wire.Exchange{
		Offered: []string{wire.Subprotocol}, Supported: []string{wire.Subprotocol}, Version: wire.Subprotocol,
		ClientToken: []byte("client token"), ServerToken: []byte("server token"),
		User: s.Claims.User, Device: s.Claims.Device, App: s.Claims.App, Session: token,
		Client: s.Client, Server: s.Server.Private.Public(), Binding: wire.BindingNone,
	}
}

// What the store has not answered is neither yes nor no.
func TestStoreThatDoesNotAnswerIsNoVerdict(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	s := w.open(a, term.session)
	text, _ := w.token(a, s)
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	for what, call := range map[string]func() error{
		"Open":            func() error { _, err := a.Open(ctx, term.session); return err },
		"Renew":           func() error { _, _, err := a.Renew(ctx, s, w.renewal(s, term).sign(w)); return err },
		"Logout":          func() error { return a.Logout(ctx, s) },
		"Token":           func() error { _, _, err := a.Token(ctx, s, "phone", "mail", "alice"); return err },
		"CheckToken":      func() error { _, err := a.CheckToken(ctx, s, text); return err },
		"PushToken":       func() error { _, err := a.PushToken(ctx, text); return err },
		"CreateUser":      func() error { return a.CreateUser(ctx, "bob", password) },
		"DisableUser":     func() error { return a.DisableUser(ctx, "alice") },
		"CreatePublisher": func() error { _, err := a.CreatePublisher(ctx, "shop", nil); return err },
		"Publisher":       func() error { _, err := a.Publisher(ctx, "x"); return err },
		"New":             func() error { _, err := New(ctx, Config{Store: w.store}); return err },
	} {
		w.unchanged(func() { wantCode(t, what, call(), wire.StoreUnavailable) })
	}
	_, _, err := a.user(ctx, "alice")
	wantCode(t, "user", err, wire.StoreUnavailable)
}

// Only a session that is sealed to a key of this node is known, whatever else
// is wrong with it.
func TestKnowsIsOfTheKeyAlone(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	session := w.login(a, "alice").session
	for text, want := range map[string]bool{session: true, "": false, "!": false, "AAAAAAAAAAAA" + session[12:]: false} {
		if got := a.Knows(text); got != want {
			t.Errorf("Knows(%.20q) = %v, want %v", text, got, want)
		}
	}
}
