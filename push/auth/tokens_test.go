package auth

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// token asks for the message token of the session's own triple.
func (w *world) token(a *Auth, s *Session) (string, store.Token) {
	w.t.Helper()
	text, tok, err := a.Token(w.ctx, s, s.Claims.Device, s.Claims.App, s.Claims.User)
	if err != nil {
		w.t.Fatalf("Token = %v, want a token", err)
	}
	return text, tok
}

func TestT1SameTripleGetsTheSameToken(t *testing.T) {
	w := newWorld(t)
	a, b := w.node(), w.node()
	w.user("alice")
	text, tok := w.token(a, w.open(a, w.login(a, "alice").session))
	again, same := w.token(b, w.open(b, w.login(b, "alice").session)) // another login, another node
	if again != text || same.Hash != tok.Hash {
		t.Errorf("Token the second time = %q, want %q", again, text)
	}
	if tok.User != "alice" || tok.Device != "phone" || tok.App != "mail" || tok.Hash != store.TokenHash(text) {
		t.Errorf("Token: record %+v, want that of alice, phone and mail", tok)
	}
}

func TestT2EveryTripleHasATokenOfItsOwn(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	w.user("bob")
	seen := map[string]string{}
	for _, c := range [][3]string{{"alice", "phone", "mail"}, {"bob", "phone", "mail"}, {"alice", "tablet", "mail"}, {"alice", "phone", "chat"}, {"alice", "phonem", "ail"}} {
		text, _ := w.token(a, w.open(a, w.loginAs(a, c[0], c[1], c[2]).session))
		if other, twice := seen[text]; twice {
			t.Errorf("Token of %q is that of %s too, want another", c, other)
		}
		seen[text] = c[0] + "/" + c[1] + "/" + c[2]
	}
}

func TestT2TokenOfAnotherTripleIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	w.user("bob")
	s := w.open(a, w.login(a, "alice").session)
	mine, _ := w.token(a, s)
	others := map[string]string{}
	for name, term := range map[string]terminal{
		"another account on the phone": w.login(a, "bob"),
		"another app on the phone":     w.loginAs(a, "alice", "phone", "chat"),
		"another device":               w.loginAs(a, "alice", "tablet", "mail"),
	} {
		others[name], _ = w.token(a, w.open(a, term.session))
	}
	w.unchanged(func() {
		for _, c := range [][3]string{{"phone", "mail", "bob"}, {"phone", "chat", "alice"}, {"tablet", "mail", "alice"}, {"phone", "mail", "Alice"}, {"", "", ""}} {
			text, _, err := a.Token(w.ctx, s, c[0], c[1], c[2])
			if wantCode(t, "Token of "+c[0]+", "+c[1]+" and "+c[2], err, wire.TokenNotYours); text != "" {
				t.Errorf("Token of %q = %q, want none", c, text)
			}
		}
		for name, text := range others {
			tok, err := a.CheckToken(w.ctx, s, text)
			if wantCode(t, "CheckToken of "+name, err, wire.TokenNotYours); tok != (store.Token{}) {
				t.Errorf("CheckToken of %s = %+v, want nothing of it", name, tok)
			}
		}
	})
	if tok, err := a.CheckToken(w.ctx, s, mine); err != nil || tok.Hash != store.TokenHash(mine) {
		t.Errorf("CheckToken of one's own = %+v, %v, want its record", tok, err)
	}
}

// That another's token is revoked or expired is nobody's business.
func TestT2StateOfAnothersTokenIsNotTold(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	w.user("bob")
	text, tok := w.token(a, w.open(a, w.login(a, "bob").session))
	if err := w.store.RevokeToken(w.ctx, tok.Hash); err != nil {
		t.Fatal(err)
	}
	_, err := a.CheckToken(w.ctx, w.open(a, w.login(a, "alice").session), text)
	wantCode(t, "CheckToken of another's revoked token", err, wire.TokenNotYours)
}

func TestT5TokenHas160BitsAndIsStoredHashed(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	text, _ := w.token(a, w.open(a, w.login(a, "alice").session))
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw)*8 < 160 {
		t.Errorf("Token = %q, %d bits (%v), want base64url of at least 160", text, len(raw)*8, err)
	}
	err = filepath.WalkDir(w.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte(text)) || bytes.Contains(data, raw) {
			t.Errorf("%s holds the token in clear, want its hash only", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestT5TokenAuthenticatesNoDevice(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	a.ring.pause = 0 // a message token looks like a session of an unknown key
	text, _ := w.token(a, w.open(a, w.login(a, "alice").session))
	w.unchanged(func() {
		_, err := a.Open(w.ctx, text)
		wantCode(t, "Open of a message token", err, wire.SessionInvalid)
		_, err = a.Publisher(w.ctx, text)
		wantCode(t, "Publisher of a message token", err, wire.Unauthorized)
	})
}

func TestT5UnknownTokenIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	s := w.open(a, w.login(a, "alice").session)
	text, _ := w.token(a, s)
	w.unchanged(func() {
		for _, bad := range []string{"", "x", text + "A", text[1:], store.TokenHash(text), "../" + text, "a b.*>", string(bytes.Repeat([]byte("A"), 1<<16))} {
			_, err := a.CheckToken(w.ctx, s, bad)
			wantCode(t, "CheckToken of "+bad[:min(len(bad), 20)], err, wire.TokenUnknown)
			_, err = a.PushToken(w.ctx, bad)
			wantCode(t, "PushToken of "+bad[:min(len(bad), 20)], err, wire.TokenUnknown)
		}
	})
}

func TestT5RevokedTokenIsRefusedAndReplaced(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	s := w.open(a, w.login(a, "alice").session)
	text, tok := w.token(a, s)
	if err := w.store.RevokeToken(w.ctx, tok.Hash); err != nil {
		t.Fatal(err)
	}
	w.unchanged(func() {
		_, err := a.CheckToken(w.ctx, s, text)
		wantCode(t, "CheckToken", err, wire.TokenRevoked)
		_, err = a.PushToken(w.ctx, text)
		wantCode(t, "PushToken", err, wire.TokenRevoked)
	})
	fresh, _ := w.token(a, s)
	if fresh == text {
		t.Errorf("Token after a revocation = %q as before, want another", fresh)
	}
	if _, err := a.CheckToken(w.ctx, s, fresh); err != nil {
		t.Errorf("CheckToken of the new one = %v, want nil", err)
	}
	_, err := a.PushToken(w.ctx, text)
	wantCode(t, "PushToken of the old one still", err, wire.TokenRevoked)
}

func TestT5TokenExpiresWhenUnused(t *testing.T) {
	w := newWorld(t)
	a := w.node(func(c *Config) { c.TokenIdle, c.SessionLife = 10*day, 1000*day })
	w.user("alice")
	s := w.open(a, w.login(a, "alice").session)
	text, _ := w.token(a, s)
	for range 3 { // asking for it and listening to it are uses
		w.clock.Advance(9 * day)
		if _, err := a.CheckToken(w.ctx, s, text); err != nil {
			t.Fatalf("CheckToken after nine days = %v, want nil", err)
		}
		w.clock.Advance(9 * day)
		if again, _ := w.token(a, s); again != text {
			t.Fatalf("Token after nine days = %q, want %q", again, text)
		}
	}
	for range 2 {
		w.clock.Advance(5 * day)
		w.unchanged(func() { // publishing keeps nothing alive
			if _, err := a.PushToken(w.ctx, text); err != nil {
				t.Fatalf("PushToken after ten days at most = %v, want nil", err)
			}
		})
	}
	w.clock.Advance(day)
	w.unchanged(func() {
		_, err := a.CheckToken(w.ctx, s, text)
		wantCode(t, "CheckToken after eleven days", err, wire.TokenExpired)
		_, err = a.PushToken(w.ctx, text)
		wantCode(t, "PushToken after eleven days", err, wire.TokenExpired)
	})
	if fresh, _ := w.token(a, s); fresh == text {
		t.Errorf("Token after the expiry = %q as before, want another", fresh)
	}
}
