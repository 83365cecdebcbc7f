package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"keyhole/internal/testkit"
	"keyhole/push/auth"
	"keyhole/push/store"
	"keyhole/push/wire"
)

const (
	siteName     = "push.example"
	sitePassword = "correct horse"

	// siteHash is of sitePassword, and cheap to check: under the race detector
	// Argon2, which is not tested here, took half of this package's time.
	siteHash = "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$M7jw0GQI4Kfcxf+xPldfNRYttP89scc9XVAYAcaZ0U0"
)

// patience bounds the wait for what has to come. It is not what a busy machine
// takes, but when to believe that it never will.
const patience = 5 * time.Minute

// A site is one server on a loopback address, with a store and an account of
// its own.
type site struct {
	*Server
	t        testing.TB
	auth     *auth.Auth
	store    *store.Store
	clock    *clock
	address  string
	cert     tls.Certificate
	roots    *x509.CertPool
	cancel   context.CancelFunc
	troubled bool       // errors in the log are expected
	served   chan error // what Serve returned
	logged   *logbook
}

// A setup is what a test changes about its site.
type setup struct {
	auth   auth.Config
	server Config
	listen func(net.Listener) net.Listener
}

// A clock runs as the real one, further on.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// newSite starts a server. At the end of the test it has gone without a trace,
// and nothing is in its log that is not expected there.
func newSite(t testing.TB, change ...func(*setup)) *site {
	t.Helper()
	testkit.NoLeaks(t)
	s := &site{t: t, clock: &clock{}, served: make(chan error, 1), logged: &logbook{}}
	logger := slog.New(slog.NewTextHandler(s.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	s.store, err = store.Open(t.Context(), store.Config{Dir: t.TempDir(), Log: logger, Now: s.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	t.Cleanup(func() {
		all := s.logged.String()
		if strings.Contains(all, "level=ERROR") && !s.troubled {
			t.Error("the server has logged errors")
		}
		if t.Failed() {
			t.Log(all)
		}
	})
	s.addUser("ada")
	s.cert, s.roots = newCertificate(t)
	c := setup{listen: func(l net.Listener) net.Listener { return l }}
	c.auth = auth.Config{Store: s.store, LoginPerMinute: -1, Log: logger, Now: s.clock.now}
	c.server = Config{
		Store: s.store, Node: "a", Log: logger, Now: s.clock.now,
		TLS: &tls.Config{Certificates: []tls.Certificate{s.cert}},
	}
	for _, f := range change {
		f(&c)
	}
	if s.auth, err = auth.New(t.Context(), c.auth); err != nil {
		t.Fatal(err)
	}
	c.server.Auth = s.auth
	if s.Server, err = New(c.server); err != nil {
		t.Fatal(err)
	}
	s.serve(c.listen)
	return s
}

func (s *site) serve(wrap func(net.Listener) net.Listener) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	accepting := &firstAccept{Listener: wrap(l), called: make(chan struct{})}
	go func() { s.served <- s.Serve(ctx, accepting) }()
	s.t.Cleanup(func() {
		cancel()
		select {
		case err := <-s.served:
			if err != nil && !errors.Is(err, context.Canceled) {
				s.t.Errorf("Serve: %v", err)
			}
		case <-time.After(patience):
			s.t.Error("Serve has not returned")
		}
	})
	select {
	case <-accepting.called:
	case <-time.After(patience):
		s.t.Fatal("Serve does not accept")
	}
}

// A firstAccept tells when its server begins to accept. Then the server has
// subscribed to the store, and a test may close the store under it.
type firstAccept struct {
	net.Listener
	once   sync.Once
	called chan struct{}
}

func (l *firstAccept) Accept() (net.Conn, error) {
	l.once.Do(func() { close(l.called) })
	return l.Listener.Accept()
}

// addUser makes an account.
func (s *site) addUser(name string) {
	s.t.Helper()
	if err := s.store.CreateUser(s.t.Context(), store.User{Name: name, Password: siteHash, Created: s.clock.now()}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) eventually(what string, f func() bool) {
	s.t.Helper()
	testkit.Eventually(s.t, what, f)
}

// publish stores a message for a phone's token.
func (s *site) publish(p *phone, text string, change ...func(*store.Message)) uint64 {
	s.t.Helper()
	now := s.clock.now()
	m := store.Message{
		ID: "id of " + text, Token: store.TokenHash(p.token), Data: []byte(text),
		Publisher: "news", Published: now, Expires: now.Add(time.Hour),
	}
	for _, f := range change {
		f(&m)
	}
	seq, _, err := s.store.Publish(s.t.Context(), m)
	if err != nil {
		s.t.Fatal(err)
	}
	return seq
}

// records is all that the store and the registry know of a phone.
func (s *site) records(p *phone) string {
	s.t.Helper()
	claims, err := s.auth.Open(s.t.Context(), p.session)
	if err != nil {
		s.t.Fatal(err)
	}
	token, err := s.store.Token(s.t.Context(), store.TokenHash(p.token))
	if err != nil {
		s.t.Fatal(err)
	}
	terminal, err := s.store.Terminal(s.t.Context(), token.Hash)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{
		"session": claims.Record, "session revision": claims.Record.Revision, "token": token, "token revision": token.Revision,
		"terminal": terminal, "channels": s.channels.Channels(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// refusals is how often a code was counted.
func (s *site) refusals(code wire.Code) float64 {
	return value(s.t, s.metrics.refused.WithLabelValues(string(code)))
}

func value(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var got dto.Metric
	if err := m.Write(&got); err != nil {
		t.Fatal(err)
	}
	return got.GetCounter().GetValue()
}

func newCertificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{siteName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

// A logbook is what a site has logged.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
