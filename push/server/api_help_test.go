package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keyhole/push/auth"
	"keyhole/push/channel"
	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// apiHost is the name in the certificate of the servers under test.
const apiHost = "push.example"

const apiOrigin = "https://" + apiHost

// An apiClock is the real time, and what a test has added to it.
type apiClock struct{ ahead atomic.Int64 }

func (c *apiClock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *apiClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// An apiServer is a whole server behind a loopback listener, with one user,
// "ann" with the password "correct horse", and one publisher, "shop".
type apiServer struct {
	*Server
	t     testing.TB
	auth  *auth.Auth
	store *store.Store
	clock *apiClock
	http  *http.Client // dials the server whatever the URL's host is
	addr  string
	key   string // of the publisher
	log   *apiLog
}

// apiSetup is what a test may change of it.
type apiSetup struct {
	store  store.Config
	auth   auth.Config
	server Config
}

func startAPI(t testing.TB, change ...func(*apiSetup)) *apiServer {
	t.Helper()
	a := &apiServer{t: t, clock: &apiClock{}, log: &apiLog{}}
	log := slog.New(slog.NewTextHandler(a.log, nil))
	certificate, pool := apiCertificate(t, apiHost)
	setup := apiSetup{
		store:  store.Config{Dir: t.TempDir(), Log: log, Now: a.clock.Now},
		auth:   auth.Config{LoginPerMinute: -1, Log: log, Now: a.clock.Now},
		server: Config{TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}, Node: "a", Log: log, Now: a.clock.Now},
	}
	for _, f := range change {
		f(&setup)
	}
	ctx := t.Context()
	var err error
	if a.store, err = store.Open(ctx, setup.store); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.store.Close() }) // some tests close it before
	setup.auth.Store, setup.server.Store = a.store, a.store
	if a.auth, err = auth.New(ctx, setup.auth); err != nil {
		t.Fatal(err)
	}
	setup.server.Auth = a.auth
	if a.Server, err = New(setup.server); err != nil {
		t.Fatal(err)
	}
	if err := a.createUser("ann"); err != nil {
		t.Fatal(err)
	}
	if a.key, err = a.auth.CreatePublisher(ctx, "shop", nil); err != nil {
		t.Fatal(err)
	}
	a.serve(pool)
	return a
}

// createUser makes an account with sitePassword.
func (a *apiServer) createUser(name string) error {
	return a.store.CreateUser(a.t.Context(), store.User{Name: name, Password: siteHash, Created: a.clock.Now()})
}

// serve serves until the test ends.
func (a *apiServer) serve(pool *x509.CertPool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		a.t.Fatal(err)
	}
	a.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx, l) }()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, ServerName: apiHost},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, a.addr)
		},
	}
	a.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a.t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-served; !errors.Is(err, context.Canceled) {
			a.t.Errorf("Serve = %v, want %v", err, context.Canceled)
		}
	})
	a.send("HEAD", "/", nil).ok(a.t, 200, nil) // it follows the store from here on
}

// apiCertificate makes a certificate for names and the pool that trusts it.
func apiCertificate(t testing.TB, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// apiLog keeps what is logged.
type apiLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *apiLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *apiLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// An apiReply is one answer, read whole.
type apiReply struct {
	what   string // the request
	status int
	header http.Header
	body   string
}

// send sends one request. body is a string as it is, or anything else as JSON.
func (a *apiServer) send(method, path string, body any, change ...func(*http.Request)) apiReply {
	a.t.Helper()
	r := a.request(method, path, body)
	for _, f := range change {
		f(r)
	}
	resp, err := a.http.Do(r)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return apiReply{method + " " + path, resp.StatusCode, resp.Header, string(b)}
}

func (a *apiServer) request(method, path string, body any) *http.Request {
	a.t.Helper()
	var read io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		read = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			a.t.Fatal(err)
		}
		read = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(a.t.Context(), method, apiOrigin+path, read)
	if err != nil {
		a.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func bearer(key string) func(*http.Request) { return header("Authorization", "Bearer "+key) }

// ok reads the reply of a request that must succeed.
func (r apiReply) ok(t testing.TB, status int, into any) {
	t.Helper()
	if r.status != status {
		t.Fatalf("%s = %d %s, want %d", r.what, r.status, r.body, status)
	}
	if into == nil {
		return
	}
	d := json.NewDecoder(strings.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s = %s: %v", r.what, r.body, err)
	}
}

// refused wants a refusal with a status, a code, and a text in its message.
func (r apiReply) refused(t testing.TB, status int, code wire.Code, text string) {
	t.Helper()
	var got errorReply
	if err := json.Unmarshal([]byte(r.body), &got); err != nil {
		t.Fatalf("%s = %d %q, want a refusal in JSON: %v", r.what, r.status, r.body, err)
	}
	if r.status != status || got.Error.Code != code || !strings.Contains(got.Error.Message, text) {
		t.Errorf("%s = %d %s %q, want %d %s with %q", r.what, r.status, got.Error.Code, got.Error.Message, status, code, text)
	}
	if strings.HasPrefix(got.Error.Message, string(code)) || got.Error.Message == "" {
		t.Errorf("message %q, want one that does not repeat its code", got.Error.Message)
	}
}

// An apiTerminal is a terminal that logged in.
type apiTerminal struct {
	*apiServer
	key               *keys.Private
	user, device, app string
	session, token    string
	endpoint          string
}

// login makes the account if it is not there yet, and logs in.
func (a *apiServer) loginAs(user, device, app string) *apiTerminal {
	a.t.Helper()
	err := a.createUser(user)
	if err != nil && !errors.Is(err, store.ErrExists) {
		a.t.Fatal(err)
	}
	key, err := keys.Generate()
	if err != nil {
		a.t.Fatal(err)
	}
	var reply loginReply
	a.send("POST", "/v1/login", loginRequest{user, sitePassword, device, app, key.Public().String()}).ok(a.t, 200, &reply)
	return &apiTerminal{apiServer: a, key: key, user: user, device: device, app: app, session: reply.Session}
}

// terminal is a terminal with its message token.
func (a *apiServer) newTerminalOf(user, device, app string) *apiTerminal {
	a.t.Helper()
	t := a.loginAs(user, device, app)
	var reply tokenReply
	t.call("POST", "/v1/tokens", tokenRequest{Device: device, App: app, Account: user}).ok(a.t, 200, &reply)
	t.token, t.endpoint = reply.Token, strings.TrimPrefix(reply.Endpoint, apiOrigin)
	return t
}

// call sends one request with the terminal's session and a proof.
func (t *apiTerminal) call(method, path string, body any, change ...func(*http.Request)) apiReply {
	t.t.Helper()
	return t.send(method, path, body, append([]func(*http.Request){t.proven(method, path)}, change...)...)
}

// proven authorizes a request, for another one if need be.
func (t *apiTerminal) proven(method, path string) func(*http.Request) {
	t.t.Helper()
	proof, err := t.key.DPoP(method, apiOrigin+path, t.clock.Now(), t.session)
	if err != nil {
		t.t.Fatal(err)
	}
	return func(r *http.Request) {
		r.Header.Set("Authorization", "DPoP "+t.session)
		r.Header.Set("DPoP", proof)
	}
}

func (t *apiTerminal) pull(query string) pullReply {
	t.t.Helper()
	var reply pullReply
	t.call("GET", "/v1/messages?token="+t.token+query, nil).ok(t.t, 200, &reply)
	return reply
}

// texts are the payloads of a page, in order.
func (p pullReply) texts() []string {
	var all []string
	for _, m := range p.Messages {
		all = append(all, string(m.Data))
	}
	return all
}

// published publishes a message that must be taken.
func (a *apiServer) published(q any) publishReply {
	a.t.Helper()
	var reply publishReply
	a.send("POST", "/v1/messages", q, bearer(a.key)).ok(a.t, 201, &reply)
	return reply
}

// until waits for a condition that comes true by itself.
func (a *apiServer) until(what string, done func() bool) {
	a.t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.After(patience)
	for !done() {
		select {
		case <-look.C:
		case <-late:
			a.t.Fatalf("waited %s until %s", patience, what)
		}
	}
}

// A quiet is a channel.Sink that takes everything.
type quiet struct{}

func (quiet) Send(*wire.Message) error { return nil }
func (quiet) Close(wire.Code, string)  {}

// attach connects a terminal at the registry, without a connection.
func (a *apiServer) attach(user, device, app string) *channel.Channel {
	a.t.Helper()
	t := a.newTerminalOf(user, device, app)
	c, err := a.channels.Register(a.t.Context(), channel.Attributes{Conn: "c1", User: user, Device: device, App: app, Version: "2.1"}, quiet{})
	if err != nil {
		a.t.Fatal(err)
	}
	if err := c.Listen(a.t.Context(), store.TokenHash(t.token), map[string]string{"network": "wifi"}); err != nil {
		a.t.Fatal(err)
	}
	return c
}
