package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// wantError checks an error against the one that it ought to wrap.
func wantError(t *testing.T, call string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", call, err, want)
	}
}

func TestUsers(t *testing.T) {
	s, ctx := open(t, Config{}), t.Context()
	var r recorder
	subscribe(t, s, &r)
	ann := User{Name: "ann", Password: "$argon2id$", Created: noon}
	odd := User{Name: "*.> ü\x00\n", Password: "$argon2id$", Created: noon}

	_, err := s.User(ctx, "ann")
	wantError(t, "User of nobody", err, ErrNotFound)
	wantError(t, "UpdateUser of nobody", s.UpdateUser(ctx, ann), ErrNotFound)
	for _, u := range []User{odd, ann} {
		if err := s.CreateUser(ctx, u); err != nil {
			t.Fatalf("CreateUser(%q): %v", u.Name, err)
		}
	}
	other := ann
	other.Password = "$argon2id$ another"
	wantError(t, "CreateUser a second time", s.CreateUser(ctx, other), ErrExists)
	if got, err := s.User(ctx, "ann"); err != nil || got != ann {
		t.Errorf("User(ann) = %+v, %v, want %+v", got, err, ann)
	}
	if got, err := s.Users(ctx); err != nil || !reflect.DeepEqual(got, []User{odd, ann}) {
		t.Errorf("Users() = %+v, %v, want %+v", got, err, []User{odd, ann})
	}
	ann.Disabled = true
	if err := s.UpdateUser(ctx, ann); err != nil {
		t.Fatalf("UpdateUser: %v", err)
	}
	eventually(t, "all nodes are told of the disabled account", func() bool { return r.has(Event{Kind: UserDisabled, Key: "ann"}) })
	if got, _ := s.User(ctx, "ann"); !got.Disabled {
		t.Error("User(ann).Disabled = false after UpdateUser, want true")
	}
}

func TestPublishers(t *testing.T) {
	s, ctx := open(t, Config{}), t.Context()
	web := Publisher{Name: "web", Hash: TokenHash("pk_1"), Apps: []string{"mail"}, Created: noon}
	wantError(t, "RevokePublisher of nobody", s.RevokePublisher(ctx, "web"), ErrNotFound)
	if err := s.CreatePublisher(ctx, web); err != nil {
		t.Fatalf("CreatePublisher: %v", err)
	}
	again := Publisher{Name: "web", Hash: TokenHash("pk_2"), Created: noon}
	wantError(t, "CreatePublisher of the same name", s.CreatePublisher(ctx, again), ErrExists)
	if got, err := s.Publisher(ctx, web.Hash); err != nil || !reflect.DeepEqual(got, web) {
		t.Errorf("Publisher = %+v, %v, want %+v", got, err, web)
	}
	if err := s.RevokePublisher(ctx, "web"); err != nil {
		t.Fatalf("RevokePublisher: %v", err)
	}
	if got, err := s.Publisher(ctx, web.Hash); err != nil || !got.Revoked {
		t.Errorf("Publisher after RevokePublisher = %+v, %v, want it revoked", got, err)
	}
	if err := s.CreatePublisher(ctx, again); err != nil {
		t.Errorf("CreatePublisher after the name's was revoked: %v", err)
	}
	list, err := s.Publishers(ctx)
	if err != nil || len(list) != 2 {
		t.Errorf("Publishers() = %+v, %v, want the revoked one and the new one", list, err)
	}
}

func TestSessions(t *testing.T) {
	s, ctx := open(t, Config{}), t.Context()
	var r recorder
	subscribe(t, s, &r)
	make := func(id, user string) Session {
		n, err := s.CreateSession(ctx, Session{ID: id, User: user, Key: "k", Expires: time.Now().Add(time.Hour).UnixMilli()})
		if err != nil {
			t.Fatalf("CreateSession: %v", err)
		}
		return n
	}
	a, b, other := make("a", "ann"), make("b", "ann"), make("c", "bob")
	if got, err := s.Session(ctx, "a"); err != nil || got != a {
		t.Errorf("Session(a) = %+v, %v, want %+v", got, err, a)
	}
	twice := a
	twice.Key = "another"
	_, err := s.CreateSession(ctx, twice)
	wantError(t, "CreateSession a second time", err, ErrExists)

	renewed := b
	renewed.Epoch++
	renewed, err = s.UpdateSession(ctx, renewed)
	if err != nil || renewed.Revision == b.Revision {
		t.Errorf("UpdateSession = %+v, %v, want another revision than %d", renewed, err, b.Revision)
	}
	_, err = s.UpdateSession(ctx, b)
	wantError(t, "UpdateSession of an old revision", err, ErrConflict)
	if got, _ := s.Session(ctx, "b"); got != renewed {
		t.Errorf("Session(b) = %+v, want the first update, %+v", got, renewed)
	}

	wantError(t, "RevokeSession of none", s.RevokeSession(ctx, "x"), ErrNotFound)
	if err := s.RevokeSessions(ctx, "ann"); err != nil {
		t.Fatalf("RevokeSessions: %v", err)
	}
	for _, id := range []string{"a", "b"} {
		if got, err := s.Session(ctx, id); err != nil || !got.Revoked {
			t.Errorf("Session(%s) = %+v, %v, want it revoked", id, got, err)
		}
		eventually(t, "all nodes are told", func() bool { return r.has(Event{Kind: SessionRevoked, Key: id}) })
	}
	if got, err := s.Session(ctx, "c"); err != nil || got != other {
		t.Errorf("Session(c) of another user = %+v, %v, want %+v", got, err, other)
	}
}

func TestASessionIsForgottenAfterItsExpiry(t *testing.T) {
	s := open(t, Config{})
	s.cfg.Now = func() time.Time { return time.Now().Add(2 * sessionLinger) }
	n := Session{ID: "a", User: "ann", Expires: time.Now().UnixMilli()}
	if got, want := s.sessionTTL(n), sessionLinger; got != want {
		t.Errorf("sessionTTL of an expired session = %s, want %s", got, want)
	}
	key := "x"
	if _, err := s.put(t.Context(), records, key, []byte("x"), create, time.Nanosecond); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a record expires", func() bool {
		_, err := s.get(t.Context(), records, key)
		return errors.Is(err, ErrNotFound)
	})
}

func TestConcurrentChangesAreAllMade(t *testing.T) {
	s, ctx := open(t, Config{}), t.Context()
	if err := s.CreateUser(ctx, User{Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			err := change(ctx, s, userKey("ann"), func(u *User) bool {
				u.Password += "x"
				return true
			})
			if err != nil {
				t.Errorf("change: %v", err)
			}
		})
	}
	wg.Wait()
	if got, _ := s.User(ctx, "ann"); len(got.Password) != 10 {
		t.Errorf("%d of 10 changes were made", len(got.Password))
	}
}

func TestTerminals(t *testing.T) {
	s, ctx := open(t, Config{}), t.Context()
	_, err := s.Terminal(ctx, hash(1))
	wantError(t, "Terminal of none", err, ErrNotFound)
	want := Terminal{
		State: map[string]string{"network": "wifi"}, AppVersion: "2.1", Node: "n1", Seen: noon,
		Cursors: map[string]Cursor{AppSubjects("mail", "2.1")[0]: {Floor: 7, Above: []uint64{9, 11}}},
	}
	for range 2 {
		if err := s.PutTerminal(ctx, hash(1), want); err != nil {
			t.Fatalf("PutTerminal: %v", err)
		}
		want.Node += "x"
	}
	want.Node = "n1x"
	if got, err := s.Terminal(ctx, hash(1)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Terminal = %+v, %v, want %+v", got, err, want)
	}
}

func TestRing(t *testing.T) {
	s, ctx := open(t, Config{}), t.Context()
	_, _, err := s.LoadRing(ctx)
	wantError(t, "LoadRing of none", err, ErrNotFound)
	plain := []byte("the private keys of the server")
	if err := s.SaveRing(ctx, plain, 0); err != nil {
		t.Fatalf("SaveRing: %v", err)
	}
	wantError(t, "SaveRing where one is", s.SaveRing(ctx, []byte("x"), 0), ErrConflict)
	data, revision, err := s.LoadRing(ctx)
	if err != nil || !bytes.Equal(data, plain) {
		t.Fatalf("LoadRing = %q, %v, want %q", data, err, plain)
	}
	if err := s.SaveRing(ctx, []byte("rotated"), revision); err != nil {
		t.Fatalf("SaveRing of the revision: %v", err)
	}
	wantError(t, "SaveRing of an old revision", s.SaveRing(ctx, []byte("x"), revision), ErrConflict)
	if found := filesWith(t, s.cfg.Dir, plain); found != "" {
		t.Errorf("the key ring is in clear in %s", found)
	}
}

// filesWith returns a file below dir that holds text, or "".
func filesWith(t *testing.T, dir string, text []byte) (found string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, text) {
			found = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSecretOfAFolder(t *testing.T) {
	s := open(t, Config{})
	path := filepath.Join(s.cfg.Dir, secretFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%s: %v, %v, want mode 0600", path, info, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"another secret": {strings.Repeat("A", 43) + "=\n", "was made with another secret: put the secret of its back-up into " + path},
		"too short":      {"AAAA\n", "not 32 bytes, nor as many in base64"},
		"not base64":     {strings.Repeat("?", 43), "not 32 bytes, nor as many in base64"},
		"empty":          {"", "not 32 bytes, nor as many in base64"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), Config{Dir: s.cfg.Dir, Log: quiet})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.cfg.Dir) {
			t.Errorf("Open with %s = %v, want %q and the folder", name, err, c.want)
		}
	}
}

func TestReadSecretTakesBytesAndWhatBase64Writes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	want := bytes.Repeat([]byte{0xfb, 0xff}, 16)
	for _, text := range []string{
		"+//7//v/+//7//v/+//7//v/+//7//v/+//7//v/+/8=\n",
		"-__7__v_-__7__v_-__7__v_-__7__v_-__7__v_-_8",
		string(want),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadSecret(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("ReadSecret of %q = %x, %v, want %x", text, got, err, want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		Config
		want string
	}{
		"nothing":             {Config{}, "set one"},
		"both":                {Config{Dir: "d", URL: "nats://a"}, "leave one out"},
		"short secret":        {Config{Dir: "d", Secret: make([]byte, 16)}, "16 bytes, want 32"},
		"cluster, no secret":  {Config{URL: "nats://a"}, "needs a secret"},
		"negative backlog":    {Config{Dir: "d", Backlog: -1}, "cannot be negative"},
		"negative retention":  {Config{Dir: "d", Retention: -1}, "cannot be negative"},
		"unreachable cluster": {Config{URL: "nats://u:password@127.0.0.1:1", Secret: make([]byte, 32)}, "nats://redacted@127.0.0.1:1: not reached"},
		"bad credentials":     {Config{URL: "nats://127.0.0.1:1", Secret: make([]byte, 32), CA: "/none"}, "/none"},
	} {
		c.Log = quiet
		_, err := Open(within(t, 300*time.Millisecond), c.Config)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "password") {
			t.Errorf("Open with %s = %v, want %q", name, err, c.want)
		}
	}
}

func TestAFolderIsOpenOnce(t *testing.T) {
	s := open(t, Config{})
	_, err := Open(t.Context(), Config{Dir: s.cfg.Dir, Log: quiet})
	want := fmt.Sprintf("data folder %s is in use by process %d: stop it", s.cfg.Dir, os.Getpid())
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Open of an open folder = %v, want %q", err, want)
	}
	if err := s.CreateUser(t.Context(), User{Name: "ann"}); err != nil {
		t.Errorf("CreateUser after the second Open was refused: %v", err)
	}
}

func TestAFolderThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := Open(t.Context(), Config{Dir: dir, Log: quiet})
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("Open of %s = %v, want an error that names it", dir, err)
		}
	}
}
