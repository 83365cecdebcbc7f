package e2e

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"keyhole/internal/testkit"
	"keyhole/push/client"
	"keyhole/push/wire"
)

// webPushFolder has the npm package web-push, and the script that sends with it.
var webPushFolder = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(shared.dir, "webpush")
	if err := os.CopyFS(dir, os.DirFS("testdata/webpush")); err != nil {
		return "", err
	}
	cmd := exec.Command("npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci of web-push, which needs the npm registry or a cache of it: %w\n%s", err, out)
	}
	return dir, nil
})

// A webSender is an application server that sends with the web-push library.
type webSender struct {
	*testkit.Program
	t    *testing.T
	sent int
}

func webSenderFor(t *testing.T) *webSender {
	t.Helper()
	dir, err := webPushFolder()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "send.mjs")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+shared.ca.file)
	return &webSender{Program: testkit.LaunchFor(t, cmd), t: t}
}

// webOptions are the library's.
type webOptions struct {
	TTL             int         `json:"TTL"`
	Topic           string      `json:"topic,omitempty"`
	Urgency         string      `json:"urgency,omitempty"`
	ContentEncoding string      `json:"contentEncoding,omitempty"`
	VAPID           *webSigning `json:"vapidDetails,omitempty"`
}

// A webSigning is a sender's key of RFC 8292.
type webSigning struct {
	Subject string `json:"subject"`
	Public  string `json:"publicKey"`
	Private string `json:"privateKey"`
}

func newWebSigning(t *testing.T) *webSigning {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	return &webSigning{"mailto:ops@example.com", text(key.PublicKey().Bytes()), text(key.Bytes())}
}

// A webAnswer is what the server says to a request of the library's.
type webAnswer struct {
	Status  int
	Headers map[string]string
	Body    string
	Error   string // there was no answer
}

func (a webAnswer) String() string { return fmt.Sprintf("%d %s%s", a.Status, a.Body, a.Error) }

// send has the library send a message; a nil payload is none.
func (w *webSender) send(to client.Subscription, payload []byte, o webOptions) (a webAnswer) {
	w.t.Helper()
	type keys struct {
		P256DH string `json:"p256dh"`
		Auth   string `json:"auth"`
	}
	type subscription struct {
		Endpoint string `json:"endpoint"`
		Keys     keys   `json:"keys"`
	}
	line, err := json.Marshal(struct {
		Subscription subscription `json:"subscription"`
		Payload      []byte       `json:"payload,omitempty"`
		Options      webOptions   `json:"options"`
	}{subscription{to.Endpoint, keys{to.P256DH, to.Auth}}, payload, o})
	if err != nil {
		w.t.Fatal(err)
	}
	w.Say(w.t, string(line)+"\n")
	w.sent++
	reply := w.Expect(w.t, fmt.Sprintf(`(?m)^%d (\{.*\})\n`, w.sent))[1]
	if err := json.Unmarshal([]byte(reply), &a); err != nil {
		w.t.Fatalf("answer %s: %v", reply, err)
	}
	return a
}

// accepted fails the test unless the message was taken, and returns its id.
func (w *webSender) accepted(to client.Subscription, text string, o webOptions) (id string) {
	w.t.Helper()
	a := w.send(to, []byte(text), o)
	_, id, found := strings.Cut(a.Headers["location"], "/push/message/")
	if a.Status != 201 || !found {
		w.t.Fatalf("sendNotification(%q) = %s, location %q, want 201 and the location of the message", text, a, a.Headers["location"])
	}
	return id
}

// refused fails the test unless the message was refused in this way.
func (w *webSender) refused(to client.Subscription, payload []byte, o webOptions, status int, code wire.Code) {
	w.t.Helper()
	a := w.send(to, payload, o)
	var body struct{ Error struct{ Code wire.Code } }
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil || a.Status != status || body.Error.Code != code {
		w.t.Errorf("sendNotification = %s, want %d %s", a, status, code)
	}
}

// subscribed is a terminal that listens, with a subscription that the next one of the same file has too.
func (s *pushSite) subscribed(c client.Config, file string) *phone {
	s.t.Helper()
	c.Profile = client.FileProfile(file)
	p := s.phone(c)
	p.until(client.Listening)
	return p
}

// TestP3WebPushLibrary has a library that knows nothing of this server send through the edge to a terminal.
func TestP3WebPushLibrary(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	c, file := s.config("alice", "phone", "news"), filepath.Join(t.TempDir(), "profile")
	p, w := s.subscribed(c, file), webSenderFor(t)
	to := p.Subscription()

	id := w.accepted(to, "Grüße 🔑", webOptions{TTL: 600, Topic: "greeting", Urgency: "high"})
	m := p.next()
	if string(m.Data) != "Grüße 🔑" || m.ContentEncoding != "" || m.ID != id {
		t.Errorf("message %s = %q with encoding %q, want %s with the text, decrypted", m.ID, m.Data, m.ContentEncoding, id)
	}
	if life := m.Expires.Sub(m.Time); m.Topic != "greeting" || m.Urgency != "high" || life != 10*time.Minute {
		t.Errorf("topic %q, urgency %q, life %s, want greeting, high, 10m", m.Topic, m.Urgency, life)
	}
	if a := w.send(to, nil, webOptions{TTL: 60}); a.Status != 201 {
		t.Errorf("sendNotification without a payload = %s, want 201", a)
	}
	if m := p.next(); len(m.Data) != 0 || m.Urgency != "normal" {
		t.Errorf("message without a payload = %q, urgency %q, want nothing, normal", m.Data, m.Urgency)
	}
	p.hangUp()

	w.accepted(to, "score 1:0", webOptions{TTL: 600, Topic: "score"})
	w.accepted(to, "kept", webOptions{TTL: 600})
	w.accepted(to, "score 2:0", webOptions{TTL: 600, Topic: "score"})
	s.subscribed(c, file).expect("kept", "score 2:0")
}

// The library encrypts whatever it is given, in as many records as that takes.
func TestWebPushLibraryLimits(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	p, w := s.subscribed(s.config("alice", "phone", "news"), filepath.Join(t.TempDir(), "profile")), webSenderFor(t)
	to := p.Subscription()

	const most = 4096 - 103 // RFC 8291 section 4: of a payload of 4,096 bytes
	w.refused(to, randomBytes(most+1), webOptions{TTL: 60}, 413, wire.PayloadTooLarge)
	w.refused(to, []byte("x"), webOptions{TTL: 60, ContentEncoding: "aesgcm"}, 400, wire.BadRequest)
	w.accepted(to, string(randomBytes(most)), webOptions{TTL: 60})
	if m := p.next(); hexSum(m.Data) != hexSum(randomBytes(most)) {
		t.Errorf("the longest payload came as %d other bytes, want the %d that were sent", len(m.Data), most)
	}
	for ttl, want := range map[int]string{0: "5", 60: "60", 1 << 31: "2419200"} {
		if a := w.send(to, []byte("x"), webOptions{TTL: ttl}); a.Status != 201 || a.Headers["ttl"] != want {
			t.Errorf("sendNotification with TTL %d = %s, TTL %s, want 201 and TTL %s", ttl, a, a.Headers["ttl"], want)
		}
	}
}

func TestWebPushLibraryVAPID(t *testing.T) {
	t.Parallel()
	mine, other := newWebSigning(t), newWebSigning(t)
	s := pushSiteFor(t, fmt.Sprintf("apps: {strict: {vapid: required}, listed: {vapid_keys: [%q]}}", mine.Public))
	s.node.user("alice")
	w := webSenderFor(t)
	stolen := &webSigning{mine.Subject, mine.Public, other.Private}
	for _, c := range []struct {
		app      string
		key      string // that the terminal takes messages of alone
		required bool
		other    int // what another sender's messages are answered with
	}{
		{"open", "", false, 201}, {"strict", "", true, 201}, {"listed", "", true, 403}, {"owned", mine.Public, true, 403},
	} {
		config := s.config("alice", "phone", c.app)
		config.VAPIDKey = c.key
		p := s.phone(config)
		p.until(client.Listening)
		to := p.Subscription()
		if c.required {
			w.refused(to, []byte("unsigned"), webOptions{TTL: 60}, 401, wire.VAPIDRequired)
		} else {
			w.accepted(to, "unsigned", webOptions{TTL: 60})
			p.expect("unsigned")
		}
		w.refused(to, []byte("forged"), webOptions{TTL: 60, VAPID: stolen}, 403, wire.VAPIDInvalid)
		if c.other == 201 {
			w.accepted(to, "of another", webOptions{TTL: 60, VAPID: other})
			p.expect("of another")
		} else {
			w.refused(to, []byte("of another"), webOptions{TTL: 60, VAPID: other}, c.other, wire.VAPIDInvalid)
		}
		w.accepted(to, "signed", webOptions{TTL: 60, VAPID: mine})
		p.expect("signed") // and nothing of what was refused
	}
}

// RFC 8030 section 7.3: 404 or 410 tell the sender to forget the subscription. That of an expired token takes a day of
// idling, which is tested where the clock can be set.
func TestT5WebPushLibraryGone(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	p, w := s.phone(s.config("alice", "phone", "news")), webSenderFor(t)
	p.until(client.Listening)
	to := p.Subscription()
	unknown := to
	unknown.Endpoint += "x"
	w.refused(unknown, []byte("x"), webOptions{TTL: 60}, 404, wire.TokenUnknown)
	w.accepted(to, "in time", webOptions{TTL: 60})
	p.expect("in time")
	s.node.pushd("token", "revoke", p.Token())
	w.refused(to, []byte("too late"), webOptions{TTL: 60}, 410, wire.TokenRevoked)
}
