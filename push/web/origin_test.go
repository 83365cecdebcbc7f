package web_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"keyhole/push/keys"
	"keyhole/push/web"
	"keyhole/push/wire"
)

// patience bounds the wait for what has to come. It is not what a busy machine
// takes, but when to believe that it never will.
const patience = 5 * time.Minute

// An origin serves the page and stands in for a push server, whose side of each connection the test plays by hand.
type origin struct {
	t *testing.T
	*httptest.Server
	terminals chan *terminal

	mu       sync.Mutex
	ring     *keys.Ring
	client   keys.Public // of the last login
	session  string      // the current session token
	claims   keys.Claims
	logins   []map[string]string
	requests []string // others, as "METHOD path"
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	ring, err := keys.NewRing(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{t: t, ring: ring, terminals: make(chan *terminal, 16)}
	mux := http.NewServeMux()
	mux.Handle("GET /", page())
	mux.HandleFunc("POST /v1/login", o.login)
	mux.HandleFunc("POST /v1/tokens", o.proved(func(w http.ResponseWriter) {
		answer(w, 200, map[string]string{"token": "the-token", "endpoint": o.URL + "/push/the-token"})
	}))
	mux.HandleFunc("DELETE /v1/session", o.proved(func(w http.ResponseWriter) { w.WriteHeader(204) }))
	mux.HandleFunc("GET /v1/terminal", o.terminal)
	o.Server = httptest.NewTLSServer(mux)
	t.Cleanup(o.Close)
	return o
}

// page serves the files with the policy that the package's comment says is enough.
func page() http.Handler {
	files := http.FileServerFS(web.Files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		files.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, code wire.Code) {
	answer(w, status, map[string]any{"error": map[string]any{"code": code, "message": "as the test has it"}})
}

// login takes the password "secret".
func (o *origin) login(w http.ResponseWriter, r *http.Request) {
	var q map[string]string
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		o.t.Errorf("login: %v", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.logins = append(o.logins, q)
	if q["password"] != "secret" {
		refuse(w, 401, wire.LoginFailed)
		return
	}
	public, err := keys.ParsePublic(q["client_key"])
	if err != nil {
		o.t.Errorf("login: client_key: %v", err)
	}
	o.claims = keys.Claims{User: q["user"], Device: q["device"], App: q["app"], ID: "id", STime: time.Now().UnixMilli()}
	o.renewLocked(public)
	answer(w, 200, map[string]any{
		"session": o.session, "server_key": o.ring.Current().Private.Public().String(),
		"s_time": o.claims.STime, "expires": time.Now().Add(time.Hour).UnixMilli(),
	})
}

// renewLocked makes the session token for a client key.
func (o *origin) renewLocked(client keys.Public) {
	o.client, o.claims.Thumbprint = client, client.Thumbprint()
	session, err := o.ring.Seal(o.claims)
	if err != nil {
		o.t.Error(err)
	}
	o.session = session
}

// renew takes a new client key, as the server does on a renewal.
func (o *origin) renew(client keys.Public) (session string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.claims.Epoch++
	o.claims.STime = time.Now().UnixMilli()
	o.renewLocked(client)
	return o.session
}

// proved wants the session and its proof (RFC 9449).
func (o *origin) proved(h func(http.ResponseWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.requests = append(o.requests, r.Method+" "+r.URL.Path)
		session, client := o.session, o.client
		o.mu.Unlock()
		key, _, err := keys.VerifyDPoP(r.Header.Get("DPoP"), r.Method, o.URL+r.URL.Path, time.Now(), 30*time.Second, session)
		if err != nil || !key.Equal(client.SignKey()) || r.Header.Get("Authorization") != "DPoP "+session {
			o.t.Errorf("%s %s: proof %v, by the client's key: %v, Authorization is the session's: %v", r.Method, r.URL.Path, err,
				key.Equal(client.SignKey()), r.Header.Get("Authorization") == "DPoP "+session)
		}
		h(w)
	}
}

// A terminal is the server's end of one WebSocket.
type terminal struct {
	t      *testing.T
	origin *origin
	conn   *websocket.Conn
	hello  *wire.Hello
	x      *wire.Exchange
	nonce  []byte
}

func (o *origin) terminal(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		o.t.Errorf("accept: %v", err)
		return
	}
	o.t.Cleanup(func() { conn.CloseNow() })
	o.terminals <- &terminal{t: o.t, origin: o, conn: conn}
}

// next waits for the page to connect.
func (o *origin) next() *terminal {
	o.t.Helper()
	select {
	case t := <-o.terminals:
		return t
	case <-time.After(patience):
		o.t.Fatal("the page has not connected")
		return nil
	}
}

func (t *terminal) send(f wire.Frame) {
	t.t.Helper()
	b, err := wire.Encode(f)
	if err != nil {
		t.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.t.Context(), patience)
	defer cancel()
	if err := t.conn.Write(ctx, websocket.MessageText, b); err != nil {
		t.t.Fatalf("send %s: %v", b, err)
	}
}

// read returns the next frame of the page, strictly read.
func (t *terminal) read() (wire.Frame, error) {
	ctx, cancel := context.WithTimeout(t.t.Context(), patience)
	defer cancel()
	_, b, err := t.conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	f, err := wire.DecodeClient(b)
	if err != nil {
		t.t.Fatalf("the page sent %s: %v", b, err)
	}
	return f, nil
}

// expect reads the next frame, which has to be an F. Plain heartbeats before it are passed over.
func expect[F wire.Frame](t *terminal) F {
	t.t.Helper()
	for {
		f, err := t.read()
		if err != nil {
			t.t.Fatalf("the page sent no %s frame: %v", reflect.New(reflect.TypeFor[F]().Elem()).Interface().(F).Kind(), err)
		}
		if want, ok := f.(F); ok {
			return want
		}
		if h, ok := f.(*wire.Heartbeat); !ok || h.Renewal != nil {
			t.t.Fatalf("the page sent %+v, want a %T", f, *new(F))
		}
	}
}

// closed waits for the page to end the connection, and returns the reason that it gave.
func (t *terminal) closed() string {
	t.t.Helper()
	f, err := t.read()
	if err == nil {
		t.t.Fatalf("the page sent a %s frame %+v, want it to end the connection", f.Kind(), f)
	}
	_, reason, _ := strings.Cut(err.Error(), `reason = "`)
	return strings.TrimSuffix(reason, `"`)
}

// greet is V1 and V2.
func (t *terminal) greet() {
	t.t.Helper()
	t.hello = expect[*wire.Hello](t)
	t.x = t.exchange()
	t.send(&wire.Challenge{
		Version: t.x.Version, Versions: t.x.Supported, ClientToken: t.x.ClientToken, ServerToken: t.x.ServerToken,
	})
}

func (t *terminal) exchange() *wire.Exchange {
	o, h := t.origin, t.hello
	o.mu.Lock()
	defer o.mu.Unlock()
	kid, err := keys.SessionKey(h.Session)
	if err != nil {
		t.t.Fatal(err)
	}
	return &wire.Exchange{
		Offered: h.Versions, Supported: versions, Version: versions[0],
		ClientToken: h.ClientToken, ServerToken: random(32), User: o.claims.User, Device: o.claims.Device, App: o.claims.App,
		AppVersion: h.AppVersion, Session: h.Session, Binding: h.Binding,
		Client: o.client, Server: o.ring.Find(kid).Private.Public(),
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// confirm is V3 and V4, with what change makes of the second confirmation. It reports whether the client's proof holds,
// and confirms nothing if not.
func (t *terminal) confirm(change func(*wire.Confirmed)) bool {
	t.t.Helper()
	c := expect[*wire.Confirm](t)
	if !bytes.Equal(c.ServerToken, t.x.ServerToken) || !slices.Equal(c.Versions, t.x.Offered) || len(c.ChannelBinding) != 0 {
		t.t.Fatalf("confirm = %+v, want the server token, the versions of the hello and no channel binding", c)
	}
	if !t.x.VerifyClient(c.Proof) {
		return false
	}
	kid, err := keys.SessionKey(t.hello.Session)
	if err != nil {
		t.t.Fatal(err)
	}
	t.origin.mu.Lock()
	server, claims := t.origin.ring.Find(kid), t.origin.claims
	t.origin.mu.Unlock()
	proof, err := t.x.ServerProof(server.Private, c.Proof)
	if err != nil {
		t.t.Fatal(err)
	}
	t.nonce = random(16)
	confirmed := &wire.Confirmed{
		Proof: proof, Binding: wire.BindingWaived,
		Epoch: claims.Epoch, STime: claims.STime, Time: time.Now().UnixMilli(), Nonce: t.nonce,
		HeartbeatMS: time.Hour.Milliseconds(), RenewMS: time.Hour.Milliseconds(), Limits: wire.Limits{Window: 64},
	}
	if change != nil {
		change(confirmed)
	}
	t.send(confirmed)
	return true
}

// listen is everything until the terminal listens.
func (t *terminal) listen(change func(*wire.Confirmed)) *wire.Listen {
	t.t.Helper()
	t.greet()
	if !t.confirm(change) {
		t.t.Fatal("the client's proof does not hold")
	}
	l := expect[*wire.Listen](t)
	t.send(&wire.Listening{Ref: l.Ref})
	return l
}
