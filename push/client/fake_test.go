package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"keyhole/internal/testkit"
	"keyhole/push/keys"
	"keyhole/push/wire"
)

// patience bounds the wait for what has to come. It is not what a busy machine
// takes, but when to believe that it never will. The clock of a
// synctest bubble starts in the year 2000, and there it costs nothing to wait.
func patience() time.Duration {
	if time.Now().Year() < 2010 {
		return 100_000 * time.Hour
	}
	return testkit.Patience
}

// fakeURL is where every fake says it is; the terminal's Dial knows better.
const fakeURL = "https://push.test"

// A fake is a push server for one terminal that does as the test says. Its
// fields are set before the terminal runs, or under its lock.
type fake struct {
	t     testing.TB
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	conns chan *fakeConn // each connection that has sent its hello
	quit  chan struct{}  // closed at the end of the test

	confirmed wire.Confirmed                                    // what every Confirmed has, beside what the exchange gives it
	login     func(w http.ResponseWriter) bool                  // may answer in place of the fake; true when it has
	tokens    func(w http.ResponseWriter) bool                  //
	upgrade   func(http.ResponseWriter, *http.Request) bool     //
	challenge func(*wire.Challenge)                             // may change it
	confirm   func(*wire.Confirmed, *wire.Exchange)             //
	verify    func(x *wire.Exchange, c *wire.Confirm) wire.Code // "" lets it through
	api       http.Handler                                      // for whatever else is asked

	mu      sync.Mutex
	ring    *keys.Ring
	client  keys.Public
	session string // the current one
	epoch   uint64
	sTime   time.Time
	now     func() time.Time
	logins  int
	asked   int // for the message token
	token   string
}

var testCert, testRoots = sync.OnceValue(makeCert), sync.OnceValue(func() *x509.CertPool {
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(testCert().Certificate[0])
	if err != nil {
		panic(err)
	}
	pool.AddCert(leaf)
	return pool
})

// makeCert makes a certificate that holds in the year 2000 too, which is when
// a synctest bubble starts.
func makeCert() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "push.test"}, DNSNames: []string{"push.test"},
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{testCert()}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}
}

// newFake starts a fake on a loopback port.
func newFake(t testing.TB) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := serveFake(t, l)
	f.dial = dialTo(l.Addr().String())
	return f
}

func dialTo(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
}

// newPipeFake starts a fake that is reached by net.Pipe, for a synctest bubble.
func newPipeFake(t testing.TB) *fake {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	f := serveFake(t, l)
	f.dial = l.dial
	return f
}

func serveFake(t testing.TB, l net.Listener) *fake {
	t.Helper()
	f := &fake{t: t, conns: make(chan *fakeConn), quit: make(chan struct{}), now: time.Now, token: "the-token"}
	ring, err := keys.NewRing(time.Now(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f.ring = ring
	f.confirmed = wire.Confirmed{HeartbeatMS: time.Hour.Milliseconds(), RenewMS: (1000 * time.Hour).Milliseconds(),
		Limits: wire.Limits{FrameBytes: 16384, PayloadBytes: 4096, StateKeys: 64, Window: 64}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/login", f.serveLogin)
	mux.HandleFunc("POST /v1/tokens", f.serveTokens)
	mux.HandleFunc("GET /v1/terminal", f.serveTerminal)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { f.api.ServeHTTP(w, r) })
	s := &http.Server{Handler: mux, TLSConfig: serverTLS(), ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.ServeTLS(l, "", "")
	}()
	t.Cleanup(func() {
		close(f.quit)
		_ = s.Close()
		<-ended
	})
	return f
}

func refuseHTTP(w http.ResponseWriter, status int, code wire.Code) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": "says the fake"}})
	return true
}

func (f *fake) serveLogin(w http.ResponseWriter, r *http.Request) {
	var q loginRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		f.t.Errorf("login body: %v", err)
	}
	f.mu.Lock()
	f.logins++
	f.mu.Unlock()
	if f.login != nil && f.login(w) {
		return
	}
	if q.User != "ada" || q.Password != "secret" || q.Device != "phone" || q.App != "notes" {
		refuseHTTP(w, http.StatusUnauthorized, wire.LoginFailed)
		return
	}
	client, err := keys.ParsePublic(q.ClientKey)
	if err != nil {
		f.t.Errorf("client_key: %v", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.client, f.epoch = client, 0
	f.sealSession()
	_ = json.NewEncoder(w).Encode(map[string]any{"session": f.session, "s_time": f.sTime.UnixMilli(), "expires": 0,
		"server_key": f.ring.Current().Private.Public().String()})
}

// sealSession makes the session token of the current client key and epoch.
func (f *fake) sealSession() {
	f.sTime = f.now()
	session, err := f.ring.Seal(keys.Claims{User: "ada", STime: f.sTime.UnixMilli(), Device: "phone", App: "notes",
		ID: "s1", Epoch: f.epoch, Thumbprint: f.client.Thumbprint()})
	if err != nil {
		f.t.Errorf("seal a session: %v", err)
	}
	f.session = session
}

// authorized checks the proof of a request as a server does.
func (f *fake) authorized(w http.ResponseWriter, r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, _, err := keys.VerifyDPoP(r.Header.Get("DPoP"), r.Method, fakeURL+r.URL.Path, f.now(), time.Minute, f.session)
	if err != nil || r.Header.Get("Authorization") != "DPoP "+f.session || !key.Equal(f.client.SignKey()) {
		w.Header().Set("Date", f.now().UTC().Format(http.TimeFormat))
		refuseHTTP(w, http.StatusUnauthorized, wire.Unauthorized)
		return false
	}
	return true
}

func (f *fake) serveTokens(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked++
	f.mu.Unlock()
	if f.tokens != nil && f.tokens(w) || !f.authorized(w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = json.NewEncoder(w).Encode(tokenReply{f.token, fakeURL + "/push/" + f.token})
}

// A fakeConn is the server's end of a connection.
type fakeConn struct {
	f     *fake
	ws    *websocket.Conn
	hello *wire.Hello
	x     *wire.Exchange
	in    chan wire.Frame // closed when the client's last frame was read
	done  chan struct{}   // closed by the test's end or by close
	once  sync.Once
}

func (f *fake) serveTerminal(w http.ResponseWriter, r *http.Request) {
	if f.upgrade != nil && f.upgrade(w, r) {
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	c := &fakeConn{f: f, ws: ws, in: make(chan wire.Frame), done: make(chan struct{})}
	defer close(c.in)
	hello, ok := c.readFrame().(*wire.Hello)
	if !ok {
		return
	}
	c.hello = hello
	c.x = f.exchange(r.TLS, hello)
	select {
	case f.conns <- c:
	case <-f.quit:
		return
	}
	go func() {
		<-c.done
		_ = ws.CloseNow()
	}()
	defer c.close()
	for in := c.readFrame(); in != nil; in = c.readFrame() {
		select {
		case c.in <- in:
		case <-c.done:
			return
		}
	}
}

// readFrame returns the next frame of the client, nil when there is none.
func (c *fakeConn) readFrame() wire.Frame {
	_, b, err := c.ws.Read(context.Background())
	if err != nil {
		return nil
	}
	f, err := wire.DecodeClient(b)
	if err != nil {
		c.f.t.Errorf("the terminal sent %s: %v", b, err)
		return nil
	}
	return f
}

// exchange is the server's side of one, for the session of hello.
func (f *fake) exchange(over *tls.ConnectionState, h *wire.Hello) *wire.Exchange {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := &wire.Exchange{Offered: h.Versions, Supported: []string{wire.Subprotocol}, Version: wire.Subprotocol,
		ClientToken: h.ClientToken, ServerToken: make([]byte, 32), User: "ada", Device: "phone", App: "notes",
		AppVersion: h.AppVersion, Session: h.Session, Client: f.client, Binding: h.Binding}
	rand.Read(x.ServerToken)
	if _, key, err := f.ring.Open(h.Session); err == nil {
		x.Server = key.Private.Public()
	}
	if h.Binding == wire.BindingExporter {
		x.Exporter, _ = wire.Exporter(over)
	}
	return x
}

// next is the next connection.
func (f *fake) next() *fakeConn {
	f.t.Helper()
	select {
	case c := <-f.conns:
		f.t.Cleanup(c.close)
		return c
	case <-time.After(patience()):
		f.t.Fatal("the terminal did not connect")
		return nil
	}
}

// read returns the next frame of the client, nil when there is none.
func (c *fakeConn) read() wire.Frame {
	c.f.t.Helper()
	select {
	case f := <-c.in:
		return f
	case <-time.After(patience()):
		c.f.t.Fatal("the terminal sends nothing")
		return nil
	}
}

// must is the next frame of the client, which has to be an F.
func must[F wire.Frame](c *fakeConn) F {
	c.f.t.Helper()
	got := c.read()
	f, ok := got.(F)
	if !ok {
		c.f.t.Fatalf("the terminal sent %T, want %T", got, f)
	}
	return f
}

func (c *fakeConn) send(frames ...wire.Frame) {
	c.f.t.Helper()
	for _, f := range frames {
		b, err := wire.Encode(f)
		if err != nil {
			c.f.t.Fatal(err)
		}
		if err := c.ws.Write(context.Background(), websocket.MessageText, b); err != nil {
			c.f.t.Fatalf("send %s: %v", b, err)
		}
	}
}

func (c *fakeConn) close() { c.once.Do(func() { close(c.done) }) }

// sendChallenge is V2.
func (c *fakeConn) sendChallenge() {
	c.f.t.Helper()
	challenge := &wire.Challenge{Version: c.x.Version, Versions: c.x.Supported, ClientToken: c.x.ClientToken, ServerToken: c.x.ServerToken}
	if c.f.challenge != nil {
		c.f.challenge(challenge)
	}
	c.send(challenge)
}

// check is the server's check of V3.
func (c *fakeConn) check(confirm *wire.Confirm) wire.Code {
	switch {
	case c.f.verify != nil:
		return c.f.verify(c.x, confirm)
	case !slices.Equal(confirm.ServerToken, c.x.ServerToken):
		return wire.ServerTokenMismatch
	case c.x.Binding == wire.BindingExporter && !slices.Equal(confirm.ChannelBinding, c.x.BindingTag()):
		return wire.BindingMismatch
	case !c.x.VerifyClient(confirm.Proof):
		return wire.ProofInvalid
	}
	return ""
}

// verified goes through the exchange and returns c, or ends the test.
func (c *fakeConn) verified() *fakeConn {
	c.f.t.Helper()
	c.sendChallenge()
	confirm := must[*wire.Confirm](c)
	if code := c.check(confirm); code != "" {
		c.f.t.Fatalf("the client's confirmation is refused: %s", code)
	}
	c.sendConfirmed(confirm)
	return c
}

// sendConfirmed is V4.
func (c *fakeConn) sendConfirmed(confirm *wire.Confirm) {
	c.f.t.Helper()
	f := c.f
	f.mu.Lock()
	reply := f.confirmed
	reply.Epoch, reply.STime, reply.Time = f.epoch, f.sTime.UnixMilli(), f.now().UnixMilli()
	reply.Nonce = newNonce()
	reply.Binding = wire.BindingExporter
	if c.x.Binding == wire.BindingNone {
		reply.Binding = wire.BindingWaived
	}
	if c.hello.Session != f.session {
		reply.Session = f.session
	}
	kid, err := keys.SessionKey(c.hello.Session)
	if err != nil {
		f.t.Fatal(err)
	}
	key := f.ring.Find(kid)
	f.mu.Unlock()
	if reply.Proof, err = c.x.ServerProof(key.Private, confirm.Proof); err != nil {
		f.t.Fatal(err)
	}
	if f.confirm != nil {
		f.confirm(&reply, c.x)
	}
	c.send(&reply)
}

func newNonce() wire.Bytes {
	b := make([]byte, 16)
	rand.Read(b)
	return b
}

// refuse answers with a fatal error and closes.
func (c *fakeConn) refuse(code wire.Code) {
	c.f.t.Helper()
	c.send(&wire.Error{Code: code, Message: "says the fake", Fatal: true})
	_ = c.ws.Close(websocket.StatusPolicyViolation, string(code))
	c.close()
}

// listening goes on until the terminal listens, and returns its Listen.
func (c *fakeConn) listening() *wire.Listen {
	c.f.t.Helper()
	listen := must[*wire.Listen](c.verified())
	c.send(&wire.Listening{Ref: listen.Ref})
	return listen
}

// connected is the next connection, listening.
func (f *fake) connected() *fakeConn {
	f.t.Helper()
	c := f.next()
	c.listening()
	return c
}

// reply answers a heartbeat; a renewal in it is taken.
func (c *fakeConn) reply(h *wire.Heartbeat) {
	c.f.t.Helper()
	c.send(c.f.heartbeatReply(h))
}

func (f *fake) heartbeatReply(h *wire.Heartbeat) *wire.HeartbeatReply {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := &wire.HeartbeatReply{Time: f.now().UnixMilli(), Nonce: newNonce()}
	if h.NewKey != "" {
		f.renew(h)
		reply.Session = f.session
	}
	reply.STime, reply.Epoch = f.sTime.UnixMilli(), f.epoch
	return reply
}

// renew takes a renewal as the server does (K4), but for the nonce.
func (f *fake) renew(h *wire.Heartbeat) {
	f.t.Helper()
	next, err := keys.ParsePublic(h.NewKey)
	if err != nil {
		f.t.Fatalf("new_key: %v", err)
	}
	r := h.Renewal
	switch {
	case r == nil || h.Offset == nil:
		f.t.Fatal("a renewal without its offset or its proof")
	case r.Session != f.session || r.Epoch != f.epoch+1:
		f.t.Fatalf("renewal of epoch %d, want %d, and of the current session", r.Epoch, f.epoch+1)
	case !keys.VerifyRenewal(f.client, next, r.Session, *h.Offset, r.Epoch, r.Nonce, r.OldSignature, r.NewSignature):
		f.t.Fatal("the signatures of the renewal do not hold")
	case (time.Duration(*h.Offset)*time.Millisecond - f.now().Sub(f.sTime)).Abs() > 5*time.Second:
		f.t.Fatalf("offset %d ms, the server's own is %s", *h.Offset, f.now().Sub(f.sTime))
	}
	f.client, f.epoch = next, f.epoch+1
	f.sealSession()
}

// A pipeListener is a network within the process.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
