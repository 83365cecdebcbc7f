package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"keyhole/push/wire"
)

// A Terminal is one device of one user with one app. Its methods may be called
// from any goroutine.
//
// While it runs and no message is in hand it has two goroutines: Run's, which
// owns everything about the connection, and one that reads. A message in hand
// has one of its own, so that heartbeats go on however long OnMessage takes.
type Terminal struct {
	cfg  Config
	base string // "https://host"
	http *http.Client

	running   atomic.Bool
	wake      chan struct{} // filled when the state has changed
	signingIn chan struct{} // filled while somebody logs in or asks for the token
	saving    sync.Mutex    // held while the profile is written
	push      webPush       // New's, and not changed

	mu    sync.Mutex // guards what follows
	who   *identity
	state map[string]string
	seen  seen
	skew  time.Duration // the server's clock less this one
}

// New makes a terminal with what its profile has. An error names the field of
// the Config that cannot be, or says what is wrong with the profile.
func New(c Config) (*Terminal, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	u, err := parseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	t := &Terminal{
		cfg: c, base: u.String(), http: newHTTP(&c, u.Hostname()), state: map[string]string{},
		wake: make(chan struct{}, 1), signingIn: make(chan struct{}, 1),
	}
	if err := t.SetState(c.State); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	if t.push, err = newWebPush(); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	if err := t.load(); err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	if c.Password == "" && t.who.session == "" {
		return nil, errors.New("terminal: Password is empty, and no profile has a session that stands for it")
	}
	return t, nil
}

// newHTTP makes the client of all requests. Its connections speak HTTP/1.1,
// which a WebSocket can take over: the one that was logged in over is the one
// that messages come over.
func newHTTP(c *Config, host string) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: c.Dial,
			TLSClientConfig: &tls.Config{
				ServerName: host, RootCAs: c.RootCAs, ClientSessionCache: c.SessionCache,
				MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
			},
			DisableCompression: true,
			IdleConnTimeout:    5 * time.Second,
			ReadBufferSize:     1 << 10, // the WebSocket has buffers of its own
			WriteBufferSize:    1 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // session and password stay here
	}
}

// Token is the message token, which a publisher needs to reach this terminal.
// It is "" until the first login has asked for it, and may be another after it
// was revoked or has expired; it is settled when the phase is Listening.
func (t *Terminal) Token() string { return t.identity().token }

func (t *Terminal) identity() *identity {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.who
}

// replace makes next the identity in place of old, and reports whether old
// still was it.
func (t *Terminal) replace(old, next *identity) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.who != old {
		return false
	}
	t.who = next
	return true
}

// SetState changes the terminal's state: it sets the keys of set and removes
// those of unset. Messages may carry conditions on it; "network",
// "foreground", "battery" and "app_version" are usual, and any other key is
// free. Before a connection and between two the state is kept, and sent whole
// with the next; while connected, what changed is sent at once.
//
// A key is a letter from a to z and up to 63 more of a-z, 0-9 and "_.-", a
// value at most 256 bytes; there are at most 64 keys, and 8 KiB in all. What
// is outside these limits is an error, and nothing is changed.
func (t *Terminal) SetState(set map[string]string, unset ...string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := maps.Clone(t.state)
	for _, key := range unset {
		delete(next, key)
	}
	maps.Copy(next, set)
	if err := checkState(next); err != nil {
		return err
	}
	t.state = next // never changed once it is here, so that it can be read without the lock
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return nil
}

func (t *Terminal) currentState() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// serverNow is the server's time, by what its last reply said of its clock.
func (t *Terminal) serverNow() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cfg.Now().Add(t.skew)
}

// learnTime takes note of the server's clock, which showed ms, in Unix time,
// when this one showed at.
func (t *Terminal) learnTime(ms int64, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.skew = time.UnixMilli(ms).Sub(at)
}

func (t *Terminal) hasSeen(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.has(id)
}

func (t *Terminal) addSeen(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen.add(id)
}

// forget drops the session of old, which the server does not take any more.
// The message token is kept: it is the same for the same terminal.
func (t *Terminal) forget(old *identity) {
	t.replace(old, &identity{token: old.token, endpoint: old.endpoint, vapid: old.vapid})
}

// forgetToken drops the message token of old, from the profile too: a token
// that was revoked would end the next run as well.
func (t *Terminal) forgetToken(old *identity) {
	next := *old
	next.token, next.endpoint = "", ""
	if !t.replace(old, &next) {
		return
	}
	if err := t.save(); err != nil {
		t.cfg.Log.Error("the message token that was lost is still in the profile", "err", err)
	}
}

// timedOut names what a context's end during a handshake means.
func (t *Terminal) timedOut(err error) error {
	return fmt.Errorf("%w: not done within %s: %w", wire.HandshakeTimeout, t.cfg.HandshakeTimeout, err)
}
