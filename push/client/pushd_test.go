package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"keyhole/push/auth"
	"keyhole/push/keys"
	"keyhole/push/server"
	"keyhole/push/store"
	"keyhole/push/webpush"
	"keyhole/push/wire"
)

// A pushd is the real server, with the user of every config here, and a
// publisher. It may have several nodes over its one store.
type pushd struct {
	t     *testing.T
	auth  *auth.Auth
	store *store.Store
	addr  atomic.Value // where Dial leads
	key   string       // of the publisher

	heartbeat time.Duration // of its nodes; 0: as by default, so that a busy machine misses none
}

// secretHash is of the password "secret word", and cheap to check: what is
// tested here is not Argon2.
const secretHash = "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$VYxjEWkvL8GXrYZLUXkBVGqbWJRZuY9gPpG5c4VeJko"

func newPushd(t *testing.T, rules auth.Config) *pushd {
	t.Helper()
	p := &pushd{t: t}
	log := slog.New(slog.DiscardHandler)
	ctx := t.Context()
	var err error
	if p.store, err = store.Open(ctx, store.Config{Dir: t.TempDir(), Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.store.Close() })
	rules.Store, rules.LoginPerMinute, rules.Log = p.store, -1, log
	if p.auth, err = auth.New(ctx, rules); err != nil {
		t.Fatal(err)
	}
	if err := p.store.CreateUser(ctx, store.User{Name: "ada", Password: secretHash, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if p.key, err = p.auth.CreatePublisher(ctx, "shop", nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// node starts a server, to which Dial leads from now on.
func (p *pushd) node(name string) *server.Server {
	p.t.Helper()
	s, err := server.New(server.Config{
		Auth: p.auth, Store: p.store, Node: name, Heartbeat: p.heartbeat, Log: slog.New(slog.DiscardHandler),
		TLS: &tls.Config{Certificates: []tls.Certificate{testCert()}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	p.t.Cleanup(func() {
		cancel()
		<-served
	})
	p.addr.Store(l.Addr().String())
	return s
}

func (p *pushd) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, p.addr.Load().(string))
}

func (p *pushd) config() Config {
	f := fake{dial: p.dial}
	c := f.config()
	c.Password, c.MaxBackoff = "secret word", 50*time.Millisecond
	return c
}

func (p *pushd) publisher() *Publisher {
	transport := &http.Transport{DialContext: p.dial, TLSClientConfig: &tls.Config{RootCAs: testRoots()}}
	p.t.Cleanup(transport.CloseIdleConnections)
	return &Publisher{URL: fakeURL, Key: p.key, HTTP: &http.Client{Transport: transport}}
}

func (p *pushd) publish(m Publication) Receipt {
	p.t.Helper()
	receipt, err := p.publisher().Publish(p.t.Context(), m)
	if err != nil {
		p.t.Fatal(err)
	}
	return receipt
}

// started runs a terminal until it listens.
func (p *pushd) started(c Config) *running {
	p.t.Helper()
	r := start(p.t, c)
	r.until(Listening)
	return r
}

func (p *pushd) empty() {
	p.t.Helper()
	eventually(p.t, "everything acknowledged is deleted", func() bool {
		n, _, err := p.store.Size(p.t.Context())
		return err == nil && n == 0
	})
}

// What is published while the terminal is away comes when it is back, in
// order, each message once.
func TestP6RealServerKeepsWhatIsPublishedMeanwhile(t *testing.T) {
	p := newPushd(t, auth.Config{})
	p.node("a")
	cfg := p.config()
	cfg.Profile = FileProfile(t.TempDir() + "/profile")
	cfg.State = map[string]string{"network": "cellular"}
	r := p.started(cfg)
	token := r.Token()
	p.publish(Publication{Token: token, Data: []byte("live")})
	if got := r.message(); string(got.Data) != "live" || got.Redelivered {
		t.Errorf("message %q, redelivered %t, want the one that was published", got.Data, got.Redelivered)
	}
	r.stop()
	for i := range 100 { // more than the window
		p.publish(Publication{Token: token, Data: fmt.Append(nil, i), ID: fmt.Sprint("m", i)})
	}
	if again := p.publish(Publication{Token: token, Data: []byte("99"), ID: "m99"}); !again.Duplicate {
		t.Error("a second publication of one id is not marked as a duplicate")
	}
	p.publish(Publication{App: "notes", Version: "2.1", Data: []byte("for all"), Condition: "network=wifi"})
	r = p.started(cfg)
	for i := range 100 {
		if got, want := string(r.message().Data), fmt.Sprint(i); got != want {
			t.Fatalf("message %q, want %q", got, want)
		}
	}
	r.nothing() // the last one waits for its condition
	r.SetState(map[string]string{"network": "wifi"})
	if got := r.message(); string(got.Data) != "for all" || got.To != "app" {
		t.Errorf("message %q to %q, want that for the app", got.Data, got.To)
	}
}

func TestT4RealServerIsPulled(t *testing.T) {
	p := newPushd(t, auth.Config{})
	p.node("a")
	terminal, err := New(p.config())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := terminal.Pull(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("Pull() = %d messages, %v, want none", len(got), err)
	}
	var want []string
	for i := range 3 {
		want = append(want, p.publish(Publication{Token: terminal.Token(), Data: fmt.Append(nil, i), ID: fmt.Sprint("m", i)}).ID)
	}
	want = append(want, p.publish(Publication{App: "notes", Version: "*", Data: []byte("all")}).ID)
	got, err := terminal.Pull(t.Context())
	if err != nil || !slices.Equal(ids(got), want) {
		t.Fatalf("Pull() = %q, %v, want %q", ids(got), err, want)
	}
	if err := terminal.Acknowledge(t.Context(), got...); err != nil {
		t.Fatal(err)
	}
	if got, err = terminal.Pull(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("Pull() = %q, %v after the acknowledgement, want none", ids(got), err)
	}
}

func TestK4RealServerTakesRenewals(t *testing.T) {
	p := newPushd(t, auth.Config{Apps: map[string]auth.AppPolicy{"*": {Encrypt: true}}})
	p.heartbeat = time.Second // renewals go with them
	p.node("a")
	cfg := p.config()
	profile := &memory{}
	cfg.Profile, cfg.RenewEvery = profile, time.Millisecond
	cfg.State = map[string]string{"network": "wifi"}
	r := p.started(cfg)
	for range 3 {
		r.until(Renewed)
	}
	p.publish(Publication{Token: r.Token(), Data: []byte("sealed"), Condition: "network=wifi"})
	if got := r.message(); string(got.Data) != "sealed" {
		t.Errorf("message %q, want it opened", got.Data)
	}
	r.stop()
	cfg.Password = "" // the profile has to do
	p.started(cfg)
}

// A cutter cuts connections off, so that what the server sends is lost.
type cutter struct {
	net.Conn
	off *atomic.Bool
}

func (c cutter) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.off.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// A hooked profile tells of its saves.
type hooked struct {
	memory
	saved func(*memory)
}

func (h *hooked) Save(b []byte) error {
	err := h.memory.Save(b)
	h.saved(&h.memory)
	return err
}

// The reply to a renewal is lost on its way from the real server.
func TestK3RealServerAndALostReply(t *testing.T) {
	p := newPushd(t, auth.Config{})
	p.heartbeat = time.Second // renewals go with them
	p.node("a")
	cfg := p.config()
	var off, once atomic.Bool
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := p.dial(ctx, network, addr)
		return cutter{c, &off}, err
	}
	profile := &hooked{saved: func(m *memory) {
		if len(m.record(t).Pending) > 0 && once.CompareAndSwap(false, true) {
			off.Store(true) // the request goes out, the reply does not come in
		}
	}}
	cfg.Profile, cfg.RenewEvery = profile, time.Millisecond
	r := p.started(cfg)
	first := profile.record(t)
	r.until(Waiting)
	cut := profile.record(t)
	if cut.Session != first.Session || cut.Pending == nil {
		t.Fatal("the connection was lost at another place than this test is about")
	}
	off.Store(false)
	cfg.Password = ""
	r.stop()
	r = p.started(cfg)
	if got := profile.record(t); !bytes.Equal(got.Key, cut.Pending) || got.Session == cut.Session {
		t.Error("the renewed session is not in use")
	}
	r.until(Renewed) // and the next one goes on from there
}

// A node drains, and the terminal is at the other before it ends. Nothing that
// is published in between is lost.
func TestRealServerDrains(t *testing.T) {
	p := newPushd(t, auth.Config{})
	first := p.node("a")
	cfg := p.config()
	cfg.MaxBackoff = time.Second
	r := p.started(cfg)
	p.node("b")
	drained := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	defer cancel()
	go func() { drained <- first.Shutdown(ctx) }()
	var want []string
	for i := range 50 {
		want = append(want, p.publish(Publication{Token: r.Token(), Data: []byte("x"), ID: fmt.Sprint("m", i)}).ID)
	}
	r.until(Drained)
	r.until(Listening)
	if err := <-drained; err != nil {
		t.Errorf("Shutdown() = %v, want nil: the terminal has gone by itself", err)
	}
	var got []string
	for range want {
		got = append(got, r.message().ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	r.nothing()
	p.empty()
}

func TestRealServerRevokes(t *testing.T) {
	p := newPushd(t, auth.Config{})
	p.node("a")
	t.Run("token", func(t *testing.T) {
		r := p.started(p.config())
		before := r.Token()
		if err := p.store.RevokeToken(t.Context(), store.TokenHash(before)); err != nil {
			t.Fatal(err)
		}
		if err := r.end(); !errors.Is(err, wire.TokenRevoked) {
			t.Errorf("Run() = %v, want %s", err, wire.TokenRevoked)
		}
		if r := p.started(p.config()); r.Token() == before {
			t.Error("the next run has the revoked token")
		}
	})
	t.Run("session", func(t *testing.T) {
		r := p.started(p.config())
		if err := p.store.RevokeSessions(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		r.until(Listening) // after another login
	})
	t.Run("account", func(t *testing.T) {
		r := p.started(p.config())
		if err := p.auth.DisableUser(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		if err := r.end(); !errors.Is(err, wire.AccountDisabled) && !errors.Is(err, wire.LoginFailed) {
			t.Errorf("Run() = %v, want %s", err, wire.AccountDisabled)
		}
	})
}

func TestV5RealServerFindsTheProxy(t *testing.T) {
	p := newPushd(t, auth.Config{})
	p.node("a")
	cfg := p.config()
	cfg.Dial = terminator(t, &fake{dial: p.dial})
	start(t, cfg).waitingFor(wire.BindingMismatch)
	cfg.Binding = wire.BindingNone
	if err := start(t, cfg).end(); !errors.Is(err, wire.BindingRequired) {
		t.Errorf("Run() = %v without a binding, want %s", err, wire.BindingRequired)
	}
}

func TestRealServerTakesWebPush(t *testing.T) {
	p := newPushd(t, auth.Config{})
	p.node("a")
	r := p.started(p.config())
	s := r.Subscription()
	body, err := webpush.Encrypt(decode64(t, s.P256DH), decode64(t, s.Auth), []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Endpoint, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("TTL", "60")
	q.Header.Set("Content-Encoding", "aes128gcm")
	resp, err := p.publisher().HTTP.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("POST %s = %s, want 201", s.Endpoint, resp.Status)
	}
	if got := r.message(); string(got.Data) != "hello" {
		t.Errorf("message %q, want it decrypted", got.Data)
	}
}

// The server renews its key while a terminal is connected (K5): the terminal
// has it with a heartbeat, and a session that is sealed to it with the next
// connection.
func TestK7RealServerRenewsItsKey(t *testing.T) {
	p := newPushd(t, auth.Config{RotateEvery: time.Second})
	p.heartbeat = time.Second // renewals go with them
	first := p.node("a")
	cfg := p.config()
	profile := &memory{}
	cfg.Profile = profile
	r := p.started(cfg)
	before := profile.record(t)
	eventually(t, "another key came with a heartbeat", func() bool {
		return !slices.Equal(profile.record(t).Servers, before.Servers)
	})
	p.node("b")
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	defer cancel()
	if err := first.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown() = %v, want nil", err)
	}
	r.until(Listening)
	was, err := keys.SessionKey(before.Session)
	if err != nil {
		t.Fatal(err)
	}
	is, err := keys.SessionKey(profile.record(t).Session)
	if err != nil || is == was {
		t.Errorf("the session is sealed to %s, %v, want another key than the one before", is, err)
	}
}
