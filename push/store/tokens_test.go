package store

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func tokenOf(t *testing.T, s *Store, user, device, app string) (string, Token) {
	t.Helper()
	text, tok, err := s.TokenOf(t.Context(), user, device, app)
	if err != nil {
		t.Fatalf("TokenOf(%q, %q, %q): %v", user, device, app, err)
	}
	return text, tok
}

func TestT1TheSameTripleGetsTheSameToken(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	texts := make(chan string, 16)
	var wg sync.WaitGroup
	for range cap(texts) {
		wg.Go(func() {
			text, _, err := s.TokenOf(t.Context(), "ann", "phone", "mail")
			if err != nil {
				t.Errorf("TokenOf: %v", err)
			}
			texts <- text
		})
	}
	wg.Wait()
	first := <-texts
	for range cap(texts) - 1 {
		if text := <-texts; text != first {
			t.Errorf("TokenOf = %q and %q, want one token", first, text)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if text, tok := tokenOf(t, open(t, Config{Dir: dir}), "ann", "phone", "mail"); text != first || tok.Hash != TokenHash(first) {
		t.Errorf("TokenOf in another process = %q with hash %s, want %q with hash %s", text, tok.Hash, first, TokenHash(first))
	}
}

func TestT2AnotherTripleGetsAnotherToken(t *testing.T) {
	s := open(t, Config{})
	seen := map[string][3]string{}
	for _, triple := range [][3]string{
		{"ann", "phone", "mail"}, {"bob", "phone", "mail"}, {"ann", "tablet", "mail"}, {"ann", "phone", "chat"},
		{"annp", "hone", "mail"}, {"ann", "phonem", "ail"}, {"", "annphone", "mail"}, {"ann\x00phone", "", "mail"}, {"mail", "phone", "ann"},
	} {
		text, tok := tokenOf(t, s, triple[0], triple[1], triple[2])
		if other, ok := seen[text]; ok {
			t.Errorf("%q and %q have one token", triple, other)
		}
		seen[text] = triple
		if got := [3]string{tok.User, tok.Device, tok.App}; got != triple {
			t.Errorf("TokenOf(%q) is the token of %q", triple, got)
		}
	}
}

func TestT5ATokenIsStoredAsItsHashOnly(t *testing.T) {
	s := open(t, Config{})
	text, tok := tokenOf(t, s, "ann", "phone", "mail")
	publish(t, s, Message{ID: "1", Token: tok.Hash, Data: []byte("x")})
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw)*8 < 160 {
		t.Errorf("token %q has %d bits, want at least 160", text, len(raw)*8)
	}
	for _, secret := range [][]byte{[]byte(text), raw} {
		if found := filesWith(t, s.cfg.Dir, secret); found != "" {
			t.Errorf("the token is in clear in %s", found)
		}
	}
	if got, err := s.Token(t.Context(), TokenHash(text)); err != nil || got != tok {
		t.Errorf("Token = %+v, %v, want %+v", got, err, tok)
	}
	_, err = s.Token(t.Context(), TokenHash("another"))
	wantError(t, "Token of an unknown hash", err, ErrNotFound)
}

func TestT5ARevokedTokenIsReplaced(t *testing.T) {
	s, ctx := open(t, Config{}), t.Context()
	var r recorder
	sub := subscribe(t, s, &r)
	text, tok := tokenOf(t, s, "ann", "phone", "mail")
	publish(t, s, Message{ID: "1", Token: tok.Hash, Data: []byte("x")})
	if err := s.PutTerminal(ctx, tok.Hash, Terminal{Node: "n"}); err != nil {
		t.Fatal(err)
	}
	wantError(t, "RevokeToken of an unknown hash", s.RevokeToken(ctx, hash(1)), ErrNotFound)
	if err := s.RevokeToken(ctx, tok.Hash); err != nil {
		t.Fatalf("RevokeToken: %v", err)
	}
	eventually(t, "all nodes are told", func() bool { return r.has(Event{Kind: TokenRevoked, Key: tok.Hash}) })
	if got, err := s.Token(ctx, tok.Hash); err != nil || !got.Revoked {
		t.Errorf("Token after RevokeToken = %+v, %v, want it revoked", got, err)
	}
	if got, err := s.Backlog(ctx, TokenFilter(tok.Hash), 0, sub.Last(), 10); err != nil || len(got) != 0 {
		t.Errorf("Backlog of a revoked token = %v, %v, want nothing", got, err)
	}
	_, err := s.Terminal(ctx, tok.Hash)
	wantError(t, "Terminal of a revoked token", err, ErrNotFound)
	again, replaced := tokenOf(t, s, "ann", "phone", "mail")
	if again == text || replaced.Revoked {
		t.Errorf("TokenOf after RevokeToken = %q, revoked %t, want another than %q", again, replaced.Revoked, text)
	}
	if third, _ := tokenOf(t, s, "ann", "phone", "mail"); third != again {
		t.Errorf("TokenOf = %q, then %q, want the same", again, third)
	}
}

func TestT5ATokenIsTouchedOnceADay(t *testing.T) {
	now := noon
	s := open(t, Config{Now: func() time.Time { return now }})
	_, tok := tokenOf(t, s, "ann", "phone", "mail")
	writes := func(at time.Time) bool {
		before, err := s.Token(t.Context(), tok.Hash)
		if err == nil {
			err = s.TouchToken(t.Context(), tok, at)
		}
		after, err2 := s.Token(t.Context(), tok.Hash)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		return before.Revision != after.Revision
	}
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{time.Minute, false}, {11 * time.Hour, false}, {13 * time.Hour, true}, {14 * time.Hour, false}, {72 * time.Hour, true}, {time.Hour, false}} {
		if got := writes(noon.Add(c.after)); got != c.want {
			t.Errorf("TouchToken %s after noon writes = %t, want %t", c.after, got, c.want)
		}
	}
}

func TestT5UnusedTokensAreSwept(t *testing.T) {
	now := noon
	s, ctx := open(t, Config{Now: func() time.Time { return now }}), t.Context()
	idle := 90 * 24 * time.Hour
	oldText, old := tokenOf(t, s, "ann", "old", "mail")
	usedText, used := tokenOf(t, s, "ann", "used", "mail")
	_, revoked := tokenOf(t, s, "ann", "revoked", "mail")
	if err := s.RevokeToken(ctx, revoked.Hash); err != nil {
		t.Fatal(err)
	}
	seq := publish(t, s, Message{ID: "1", Token: old.Hash, Data: []byte("x")})
	now = noon.Add(idle - 24*time.Hour)
	if n, err := s.SweepTokens(ctx, idle); n != 0 || err != nil {
		t.Errorf("SweepTokens a day early = %d, %v, want 0", n, err)
	}
	if err := s.TouchToken(ctx, used, now); err != nil {
		t.Fatal(err)
	}
	now = noon.Add(idle + 24*time.Hour)
	newText, _ := tokenOf(t, s, "ann", "new", "mail")
	if n, err := s.SweepTokens(ctx, idle); n != 2 || err != nil {
		t.Errorf("SweepTokens = %d, %v, want the unused and the revoked one", n, err)
	}
	for name, hash := range map[string]string{"unused": old.Hash, "revoked": revoked.Hash} {
		_, err := s.Token(ctx, hash)
		wantError(t, "Token of the "+name+" one", err, ErrNotFound)
	}
	_, err := s.Message(ctx, seq)
	wantError(t, "Message under a swept token", err, ErrNotFound)
	for device, want := range map[string]string{"used": usedText, "new": newText} {
		if text, _ := tokenOf(t, s, "ann", device, "mail"); text != want {
			t.Errorf("TokenOf %s after the sweep = %q, want %q as before", device, text, want)
		}
	}
	if text, _ := tokenOf(t, s, "ann", "old", "mail"); text == oldText {
		t.Error("TokenOf after the sweep is the swept token, want another")
	}
}

// An operator pastes a token behind `pushd token revoke`.
func TestNoTokenLooksLikeAnOption(t *testing.T) {
	s := open(t, Config{})
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 50 { // without care, one in 64 does
				text, _, err := s.TokenOf(t.Context(), "ann", fmt.Sprintf("phone %d-%d", worker, i), "mail")
				if err != nil || text[0] == '-' {
					t.Errorf("TokenOf = %q, %v, want a token that begins with no hyphen", text, err)
				}
			}
		})
	}
	group.Wait()
}

func TestTokenHashTakesAnyText(t *testing.T) {
	for _, text := range []string{"", "*", ">", "a.b", strings.Repeat("x", 1<<20), "\x00"} {
		if got := TokenHash(text); len(got) != 64 {
			t.Errorf("TokenHash(%.10q) = %q, want 64 digits", text, got)
		}
	}
	for _, hash := range []string{"", "*", ">", "a.b.>", "zz", hash(1)} {
		filter := TokenFilter(hash)
		parts := strings.Split(filter, ".")
		if len(parts) != 4 || parts[0] != "m" || parts[1] != "t" || len(parts[2]) != 43 || strings.ContainsAny(parts[2], "*>") || parts[3] != ">" {
			t.Errorf("TokenFilter(%q) = %q, want m.t., 43 digits and .>", hash, filter)
		}
	}
}
