package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keyhole/internal/testkit"
	"keyhole/push/wire"
)

// config is of a terminal of f that is quick to try again.
func (f *fake) config() Config {
	return Config{
		URL: fakeURL, Dial: f.dial, RootCAs: testRoots(), User: "ada", Password: "secret", Device: "phone", App: "notes",
		AppVersion: "2.1", MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond,
		OnMessage: func(context.Context, Message) error { return nil },
	}
}

// A running is a terminal under test and what it says.
type running struct {
	*Terminal
	t        testing.TB
	statuses chan Status
	got      chan Message
	cancel   context.CancelFunc
	ended    chan struct{}
	err      error // of Run, once ended is closed
}

// start runs a terminal. What it is handed goes to got as well as to
// c.OnMessage.
func start(t testing.TB, c Config) *running {
	t.Helper()
	r := &running{t: t, statuses: make(chan Status, 10_000), got: make(chan Message, 10_000), ended: make(chan struct{})}
	c.OnStatus = func(s Status) { r.statuses <- s }
	handle := c.OnMessage
	c.OnMessage = func(ctx context.Context, m Message) error {
		err := handle(ctx, m)
		r.got <- m
		return err
	}
	var err error
	if r.Terminal, err = New(c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.ended)
		r.err = r.Run(ctx)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

// stop ends the run and waits for it.
func (r *running) stop() error {
	r.t.Helper()
	r.cancel()
	return r.end()
}

// end waits for the run to end by itself.
func (r *running) end() error {
	r.t.Helper()
	select {
	case <-r.ended:
		return r.err
	case <-time.After(patience()):
		r.t.Fatalf("Run does not return:\n%s", stacks())
		return nil
	}
}

// until waits for a phase.
func (r *running) until(p Phase) Status {
	r.t.Helper()
	for limit := time.After(patience()); ; {
		select {
		case s := <-r.statuses:
			if s.Phase == p {
				return s
			}
		case <-r.ended:
			r.t.Fatalf("Run() = %v before it was %s", r.err, p)
		case <-limit:
			r.t.Fatalf("never %s", p)
		}
	}
}

// waitingFor waits until an attempt has ended with code.
func (r *running) waitingFor(code wire.Code) Status {
	r.t.Helper()
	s := r.until(Waiting)
	var got wire.Code
	if errors.As(s.Err, &got); got != code {
		r.t.Fatalf("the connection ended with %v, want %s", s.Err, code)
	}
	return s
}

// message waits for the next message that was handed over.
func (r *running) message() Message {
	r.t.Helper()
	select {
	case m := <-r.got:
		return m
	case <-time.After(patience()):
		r.t.Fatal("no message was handed over")
		return Message{}
	}
}

// nothing fails the test if anything was handed over so far.
func (r *running) nothing() {
	r.t.Helper()
	if len(r.got) > 0 {
		r.t.Errorf("message %q was handed over, want none", (<-r.got).ID)
	}
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

var noLeaks = testkit.NoLeaks

// eventually is here for its patience, which is another in a synctest bubble.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for limit := time.After(patience()); !done(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not so: %s\n%s", what, stacks())
		}
	}
}

func message(id string, seq uint64) *wire.Message {
	return &wire.Message{ID: id, Seq: seq, To: "token", Time: 1, Expires: 2, Data: []byte("data of " + id)}
}

func TestK1PasswordIsGivenOnce(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	profile := FileProfile(t.TempDir() + "/profile")
	for range 2 {
		c := f.config()
		c.Profile = profile
		r := start(t, c)
		listen := f.next().listening()
		r.until(Listening)
		if listen.Token != "the-token" || r.Token() != "the-token" {
			t.Errorf("Listen.Token, Token() = %q, %q, want the one that the server gave", listen.Token, r.Token())
		}
		if err := r.stop(); err != context.Canceled {
			t.Errorf("Run() = %v, want context.Canceled", err)
		}
	}
	if f.logins != 1 || f.asked != 1 {
		t.Errorf("%d logins and %d requests for the token, want 1 and 1", f.logins, f.asked)
	}
	c := f.config()
	c.Profile, c.Password = profile, ""
	start(t, c)
	f.connected()
}

func TestPermanentRefusalsEndRun(t *testing.T) {
	for _, code := range []wire.Code{wire.AccountDisabled, wire.BindingRequired, wire.TokenNotYours, wire.TokenRevoked, wire.VersionUnsupported} {
		t.Run(string(code), func(t *testing.T) {
			noLeaks(t)
			f := newFake(t)
			profile := &memory{}
			cfg := f.config()
			cfg.Profile = profile
			r := start(t, cfg)
			c := f.next()
			c.verified()
			must[*wire.Listen](c)
			c.refuse(code)
			if err := r.end(); !errors.Is(err, code) || !strings.Contains(err.Error(), "says the fake") {
				t.Errorf("Run() = %v, want %s and what the server says", err, code)
			}
			if gone := r.Token() == ""; gone != (code == wire.TokenRevoked) {
				t.Errorf("Token() = %q after %s", r.Token(), code)
			}
			if got := profile.record(t).Token; got != r.Token() {
				t.Errorf("the profile has token %q, want %q", got, r.Token())
			}
		})
	}
}

func TestWrongPasswordEndsRun(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	c := f.config()
	c.Password = "guess"
	if err := start(t, c).end(); !errors.Is(err, wire.LoginFailed) {
		t.Errorf("Run() = %v, want %s", err, wire.LoginFailed)
	}
}

func TestLostSessionLogsInAgain(t *testing.T) {
	for _, code := range []wire.Code{wire.SessionRevoked, wire.SessionExpired, wire.SessionStale, wire.SessionInvalid, wire.ProofInvalid} {
		t.Run(string(code), func(t *testing.T) {
			noLeaks(t)
			f := newFake(t)
			r := start(t, f.config())
			f.next().refuse(code)
			f.connected()
			r.until(Listening)
			if f.logins != 2 || f.asked != 1 {
				t.Errorf("%d logins and %d requests for the token, want 2 and 1", f.logins, f.asked)
			}
		})
	}
}

// A server that takes logins and refuses their sessions is not asked for more
// without a wait.
func TestLostSessionLogsInAgainOnlyOnceWithoutAWait(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.MinBackoff, c.MaxBackoff = time.Hour, time.Hour
	r := start(t, c)
	f.next().refuse(wire.SessionInvalid)
	f.next().refuse(wire.SessionInvalid)
	if s := r.waitingFor(wire.SessionInvalid); s.Wait <= 0 {
		t.Errorf("Wait = %s, want a wait", s.Wait)
	}
	if f.logins != 2 {
		t.Errorf("%d logins, want 2", f.logins)
	}
}

func TestLostSessionWithoutPasswordEndsRun(t *testing.T) {
	f := newFake(t)
	profile := &memory{}
	c := f.config()
	c.Profile = profile
	r := start(t, c)
	f.connected()
	r.until(Listening)
	r.stop()
	c.Password = ""
	r = start(t, c)
	f.next().refuse(wire.SessionRevoked)
	if err := r.end(); !errors.Is(err, wire.SessionRevoked) || !strings.Contains(err.Error(), "Password") {
		t.Errorf("Run() = %v, want %s and the remedy", err, wire.SessionRevoked)
	}
}

func TestLostTokenIsAskedForAgain(t *testing.T) {
	f := newFake(t)
	r := start(t, f.config())
	c := f.next().verified()
	must[*wire.Listen](c)
	f.mu.Lock()
	f.token = "another-token"
	f.mu.Unlock()
	c.refuse(wire.TokenExpired)
	if got := f.next().listening().Token; got != "another-token" {
		t.Errorf("Listen.Token = %q, want the new one", got)
	}
	r.until(Listening)
	if r.Token() != "another-token" || f.logins != 1 {
		t.Errorf("Token() = %q after %d logins, want the new one after 1", r.Token(), f.logins)
	}
}

// What would only happen again is tried at the longest wait, and reported.
func TestDisagreementIsRetriedSlowly(t *testing.T) {
	for _, code := range []wire.Code{wire.BindingMismatch, wire.Replaced, wire.Downgrade, wire.SubprotocolRequired} {
		t.Run(string(code), func(t *testing.T) {
			f := newFake(t)
			c := f.config()
			c.MinBackoff, c.MaxBackoff = time.Nanosecond, time.Hour
			r := start(t, c)
			f.next().refuse(code)
			if s := r.waitingFor(code); s.Wait < c.MaxBackoff/2 {
				t.Errorf("Wait = %s, want at least half of %s", s.Wait, c.MaxBackoff)
			}
		})
	}
}

func TestRetryAfterIsKept(t *testing.T) {
	f := newFake(t)
	f.upgrade = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "600")
		return refuseHTTP(w, http.StatusServiceUnavailable, wire.TooManyConnections)
	}
	r := start(t, f.config())
	if s := r.waitingFor(wire.TooManyConnections); s.Wait < 600*time.Second {
		t.Errorf("Wait = %s, want at least the 600 s that the server asks for", s.Wait)
	}
}

func TestUpgradeAnsweredByAProxyNamesTheStatus(t *testing.T) {
	f := newFake(t)
	f.upgrade = func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "<html>", http.StatusBadGateway)
		return true
	}
	r := start(t, f.config())
	if s := r.until(Waiting); !strings.Contains(s.Err.Error(), "502 Bad Gateway") {
		t.Errorf("the attempt ended with %q, want the status", s.Err)
	}
}

func TestRunsOnceAtATime(t *testing.T) {
	f := newFake(t)
	r := start(t, f.config())
	f.connected()
	if err := r.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second Run() = %v, want an error", err)
	}
}

func TestRunWithoutOnMessageIsAnError(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.OnMessage = nil
	terminal, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := terminal.Run(context.Background()); err == nil {
		t.Error("Run() = nil without OnMessage, want an error")
	}
}

func TestNewChecksItsConfig(t *testing.T) {
	good := Config{URL: "https://push.example.com", User: "ada", Password: "secret", Device: "phone", App: "notes"}
	if _, err := New(good); err != nil {
		t.Fatalf("New(%+v) = %v, want nil", good, err)
	}
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no URL":             {func(c *Config) { c.URL = "" }, "https://HOST"},
		"http":               {func(c *Config) { c.URL = "http://push.example.com" }, "https://HOST"},
		"a path":             {func(c *Config) { c.URL += "/v1" }, "write https://push.example.com"},
		"not a URL":          {func(c *Config) { c.URL = "https://a b" }, "a b"},
		"no user":            {func(c *Config) { c.User = "" }, "User"},
		"no device":          {func(c *Config) { c.Device = "" }, "Device"},
		"no app":             {func(c *Config) { c.App = "" }, "App"},
		"no password":        {func(c *Config) { c.Password = "" }, "Password"},
		"binding":            {func(c *Config) { c.Binding = "tls-unique" }, "tls-unique"},
		"back-off":           {func(c *Config) { c.MinBackoff, c.MaxBackoff = time.Hour, time.Second }, "MinBackoff"},
		"negative":           {func(c *Config) { c.RenewEvery = -1 }, "RenewEvery"},
		"state key":          {func(c *Config) { c.State = map[string]string{"Net": "wifi"} }, "Net"},
		"profile unreadable": {func(c *Config) { c.Profile = FileProfile(t.TempDir()) }, "profile"},
	} {
		c := good
		tt.change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: New() = %v, want an error that names %q", name, err, tt.want)
		}
	}
}

// An idle terminal has the goroutine that called Run, and one that reads.
func TestTwoGoroutinesPerTerminal(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	const terminals = 5
	var all []*running
	for range terminals {
		r := start(t, f.config())
		f.connected()
		r.until(Listening)
		all = append(all, r)
	}
	mine := func() (n int) {
		for _, g := range strings.Split(stacks(), "\n\n") {
			if strings.Contains(g, "push/client.(*run)") || strings.Contains(g, "push/client.(*conn)") || strings.Contains(g, "http.(*persistConn)") {
				n++
			}
		}
		return n
	}
	eventually(t, "two goroutines for each terminal", func() bool { return mine() == 2*terminals })
	for _, r := range all {
		r.stop()
	}
	eventually(t, "none after Run has returned", func() bool { return mine() == 0 })
}

// A memory is a Profile whose saves can be seen, and fail.
type memory struct {
	mu    sync.Mutex
	saved []byte
	saves int
	err   error
}

func (m *memory) Load() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.saved), nil
}

func (m *memory) Save(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.saved = slices.Clone(b)
		m.saves++
	}
	return m.err
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saves
}

// record is what is saved by now.
func (m *memory) record(t testing.TB) (r record) {
	t.Helper()
	b, _ := m.Load()
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}
