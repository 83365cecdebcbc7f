package server

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keyhole/push/wire"
)

func TestMethodsThatAPathDoesNotHave(t *testing.T) {
	a := startAPI(t)
	for _, c := range []struct{ method, path, allow string }{
		{"GET", "/v1/login", "POST"},
		{"PUT", "/v1/messages", "GET, HEAD, POST"},
		{"OPTIONS", "/v1/tokens", "POST"},
		{"POST", "/v1/session", "DELETE"},
		{"GET", "/push/token", "POST"},
		{"DELETE", "/", "GET, HEAD"},
		{"POST", "/v1/terminal", "GET, HEAD"},
		{"BREW", "/v1/messages/ack", "POST"},
	} {
		r := a.send(c.method, c.path, nil)
		r.refused(t, 405, wire.MethodNotAllowed, c.allow)
		if got := r.header.Get("Allow"); got != c.allow {
			t.Errorf("%s: Allow = %q, want %q", r.what, got, c.allow)
		}
	}
}

func TestUnknownPathIsRefusedInJSON(t *testing.T) {
	a := startAPI(t)
	for _, path := range []string{"/v1", "/v1/", "/v2/login", "/push/", "/push/a/b", "/push/message/id", "/favicon.ico", "/terminal.html/x", "/.git/config"} {
		for _, method := range []string{"GET", "POST"} {
			r := a.send(method, path, nil)
			r.refused(t, 404, wire.NotFound, "docs/push-api.md")
			if got := r.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("%s: Content-Type = %q, want application/json", r.what, got)
			}
		}
	}
}

func TestHeadIsGetWithoutTheBody(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	path := "/v1/messages?token=" + ann.token
	if r := ann.call("HEAD", path, nil); r.status != 200 || r.body != "" {
		t.Errorf("%s = %d %q, want 200 and no body", r.what, r.status, r.body)
	}
	// A proof is of one method: that of the GET does not do.
	r := a.send("HEAD", path, nil, ann.proven("GET", path))
	if r.status != 401 || r.body != "" {
		t.Errorf("%s with the proof of GET = %d %q, want 401 and no body", r.what, r.status, r.body)
	}
	if r := a.send("HEAD", "/", nil); r.status != 200 || r.body != "" {
		t.Errorf("%s = %d %q, want 200 and no body", r.what, r.status, r.body)
	}
}

func TestBodyThatIsNotTheRequest(t *testing.T) {
	a := startAPI(t)
	for _, c := range []struct{ name, body, says string }{
		{"empty", "", "empty"},
		{"not JSON", "hello", "invalid character"},
		{"an array", `[{"user":"ann"}]`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"cut off", `{"user":"ann"`, "unexpected end of JSON input"},
		{"two objects", `{"user":"ann"}{"user":"bob"}`, "after top-level value"},
		{"an unknown field", `{"user":"ann","passwort":"x"}`, `unknown field "passwort"; there are user, password`},
		{"a field of another case", `{"User":"ann"}`, `unknown field "User"`},
		{"a field that comes twice", `{"user":"ann","user":"bob"}`, `field "user" comes twice`},
		{"a number for a text", `{"user":7}`, `field "user" cannot be a number`},
		{"deep", strings.Repeat("[", 12_000), ""},
		{"Latin-1", "{\"user\":\"Zo\xeb\"}", "not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.send("POST", "/v1/login", c.body).refused(t, 400, wire.BadRequest, c.says)
		})
	}
}

func TestContentTypeMustBeJSON(t *testing.T) {
	a := startAPI(t)
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset"} {
		a.send("POST", "/v1/login", "{}", header("Content-Type", kind)).refused(t, 400, wire.BadRequest, "application/json")
	}
	a.send("POST", "/v1/login", "{}", header("Content-Type", "application/json; charset=utf-8")).refused(t, 400, wire.BadRequest, "user is empty")
}

func TestBodyTooLarge(t *testing.T) {
	a := startAPI(t)
	long := `{"user":"` + strings.Repeat("a", bodyLimit) + `"}`
	a.send("POST", "/v1/login", long).refused(t, 413, wire.PayloadTooLarge, "16384 bytes")
	for _, c := range []struct {
		length int
		status int
	}{{4096, 201}, {4097, 413}} {
		text := strings.Repeat("\x01", c.length) // six bytes each, in JSON
		r := a.send("POST", "/v1/messages", publishRequest{App: "mail", Version: "1", Text: &text}, bearer(a.key))
		if r.status != c.status {
			t.Errorf("publish of %d bytes = %d %.200s, want %d", c.length, r.status, r.body, c.status)
		}
	}
}

// endless is a body that never ends, and counts what was taken of it.
type endless struct{ taken atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.taken.Add(int64(len(p)))
	return len(p), nil
}

func TestChunkedBodyWithoutEndIsCutOff(t *testing.T) {
	a := startAPI(t)
	transport := a.http.Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2, transport.TLSClientConfig.NextProtos = false, []string{"http/1.1"}
	defer transport.CloseIdleConnections()
	body := &endless{}
	r, err := http.NewRequestWithContext(t.Context(), "POST", apiOrigin+"/v1/login", io.NopCloser(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := transport.RoundTrip(r)
	if err == nil { // the answer may come before the connection is closed on the rest, or after
		defer resp.Body.Close()
		if resp.StatusCode != 413 || !resp.Close {
			t.Errorf("endless body = %d, close %t, want 413 and the connection closed", resp.StatusCode, resp.Close)
		}
	}
	if taken := body.taken.Load(); taken > 8<<20 { // what the buffers on the way hold
		t.Errorf("%d bytes of it were taken, want no more than a few MiB", taken)
	}
	a.until("the refusal is counted", func() bool { return a.counted("pushd_refused_total", string(wire.PayloadTooLarge)) == 1 })
}

func TestAnswersAreNotKept(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	for _, r := range []apiReply{ann.call("GET", "/v1/messages?token="+ann.token, nil), a.send("GET", "/v1/messages", nil)} {
		if got := r.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s = %d: Cache-Control = %q, want no-store", r.what, r.status, got)
		}
	}
}

func TestHTTP11AndHTTP2AreServed(t *testing.T) {
	a := startAPI(t)
	for _, protocol := range []string{"h2", "http/1.1"} {
		c := a.http.Transport.(*http.Transport).TLSClientConfig.Clone()
		c.NextProtos = []string{protocol}
		conn, err := tls.Dial("tcp", a.addr, c)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != protocol {
			t.Errorf("ALPN %s = %q", protocol, got)
		}
		conn.Close()
	}
	if r := a.send("GET", "/", nil); r.status != 200 {
		t.Errorf("%s over HTTP/2 = %d, want 200", r.what, r.status)
	}
}

func TestErrorsWithoutACodeStayInTheLog(t *testing.T) {
	a := startAPI(t)
	secret := errors.New("open /var/lib/pushd/secret: permission denied")
	h := a.endpoints(map[string]endpoint{"GET": func(http.ResponseWriter, *http.Request) error { return secret }})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, a.request("GET", "/", nil))
	if w.Code != 500 || bytes.Contains(w.Body.Bytes(), []byte("secret")) || !bytes.Contains(w.Body.Bytes(), []byte(`"internal"`)) {
		t.Errorf("answer = %d %s, want 500 internal without the text", w.Code, w.Body.String())
	}
	if log := a.log.String(); strings.Count(log, secret.Error()) != 1 {
		t.Errorf("log %q, want the text once", log)
	}
}

// A timedWriter notes the deadlines that it is given.
type timedWriter struct {
	*httptest.ResponseRecorder
	read, write time.Time
}

func (w *timedWriter) SetReadDeadline(t time.Time) error  { w.read = t; return nil }
func (w *timedWriter) SetWriteDeadline(t time.Time) error { w.write = t; return nil }

// A client that sends a byte a minute is cut off, whatever the path.
func TestEveryRequestHasDeadlines(t *testing.T) {
	a := startAPI(t)
	for _, path := range []string{"/v1/login", "/v1/nothing", "/v1/session", "/", "/push/x"} {
		w := &timedWriter{ResponseRecorder: httptest.NewRecorder()}
		before := time.Now()
		a.Handler().ServeHTTP(w, a.request("POST", path, "{}"))
		if w.read.Before(before.Add(readTimeout)) || w.read.After(time.Now().Add(readTimeout)) {
			t.Errorf("POST %s: deadline to read is in %s, want %s", path, w.read.Sub(before), readTimeout)
		}
		if w.write.Before(w.read.Add(answerTimeout)) {
			t.Errorf("POST %s: deadline to write is %s after that, want at least %s", path, w.write.Sub(w.read), answerTimeout)
		}
	}
}
