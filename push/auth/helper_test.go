package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"keyhole/internal/testkit"
	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

const password = "correct horse battery staple"

// cheap are parameters of Argon2id for tests that are not about it.
var cheap = phc{memory: 8, time: 1, threads: 1}

// hashed returns the PHC string of password with cheap parameters.
func hashed() string {
	p := cheap
	p.salt = []byte("salt of a test")
	p.hash = argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, hashBytes)
	return p.String()
}

// A clock stands still until a test moves it.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.UTC).UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) Advance(d time.Duration) { c.ns.Add(int64(d)) }

// A world is one store, one clock, and as many nodes as a test makes.
type world struct {
	t     testing.TB
	ctx   context.Context
	dir   string
	store *store.Store
	clock *clock
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), dir: t.TempDir(), clock: newClock()}
	st, err := store.Open(w.ctx, store.Config{Dir: w.dir, Now: w.clock.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("store.Open = %v, want a store", err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("store.Close() = %v, want nil", err)
		}
	})
	w.store = st
	return w
}

// node returns an Auth on the store; change, if any, edits its configuration.
func (w *world) node(change ...func(*Config)) *Auth {
	w.t.Helper()
	c := Config{Store: w.store, Now: w.clock.Now, Log: slog.New(slog.DiscardHandler), LoginPerMinute: -1}
	for _, f := range change {
		f(&c)
	}
	a, err := New(w.ctx, c)
	if err != nil {
		w.t.Fatalf("New = %v, want an Auth", err)
	}
	a.hasher.nobody.memory, a.hasher.nobody.time, a.hasher.nobody.threads = cheap.memory, cheap.time, cheap.threads
	return a
}

// user makes an account whose password is the constant.
func (w *world) user(name string) {
	w.t.Helper()
	if err := w.store.CreateUser(w.ctx, store.User{Name: name, Password: hashed(), Created: w.clock.Now()}); err != nil {
		w.t.Fatalf("CreateUser(%q) = %v, want nil", name, err)
	}
}

// A terminal is what a client keeps: its key and its session token.
type terminal struct {
	key     *keys.Private
	session string
	sTime   int64
}

func newKey(t testing.TB) *keys.Private {
	t.Helper()
	k, err := keys.Generate()
	if err != nil {
		t.Fatalf("keys.Generate() = %v, want a key", err)
	}
	return k
}

// login logs user in on device "phone", in app "mail".
func (w *world) login(a *Auth, user string) terminal {
	w.t.Helper()
	return w.loginAs(a, user, "phone", "mail")
}

func (w *world) loginAs(a *Auth, user, device, app string) terminal {
	w.t.Helper()
	key := newKey(w.t)
	r, err := a.Login(w.ctx, LoginRequest{User: user, Password: password, Device: device, App: app, Key: key.Public().String()})
	if err != nil {
		w.t.Fatalf("Login(%q) = %v, want a session", user, err)
	}
	return terminal{key, r.Session, r.STime}
}

func (w *world) open(a *Auth, session string) *Session {
	w.t.Helper()
	s, err := a.Open(w.ctx, session)
	if err != nil {
		w.t.Fatalf("Open = %v, want a session", err)
	}
	return s
}

// unchanged runs f and fails if a byte of what the store has written for good
// is another afterwards. JetStream keeps records in append-only block files,
// where even a record that is written again as it was leaves its mark.
func (w *world) unchanged(f func()) {
	w.t.Helper()
	before := w.blocks()
	f()
	if after := w.blocks(); !bytes.Equal(before, after) {
		w.t.Errorf("the store's blocks hash to %x, want %x as before the refusal", after, before)
	}
}

func (w *world) blocks() []byte {
	w.t.Helper()
	h, files := sha256.New(), 0
	err := filepath.WalkDir(w.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".blk" {
			return err
		}
		files++
		data, err := os.ReadFile(name)
		h.Write([]byte(name))
		h.Write(data)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if files == 0 {
		w.t.Fatalf("no block files in %s, want the store's", w.dir)
	}
	return h.Sum(nil)
}

// wantCode fails unless err wraps the code. What says what was done.
func wantCode(t testing.TB, what string, err error, want wire.Code) {
	t.Helper()
	var code wire.Code
	if !errors.As(err, &code) || code != want {
		t.Errorf("%s = %v, want %q", what, err, want)
	}
}

var eventually = testkit.Eventually
