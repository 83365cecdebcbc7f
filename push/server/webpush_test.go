package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"crypto/ecdh"

	"keyhole/push/auth"
	"keyhole/push/webpush"
	"keyhole/push/wire"
)

// A sender signs Web Push requests as the libraries of application servers do.
type sender struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	public string // applicationServerKey
}

func newSender(t *testing.T) *sender {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &sender{t, key, base64.RawURLEncoding.EncodeToString(point)}
}

// vapid is the header Authorization for an audience.
func (s *sender) vapid(audience string, expires time.Time) string {
	s.t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			s.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(map[string]string{"typ": "JWT", "alg": "ES256"}) + "." +
		part(map[string]any{"aud": audience, "exp": expires.Unix(), "sub": "mailto:ops@shop.example"})
	sum := sha256.Sum256([]byte(signed))
	r, ss, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), ss.FillBytes(make([]byte, 32))...)
	return "vapid t=" + signed + "." + base64.RawURLEncoding.EncodeToString(signature) + ", k=" + s.public
}

// push sends a body as the libraries do.
func (t *apiTerminal) push(body string, headers map[string]string) apiReply {
	t.t.Helper()
	return t.send("POST", t.endpoint, body, func(r *http.Request) {
		r.Header = http.Header{"Ttl": {"60"}}
		if body != "" {
			r.Header.Set("Content-Encoding", "aes128gcm")
			r.Header.Set("Content-Type", "application/octet-stream")
		}
		for name, value := range headers {
			if r.Header.Set(name, value); value == "" {
				r.Header.Del(name)
			}
		}
	})
}

func TestP3WebPushIsStoredAndPulled(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	browser, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("0123456789abcdef")
	body, err := webpush.Encrypt(browser.PublicKey().Bytes(), secret, []byte("you have mail"))
	if err != nil {
		t.Fatal(err)
	}
	r := ann.push(string(body), map[string]string{"TTL": "600", "Topic": "inbox", "Urgency": "high",
		"Authorization": newSender(t).vapid(apiOrigin, a.clock.Now().Add(12*time.Hour))})
	if r.status != 201 || r.body != "" || r.header.Get("TTL") != "600" {
		t.Fatalf("%s = %d %q, TTL %q, want 201, no body, TTL 600", r.what, r.status, r.body, r.header.Get("TTL"))
	}
	id, ok := strings.CutPrefix(r.header.Get("Location"), apiOrigin+"/push/message/")
	if !ok || id == "" {
		t.Errorf("Location = %q, want %s/push/message/ID", r.header.Get("Location"), apiOrigin)
	}
	page := ann.pull("")
	if len(page.Messages) != 1 {
		t.Fatalf("pull = %d messages, want 1", len(page.Messages))
	}
	m := page.Messages[0]
	if m.ID != id || m.To != "token" || m.Topic != "inbox" || m.Urgency != "high" || m.ContentEncoding != "aes128gcm" {
		t.Errorf("message %+v, want id %s, topic inbox, urgency high, aes128gcm", m, id)
	}
	if life := m.Expires - m.Time; life != 600_000 {
		t.Errorf("expires - time = %d ms, want 600000", life)
	}
	if text, err := webpush.Decrypt(browser, secret, m.Data); err != nil || string(text) != "you have mail" {
		t.Errorf("Decrypt(data) = %q, %v, want what was sent", text, err)
	}
}

func TestWebPushTopicReplaces(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	for _, body := range []string{"one", "two", "three"} {
		if r := ann.push(body, map[string]string{"Topic": "score"}); r.status != 201 {
			t.Fatalf("%s = %d %s, want 201", r.what, r.status, r.body)
		}
	}
	if got := ann.pull("").texts(); strings.Join(got, " ") != "three" {
		t.Errorf("pull = %q, want the last of the topic alone", got)
	}
}

func TestWebPushRequestsThatAreRefused(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	for _, c := range []struct {
		name   string
		body   string
		header map[string]string
		status int
		code   wire.Code
		says   string
	}{
		{"no TTL", "x", map[string]string{"TTL": ""}, 400, wire.TTLInvalid, "missing"},
		{"negative TTL", "x", map[string]string{"TTL": "-1"}, 400, wire.TTLInvalid, "-1"},
		{"TTL that is no number", "x", map[string]string{"TTL": "soon"}, 400, wire.TTLInvalid, "soon"},
		{"topic too long", "x", map[string]string{"Topic": strings.Repeat("a", 33)}, 400, wire.BadRequest, "Topic"},
		{"topic with a slash", "x", map[string]string{"Topic": "a/b"}, 400, wire.BadRequest, "Topic"},
		{"unknown urgency", "x", map[string]string{"Urgency": "now"}, 400, wire.BadRequest, "Urgency"},
		{"old encoding", "x", map[string]string{"Content-Encoding": "aesgcm"}, 400, wire.BadRequest, "aes128gcm"},
		{"not encrypted", "x", map[string]string{"Content-Encoding": ""}, 400, wire.BadRequest, "not encrypted"},
		{"too large", strings.Repeat("x", 4097), nil, 413, wire.PayloadTooLarge, "4096"},
		{"draft VAPID", "x", map[string]string{"Authorization": "WebPush a.b.c"}, 403, wire.VAPIDInvalid, "RFC 8292"},
		{"another scheme", "x", map[string]string{"Authorization": "Basic YTpi"}, 403, wire.VAPIDInvalid, "vapid"},
	} {
		t.Run(c.name, func(t *testing.T) { ann.push(c.body, c.header).refused(t, c.status, c.code, c.says) })
	}
	if got := ann.pull("").texts(); len(got) != 0 {
		t.Errorf("pull = %q, want nothing stored", got)
	}
}

func TestWebPushBoundaries(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	for _, c := range []struct{ name, body, ttl, want string }{
		{"empty", "", "60", "60"},
		{"4096 bytes", strings.Repeat("x", 4096), "60", "60"},
		{"ttl 0 is for who is there now", "x", "0", "5"},
		{"ttl beyond the retention is cut", "x", "99999999999999999999", "2419200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ann.push(c.body, map[string]string{"TTL": c.ttl})
			if r.status != 201 || r.header.Get("TTL") != c.want {
				t.Errorf("%s = %d %s, TTL %q, want 201 and TTL %s", r.what, r.status, r.body, r.header.Get("TTL"), c.want)
			}
		})
	}
}

func TestVAPIDIsDemandedAndChecked(t *testing.T) {
	mine, other := newSender(t), newSender(t)
	a := startAPI(t, func(s *apiSetup) {
		s.auth.Apps = map[string]auth.AppPolicy{
			"strict": {VAPID: auth.Required},
			"listed": {VAPIDKeys: []string{mine.public}},
		}
	})
	soon := a.clock.Now().Add(time.Hour)
	good := mine.vapid(apiOrigin, soon)
	owned := a.newTerminalOf("ann", "phone", "owned")
	owned.call("POST", "/v1/tokens", tokenRequest{"phone", "owned", "ann", &mine.public}).ok(t, 200, &tokenReply{})
	terminals := map[string]*apiTerminal{
		"open": a.newTerminalOf("ann", "phone", "open"), "strict": a.newTerminalOf("ann", "phone", "strict"),
		"listed": a.newTerminalOf("ann", "phone", "listed"), "owned": owned,
	}
	for _, c := range []struct {
		app, name, header string
		status            int
		code              wire.Code
	}{
		{"open", "none", "", 201, ""},
		{"open", "good", good, 201, ""},
		{"open", "wrong", mine.vapid("https://evil.example", soon), 403, wire.VAPIDInvalid},
		{"strict", "none", "", 401, wire.VAPIDRequired},
		{"strict", "any key", other.vapid(apiOrigin, soon), 201, ""},
		{"strict", "wrong aud", mine.vapid("https://evil.example", soon), 403, wire.VAPIDInvalid},
		{"strict", "expired", mine.vapid(apiOrigin, a.clock.Now().Add(-time.Minute)), 403, wire.VAPIDInvalid},
		{"strict", "more than 24 h", mine.vapid(apiOrigin, a.clock.Now().Add(25*time.Hour)), 403, wire.VAPIDInvalid},
		{"strict", "signed by another", strings.Replace(good, mine.public, other.public, 1), 403, wire.VAPIDInvalid},
		{"listed", "none", "", 401, wire.VAPIDRequired},
		{"listed", "listed key", good, 201, ""},
		{"listed", "unlisted key", other.vapid(apiOrigin, soon), 403, wire.VAPIDInvalid},
		{"owned", "none", "", 401, wire.VAPIDRequired},
		{"owned", "its key", good, 201, ""},
		{"owned", "another key", other.vapid(apiOrigin, soon), 403, wire.VAPIDInvalid},
	} {
		t.Run(c.app+"/"+c.name, func(t *testing.T) {
			r := terminals[c.app].push("x", map[string]string{"Authorization": c.header})
			if c.code == "" {
				r.ok(t, c.status, nil)
				return
			}
			r.refused(t, c.status, c.code, "")
			if got := r.header.Get("WWW-Authenticate"); c.status == 401 && got != "vapid" {
				t.Errorf("WWW-Authenticate = %q, want vapid", got)
			}
		})
	}
}
