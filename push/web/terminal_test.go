package web_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"keyhole/push/webpush"
	"keyhole/push/wire"
)

// versions are those that the page speaks.
var versions = []string{wire.Subprotocol}

// signedIn opens the page, signs in and verifies.
func signedIn(t *testing.T, change func(*wire.Confirmed)) (*origin, *tab, *terminal) {
	t.Helper()
	o := newOrigin(t)
	p := o.open()
	p.signIn("secret")
	c := o.next()
	c.listen(change)
	p.phase("listening", "")
	return o, p, c
}

func message(seq uint64, id, text string) *wire.Message {
	now := time.Now()
	expires := now.Add(time.Hour).UnixMilli()
	return &wire.Message{ID: id, Seq: seq, To: "token", Time: now.UnixMilli(), Expires: expires, Data: []byte(text)}
}

// acked waits for the acknowledgement of a message.
func (t *terminal) acked(seq uint64) {
	t.t.Helper()
	if a := expect[*wire.Ack](t); !slices.Equal(a.Seq, []uint64{seq}) {
		t.t.Fatalf("the page acknowledged %v, want %d", a.Seq, seq)
	}
}

func TestV1V4ThePageVerifiesAndListens(t *testing.T) {
	o := newOrigin(t)
	p := o.open()
	p.signIn("wrong")
	p.phase("signed-out", "login_failed: as the test has it")
	p.signIn("secret")
	c := o.next()
	l := c.listen(nil)
	p.phase("listening", "")
	h := c.hello
	if h.Binding != wire.BindingNone || h.AppVersion != "2.1" || len(h.ClientToken) != 32 || !slices.Equal(h.Versions, versions) {
		t.Errorf("hello = %+v, want binding none, app version 2.1, a token of 32 bytes and versions %s", h, versions)
	}
	if l.Token != "the-token" || l.State["foreground"] != "true" || l.State["network"] == "" {
		t.Errorf("listen = %+v, want the token and the state", l)
	}
	status := evaluate[map[string]any](p, "keyhole.status")
	if status["binding"] != "waived" || status["token"] != "the-token" || status["endpoint"] != o.URL+"/push/the-token" {
		t.Errorf("status = %v, want binding waived, the token and its endpoint", status)
	}
	if got := o.logins[1]; got["user"] != "ada" || got["device"] != "tab-1" || got["app"] != "notes" || len(got) != 5 {
		t.Errorf("login = %v, want what the form has", got)
	}
	kept := evaluate[string](p, `document.querySelector("[name=password]").value +
		JSON.stringify({...localStorage, ...sessionStorage})`)
	if kept != "{}" {
		t.Errorf("the page keeps %q, want no password and nothing that a script can read", kept)
	}
}

func TestV3V4ThePageEndsAConnectionThatIsNotTheServers(t *testing.T) {
	o := newOrigin(t)
	p := o.open()
	p.signIn("secret")
	forger := newKey(t)
	for _, c := range []struct {
		name string
		play func(*terminal)
		want wire.Code
	}{
		{"another client token", func(s *terminal) {
			token := expect[*wire.Hello](s).ClientToken
			token[0] ^= 1
			s.send(&wire.Challenge{Version: versions[0], Versions: versions, ClientToken: token, ServerToken: random(32)})
		}, wire.ClientTokenMismatch},
		{"the client token as the server's", func(s *terminal) {
			token := expect[*wire.Hello](s).ClientToken
			s.send(&wire.Challenge{Version: versions[0], Versions: versions, ClientToken: token, ServerToken: token})
		}, wire.BadFrame},
		{"another version", func(s *terminal) {
			token, old := expect[*wire.Hello](s).ClientToken, "keyhole-push.v0"
			s.send(&wire.Challenge{Version: old, Versions: []string{old}, ClientToken: token, ServerToken: random(32)})
		}, wire.Downgrade},
		{"confirmed first", func(s *terminal) {
			expect[*wire.Hello](s)
			s.send(&wire.Confirmed{Binding: wire.BindingWaived})
		}, wire.OutOfOrder},
		{"a message first", func(s *terminal) {
			s.greet()
			expect[*wire.Confirm](s)
			s.send(message(1, "early", "early"))
		}, wire.NotVerified},
		{"proof by another key", func(s *terminal) {
			s.greet()
			s.x.Server = forger.Public()
			proof := expect[*wire.Confirm](s).Proof
			forged, err := s.x.ServerProof(forger, proof)
			if err != nil {
				s.t.Fatal(err)
			}
			s.send(&wire.Confirmed{Proof: forged, Binding: wire.BindingWaived, Nonce: random(16)})
		}, wire.ServerProofInvalid},
		{"a binding that a browser has not", func(s *terminal) {
			s.greet()
			s.confirm(func(f *wire.Confirmed) { f.Binding = wire.BindingExporter })
		}, wire.ServerProofInvalid},
		{"no JSON", func(s *terminal) {
			if err := s.conn.Write(s.t.Context(), 1, []byte("{")); err != nil {
				s.t.Fatal(err)
			}
			expect[*wire.Hello](s)
		}, wire.BadFrame},
	} {
		s := o.next()
		c.play(s)
		if got := s.closed(); got != string(c.want) {
			t.Errorf("%s: the page ended the connection with reason %q, want %q", c.name, got, c.want)
		}
		p.phase("waiting", string(c.want))
		// Of these it says that a new attempt at once would end the same: only a new visit does not wait.
		p.run(chromedp.Reload())
	}
	if got := p.texts(); got != "" {
		t.Errorf("the page has the messages %q, want none", got)
	}
}

func TestP6MessagesAreKeptThenAcknowledgedAndShownOnce(t *testing.T) {
	o, p, c := signedIn(t, nil)
	c.send(message(1, "a", "first <b>"))
	c.acked(1)
	c.send(message(2, "b", "second"))
	c.acked(2)
	again := message(3, "a", "first <b>")
	again.Redelivered = true
	c.send(again)
	c.acked(3)
	c.send(message(4, "c", "\xff\xfe"))
	c.acked(4)
	const want = "first <b> second (bytes)"
	if got := p.texts(); got != want {
		t.Errorf("messages are %q, want %q", got, want)
	}
	shown := evaluate[string](p, `[...document.querySelectorAll("#log pre")].map((e) => e.textContent).join("|")`)
	if shown != "2 bytes that are not text|second|first <b>" {
		t.Errorf("the log shows %q, want the newest first", shown)
	}

	p.run(chromedp.Reload())
	o.next().listen(nil)
	p.phase("listening", "")
	p.until(`keyhole.status.subscription.endpoint.endsWith("/push/the-token")`)
	if got := p.texts(); got != want {
		t.Errorf("messages after a new visit are %q, want %q", got, want)
	}
	if len(o.logins) != 1 {
		t.Errorf("%d logins, want 1: the session stands for the password", len(o.logins))
	}
}

func TestP6ThePageConnectsAgainWhenTheConnectionIsLost(t *testing.T) {
	o, p, c := signedIn(t, nil)
	c.conn.CloseNow()
	p.until(`["waiting", "connecting"].includes(keyhole.status.phase)`)
	c = o.next()
	c.listen(nil)
	p.phase("listening", "")
	c.send(message(1, "a", "after"))
	c.acked(1)
}

func TestP4ThePageReportsItsState(t *testing.T) {
	_, p, c := signedIn(t, nil)
	p.run(chromedp.SetValue(chromedp.CSS("#network"), "cellular"))
	evaluate[chromedp.Void](p, `document.querySelector("#network").dispatchEvent(new Event("change"))`)
	if s := expect[*wire.State](c); !maps.Equal(s.Set, map[string]string{"network": "cellular"}) || len(s.Unset) != 0 {
		t.Errorf("state = %+v, want network set to cellular", s)
	}
	p.run(chromedp.SetValue(chromedp.CSS(`#state-form [name="key"]`), "room"),
		chromedp.SetValue(chromedp.CSS(`#state-form [name="value"]`), "kitchen ü"),
		chromedp.Click(chromedp.CSS("#state-form button")))
	if s := expect[*wire.State](c); !maps.Equal(s.Set, map[string]string{"room": "kitchen ü"}) {
		t.Errorf("state = %+v, want room set", s)
	}
	p.run(chromedp.Click(chromedp.CSS(`[aria-label="Remove room"]`)))
	if s := expect[*wire.State](c); len(s.Set) != 0 || !slices.Equal(s.Unset, []string{"room"}) {
		t.Errorf("state = %+v, want room unset", s)
	}
	evaluate[chromedp.Void](p, `keyhole.setState({ a: "1", b: "2" }, ["network"])`)
	s := expect[*wire.State](c)
	if !maps.Equal(s.Set, map[string]string{"a": "1", "b": "2"}) || !slices.Equal(s.Unset, []string{"network"}) {
		t.Errorf("state = %+v, want a and b set and network unset", s)
	}
	for _, look := range [][2]string{{"hidden", "false"}, {"visible", "true"}} {
		evaluate[chromedp.Void](p, `Object.defineProperty(document, "visibilityState", { value: "`+look[0]+`", configurable: true });
			document.dispatchEvent(new Event("visibilitychange"))`)
		if s := expect[*wire.State](c); !maps.Equal(s.Set, map[string]string{"foreground": look[1]}) {
			t.Errorf("state of a %s page = %+v, want foreground %s", look[0], s, look[1])
		}
	}
	for _, wrong := range []string{`{ A: "1" }`, `{ a: 1 }`, `{ a: "` + strings.Repeat("ü", 129) + `" }`} {
		thrown := evaluate[string](p, `(() => { try { keyhole.setState(`+wrong+`); return ""; } catch (err) { return err.message; } })()`)
		if thrown == "" {
			t.Errorf("setState(%s) did not throw", wrong)
		}
	}
}

func TestK7StatesAndPayloadsAreSealedWhereTheAppAsks(t *testing.T) {
	o := newOrigin(t)
	p := o.open()
	p.signIn("secret")
	c := o.next()
	server := o.ring.Current().Private
	l := c.listen(func(f *wire.Confirmed) { f.Encryption = true })
	state, err := server.Open("keyhole-push.v1 state", l.Sealed)
	if err != nil || !bytes.Contains(state, []byte(`"foreground":"true"`)) || l.State != nil {
		t.Errorf("listen has the state %q, %v and %v in clear, want it sealed alone", state, err, l.State)
	}
	evaluate[chromedp.Void](p, `keyhole.setState({ room: "kitchen" })`)
	s := expect[*wire.State](c)
	change, err := server.Open("keyhole-push.v1 state", s.Sealed)
	if err != nil || string(change) != `{"set":{"room":"kitchen"},"unset":[]}` || s.Set != nil {
		t.Errorf("state has %q, %v and %v in clear, want it sealed alone", change, err, s.Set)
	}

	m := message(1, "a", "")
	if m.Data, err = o.client.Seal("keyhole-push.v1 message", []byte("sealed")); err != nil {
		t.Fatal(err)
	}
	m.Encryption = "hpke"
	c.send(m)
	c.acked(1)
	if m.Data, err = newKey(t).Public().Seal("keyhole-push.v1 message", []byte("not for this terminal")); err != nil {
		t.Fatal(err)
	}
	m.ID, m.Seq = "b", 2
	c.send(m)
	p.until(`keyhole.status.error.includes("message b cannot be read")`)
	c.send(message(3, "c", "clear"))
	c.acked(3)
	if got := p.texts(); got != "sealed clear" {
		t.Errorf("messages are %q, want those that could be read", got)
	}
}

func TestThePageReadsWhatAWebPushLibraryEncrypts(t *testing.T) {
	_, p, c := signedIn(t, nil)
	subscription := evaluate[struct{ Keys struct{ P256DH, Auth string } }](p, "keyhole.status.subscription")
	body, err := webpush.Encrypt(unb64(t, subscription.Keys.P256DH), unb64(t, subscription.Keys.Auth), []byte("pushed"))
	if err != nil {
		t.Fatal(err)
	}
	m := message(1, "a", "")
	m.Data, m.ContentEncoding = body, webpush.Aes128gcm
	c.send(m)
	c.acked(1)
	m.ID, m.Seq, m.Data = "b", 2, append(bytes.Clone(body[:len(body)-1]), body[len(body)-1]^1)
	c.send(m)
	c.acked(2) // nobody will ever read it
	p.until(`keyhole.status.error.includes("message b is not encrypted for this subscription")`)
	if got := p.texts(); got != "pushed" {
		t.Errorf("messages are %q, want the one for this subscription", got)
	}
}

func TestThePageMovesToAnotherServerOnDrain(t *testing.T) {
	o, p, c := signedIn(t, nil)
	c.send(&wire.Drain{DelayMS: 5000}) // in which the page has to take a message
	p.phase("drained", "")
	c.send(message(1, "a", "meanwhile"))
	c.acked(1)
	if got := c.closed(); got != "" {
		t.Errorf("the page ended the connection with reason %q, want none", got)
	}
	o.next().listen(nil)
	p.phase("listening", "")
}

func TestThePageStopsWhereTheServerRefusesForGood(t *testing.T) {
	o := newOrigin(t)
	p := o.open()
	p.signIn("secret")
	c := o.next()
	expect[*wire.Hello](c)
	c.send(&wire.Error{Code: wire.BindingRequired, Message: "the app demands it", Fatal: true})
	p.phase("refused", "binding_required: the app demands it")
	p.run(chromedp.Click(chromedp.CSS("#connect")))
	c = o.next()
	expect[*wire.Hello](c)
	c.send(&wire.Error{Code: wire.SessionRevoked, Message: "by the operator", Fatal: true})
	p.phase("signed-out", "session_revoked: by the operator; sign in again")
	p.signIn("secret")
	c = o.next()
	c.listen(nil)
	p.phase("listening", "")
	c.send(message(1, "a", "hers"))
	c.acked(1)

	p.run(chromedp.Click(chromedp.CSS("#sign-out")))
	p.phase("signed-out", "")
	p.until("keyhole.messages.length === 0 && document.querySelectorAll('#log li').length === 0")
	if last := o.requests[len(o.requests)-1]; last != "DELETE /v1/session" {
		t.Errorf("requests are %q, want the session to be ended last", o.requests)
	}
	p.run(chromedp.Reload())
	p.phase("signed-out", "")
	if got := p.texts(); got != "" {
		t.Errorf("messages after signing out are %q, want none", got)
	}
}

func TestASecondTabWaitsForTheFirst(t *testing.T) {
	o, first, c := signedIn(t, nil)
	second := openTab(o, first.ctx)
	second.until(`document.querySelector("#phase").dataset.phase === "elsewhere"`)
	first.run(chromedp.Navigate("about:blank"))
	for { // the tab behind another may still report that it is
		if _, err := c.read(); err != nil {
			break
		}
	}
	o.next().listen(nil)
	second.phase("listening", "")
}

func TestThePageLeavesAndComesBack(t *testing.T) {
	o, p, c := signedIn(t, nil)
	p.run(chromedp.Navigate("about:blank"))
	if got := c.closed(); got != "" {
		t.Errorf("the page ended the connection with reason %q, want none", got)
	}
	p.run(chromedp.NavigateBack())
	o.next().listen(nil)
	p.phase("listening", "")
}

func TestThePageHasNoInlineScriptOrStyle(t *testing.T) {
	html := readFile(t, "terminal.html")
	for _, banned := range []string{"<style", " style=", " onclick", " onsubmit", "javascript:", "http:", "https:"} {
		if strings.Contains(html, banned) {
			t.Errorf("terminal.html has %q, want everything in files of its own", banned)
		}
	}
	if strings.Count(html, "<script") != 1 || !strings.Contains(html, `<script type="module" src="terminal.js"></script>`) {
		t.Error("terminal.html has another script than the module terminal.js")
	}
}
