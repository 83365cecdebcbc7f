package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFileProfileReplacesTheWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "profile")
	p := FileProfile(path)
	if b, err := p.Load(); b != nil || err != nil {
		t.Fatalf("Load() = %q, %v before the first Save, want nil, nil", b, err)
	}
	for _, content := range []string{"a longer one", "short"} {
		if err := p.Save([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if b, err := p.Load(); string(b) != content || err != nil {
			t.Errorf("Load() = %q, %v, want %q", b, err, content)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("%d files beside each other, want the profile alone", len(entries))
	}
}

// Where the new file cannot be written, the old one stays.
func TestFileProfileThatFailsKeepsTheOldOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "profile")
	p := FileProfile(path)
	if err := p.Save([]byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := p.Save([]byte("new")); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Save() = %v, want an error that names the file", err)
	}
	if b, _ := p.Load(); string(b) != "old" {
		t.Errorf("Load() = %q, want the old one", b)
	}
	if err := FileProfile("/nowhere/profile").Save(nil); err == nil {
		t.Error("Save() = nil in a folder that is not there")
	}
}

// good is the profile of a terminal that was listening.
func good(t *testing.T) (Config, *memory) {
	f := newFake(t)
	profile := &memory{}
	c := f.config()
	c.Profile = profile
	r := start(t, c)
	f.connected()
	r.until(Listening)
	r.stop()
	return c, profile
}

func TestDamagedProfileIsAnErrorWithTheRemedy(t *testing.T) {
	c, profile := good(t)
	whole, _ := profile.Load()
	for name, change := range map[string]func(*record){
		"no key":            func(r *record) { r.Key = nil },
		"short key":         func(r *record) { r.Key = r.Key[1:] },
		"pending":           func(r *record) { r.Pending = []byte{1} },
		"server":            func(r *record) { r.Servers = []string{"x"} },
		"web push key":      func(r *record) { r.WebPushKey = nil },
		"web push auth":     func(r *record) { r.WebPushAuth = r.WebPushAuth[:3] },
		"web push key is 0": func(r *record) { r.WebPushKey = make([]byte, 32) },
		"key beyond P-256":  func(r *record) { r.Key = bytes.Repeat([]byte{255}, 64) },
	} {
		var r record
		if err := json.Unmarshal(whole, &r); err != nil {
			t.Fatal(err)
		}
		change(&r)
		profile.saved, _ = json.Marshal(&r)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: New() = %v, want an error with the remedy", name, err)
		}
	}
	for _, cut := range []string{"", "{", string(whole[:len(whole)/2]), "null garbage"} {
		profile.saved = []byte(cut)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%.20q: New() = %v, want an error with the remedy", cut, err)
		}
	}
	profile.saved = whole
	if _, err := New(c); err != nil {
		t.Errorf("New() = %v with the whole profile, want nil", err)
	}
}

// Another account on the same phone gets nothing of the first one's (T2).
func TestT2ProfileOfAnotherTerminalIsNotUsed(t *testing.T) {
	c, profile := good(t)
	for name, change := range map[string]func(*Config){
		"user":   func(c *Config) { c.User = "bob" },
		"device": func(c *Config) { c.Device = "tablet" },
		"app":    func(c *Config) { c.App = "mail" },
	} {
		other := c
		change(&other)
		terminal, err := New(other)
		if err != nil {
			t.Fatal(err)
		}
		if terminal.Token() != "" || terminal.identity().session != "" {
			t.Errorf("another %s has the token %q", name, terminal.Token())
		}
		first, _ := New(c)
		if first.Subscription().P256DH == terminal.Subscription().P256DH {
			t.Errorf("another %s has the subscription of the first", name)
		}
	}
	profile.fail(errors.New("not to be written"))
}

// A profile that cannot be written does not keep messages from arriving.
func TestProfileThatCannotBeSavedIsNotTheEnd(t *testing.T) {
	f := newFake(t)
	profile := &memory{err: errors.New("read-only file system")}
	c := f.config()
	c.Profile = profile
	r := start(t, c)
	conn := f.connected()
	conn.send(message("m", 1))
	if got := conn.acked(); got != 1 {
		t.Errorf("ack of %d, want 1", got)
	}
	r.message()
}

func TestSubscriptionIsKept(t *testing.T) {
	c, _ := good(t)
	first, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := first.Subscription()
	if s != second.Subscription() || s.Endpoint == "" || len(decode64(t, s.P256DH)) != 65 || len(decode64(t, s.Auth)) != 16 {
		t.Errorf("Subscription() = %+v, want an endpoint, a point and 16 bytes, the same as before", s)
	}
}
