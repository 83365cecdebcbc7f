package store

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// TestBackup copies a closed folder and opens the copy.
func TestBackup(t *testing.T) {
	ctx := t.Context()
	s := open(t, Config{})
	text, tok := tokenOf(t, s, "ann", "phone", "mail")
	message := Message{ID: "1", Token: tok.Hash, Data: []byte("hello"), Publisher: "web"}
	message.Seq = publish(t, s, message)
	toApp := publish(t, s, Message{ID: "2", App: "mail", Version: EveryVersion})
	user, publisher := User{Name: "ann", Password: "$argon2id$", Created: noon}, Publisher{Name: "web", Hash: TokenHash("pk"), Created: noon}
	session, err := s.CreateSession(ctx, Session{ID: "s", User: "ann", Expires: time.Now().Add(time.Hour).UnixMilli()})
	terminal := Terminal{Node: "n", Seen: noon, State: map[string]string{"network": "wifi"}}
	for _, err := range []error{
		err, s.CreateUser(ctx, user), s.CreatePublisher(ctx, publisher), s.SaveRing(ctx, []byte("ring"), 0), s.PutTerminal(ctx, tok.Hash, terminal), s.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}

	copied := filepath.Join(t.TempDir(), "restored")
	if err := os.CopyFS(copied, os.DirFS(s.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	r := open(t, Config{Dir: copied})
	check := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s in the copy = %+v, %v, want %+v", what, got, err, want)
		}
	}
	gotUser, err := r.User(ctx, "ann")
	check("User", gotUser, user, err)
	gotPublisher, err := r.Publisher(ctx, publisher.Hash)
	check("Publisher", gotPublisher, publisher, err)
	gotSession, err := r.Session(ctx, "s")
	check("Session", gotSession, session, err)
	gotText, gotToken, err := r.TokenOf(ctx, "ann", "phone", "mail")
	check("text of TokenOf", gotText, text, err)
	check("TokenOf", gotToken, tok, err)
	gotTerminal, err := r.Terminal(ctx, tok.Hash)
	check("Terminal", gotTerminal, terminal, err)
	ring, _, err := r.LoadRing(ctx)
	check("LoadRing", string(ring), "ring", err)
	found, err := r.Backlog(ctx, TokenFilter(tok.Hash), 0, 1<<62, 10)
	check("Backlog of the token", seqs(found), []uint64{message.Seq}, err)
	found, err = r.Backlog(ctx, AppSubjects("mail", "1")[1], 0, 1<<62, 10)
	check("Backlog of the app", seqs(found), []uint64{toApp}, err)
	seq, duplicate, err := r.Publish(ctx, message)
	check("Publish of a stored id", seq, message.Seq, err)
	check("duplicate", duplicate, true, err)
}
