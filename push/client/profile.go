package client

import (
	"crypto/ecdh"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// A Profile keeps what a terminal must not lose: private keys, the session
// that stands for the password, and the ids of messages that were handed over.
// It is as secret as the password. Save replaces the whole, and must have
// written it for good when it returns; no two calls overlap. Load returns nil
// before the first Save.
type Profile interface {
	Load() ([]byte, error)
	Save([]byte) error
}

type fileProfile string

// FileProfile keeps the profile in a file of mode 0600, which each Save
// replaces at once and on the disk, so that a crash leaves the old one or the
// new one whole; the new one is path with ".new" until then. Its folder must
// exist.
func FileProfile(path string) Profile { return fileProfile(path) }

func (p fileProfile) Load() ([]byte, error) {
	b, err := os.ReadFile(string(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (p fileProfile) Save(b []byte) error {
	path := string(p)
	if err := writeFile(path+".new", b); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// writeFile writes a file of mode 0600, to the disk.
func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncFolder makes a rename in it last.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// A record is the JSON of a profile.
type record struct {
	User        string     `json:"user"`
	Device      string     `json:"device"`
	App         string     `json:"app"`
	Session     string     `json:"session,omitempty"`
	Key         wire.Bytes `json:"key,omitempty"`
	Pending     wire.Bytes `json:"pending,omitempty"`
	Servers     []string   `json:"servers,omitempty"`
	Token       string     `json:"token,omitempty"`
	Endpoint    string     `json:"endpoint,omitempty"`
	VAPID       string     `json:"vapid_key,omitempty"`
	WebPushKey  wire.Bytes `json:"web_push_key"`
	WebPushAuth wire.Bytes `json:"web_push_auth"`
	Seen        wire.Bytes `json:"seen,omitempty"` // seenIDs, oldest first
}

// load reads the profile, if there is one. That of another user, device or app
// is left unread, and replaced at the next save: its keys are not this
// terminal's.
func (t *Terminal) load() error {
	t.who = &identity{}
	if t.cfg.Profile == nil {
		return nil
	}
	b, err := t.cfg.Profile.Load()
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if b == nil {
		return nil
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return damaged(err)
	}
	if r.User != t.cfg.User || r.Device != t.cfg.Device || r.App != t.cfg.App {
		t.cfg.Log.Warn("profile is of another terminal and is not used",
			"user", r.User, "device", r.Device, "app", r.App)
		return nil
	}
	return t.restore(&r)
}

func damaged(err error) error {
	return fmt.Errorf("profile is damaged: %w; remove it to log in anew", err)
}

func (t *Terminal) restore(r *record) (err error) {
	id := &identity{session: r.Session, token: r.Token, endpoint: r.Endpoint, vapid: r.VAPID}
	if r.Session != "" {
		if id.key, err = keys.ParsePrivate(r.Key); err != nil {
			return damaged(err)
		}
	}
	if len(r.Pending) > 0 {
		if id.pending, err = keys.ParsePrivate(r.Pending); err != nil {
			return damaged(err)
		}
	}
	for _, text := range r.Servers {
		public, err := keys.ParsePublic(text)
		if err != nil {
			return damaged(err)
		}
		id.servers = append(id.servers, public)
	}
	if t.push.key, err = ecdh.P256().NewPrivateKey(r.WebPushKey); err != nil {
		return damaged(fmt.Errorf("web_push_key: %w", err))
	}
	if len(r.WebPushAuth) != authSize {
		return damaged(fmt.Errorf("web_push_auth: %d bytes, want %d", len(r.WebPushAuth), authSize))
	}
	t.push.auth = r.WebPushAuth
	t.seen = readSeen(r.Seen)
	t.who = id
	return nil
}

// save writes the profile. Callers log the error where the run can go on
// without, and stop where it cannot.
func (t *Terminal) save() error {
	if t.cfg.Profile == nil {
		return nil
	}
	t.saving.Lock() // before the content is taken, or an older one could be written last
	defer t.saving.Unlock()
	b, err := json.Marshal(t.record())
	if err == nil {
		err = t.cfg.Profile.Save(b)
	}
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}

func (t *Terminal) record() *record {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &record{
		User: t.cfg.User, Device: t.cfg.Device, App: t.cfg.App,
		Session: t.who.session, Token: t.who.token, Endpoint: t.who.endpoint, VAPID: t.who.vapid,
		WebPushKey: t.push.key.Bytes(), WebPushAuth: t.push.auth,
		Seen: t.seen.appendTo(nil),
	}
	if t.who.key != nil {
		r.Key = t.who.key.Bytes()
	}
	if t.who.pending != nil {
		r.Pending = t.who.pending.Bytes()
	}
	for _, public := range t.who.servers {
		r.Servers = append(r.Servers, public.String())
	}
	return r
}
