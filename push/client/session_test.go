package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// What a server answers to a login has to belong together: the session is
// sealed to the key that came with it, since the server proves that one next.
func TestK1LoginReplyIsChecked(t *testing.T) {
	ring, err := keys.NewRing(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	session, err := ring.Seal(keys.Claims{User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	public := ring.Current().Private.Public().String()
	for name, tt := range map[string]struct {
		session, key string
		want         wire.Code
	}{
		"another key":         {session, other.Public().String(), wire.ServerProofInvalid},
		"no key":              {session, "", wire.ServerProofInvalid},
		"no session":          {"", public, wire.ServerProofInvalid},
		"session of nonsense": {"!", public, wire.ServerProofInvalid},
	} {
		f := newFake(t)
		f.login = func(w http.ResponseWriter) bool {
			return json.NewEncoder(w).Encode(loginReply{tt.session, tt.key, time.Now().UnixMilli()}) == nil
		}
		r := start(t, f.config())
		r.waitingFor(tt.want)
		r.stop()
		if got := r.identity().session; got != "" {
			t.Errorf("%s: the session %q is kept", name, got)
		}
	}
}

func TestTokenReplyIsChecked(t *testing.T) {
	for _, body := range []string{`{}`, `[]`, `<html>`, ``} {
		f := newFake(t)
		f.tokens = func(w http.ResponseWriter) bool { _, err := w.Write([]byte(body)); return err == nil }
		start(t, f.config()).waitingFor(wire.BadFrame)
	}
}

// Neither the password nor the session follows a redirect.
func TestRedirectIsNotFollowed(t *testing.T) {
	f := newFake(t)
	f.login = func(w http.ResponseWriter) bool {
		w.Header().Set("Location", "https://elsewhere.test/v1/login")
		w.WriteHeader(http.StatusPermanentRedirect)
		return true
	}
	r := start(t, f.config())
	if s := r.until(Waiting); !strings.Contains(s.Err.Error(), "308") {
		t.Errorf("the attempt ended with %v, want the status", s.Err)
	}
}

func TestServerWithoutTheSubprotocolIsRefused(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	f.upgrade = func(w http.ResponseWriter, r *http.Request) bool {
		ws, err := websocket.Accept(w, r, nil)
		if err == nil {
			_, _, _ = ws.Read(context.Background())
			_ = ws.CloseNow()
		}
		return true
	}
	start(t, f.config()).waitingFor(wire.SubprotocolRequired)
}

// Another VAPID key than the one that the token was asked for with is told to
// the server, without another login.
func TestVAPIDKeyIsAskedForAgainWhenItChanges(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.Profile = &memory{}
	for i, key := range []string{"", "BNc", "BNc", ""} {
		c.VAPIDKey = key
		terminal, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := terminal.signedIn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []int{1, 2, 2, 3}[i]; f.asked != want || f.logins != 1 {
			t.Errorf("%d requests for the token and %d logins with VAPIDKey %q, want %d and 1", f.asked, f.logins, key, want)
		}
	}
}

// Run ends at once wherever it is.
func TestRunEndsInEveryPhase(t *testing.T) {
	for name, reach := range map[string]func(*fake){
		"challenge":    func(f *fake) { f.next() },
		"confirmation": func(f *fake) { c := f.next(); c.sendChallenge(); must[*wire.Confirm](c) },
		"listen":       func(f *fake) { f.next().verified() },
		"listening":    func(f *fake) { f.connected() },
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			f := newFake(t)
			r := start(t, f.config())
			reach(f)
			if err := r.stop(); err != context.Canceled {
				t.Errorf("Run() = %v, want context.Canceled", err)
			}
		})
	}
	for name, hook := range map[string]func(f *fake, stuck func(http.ResponseWriter) bool){
		"login": func(f *fake, stuck func(http.ResponseWriter) bool) { f.login = stuck },
		"token": func(f *fake, stuck func(http.ResponseWriter) bool) { f.tokens = stuck },
		"upgrade": func(f *fake, stuck func(http.ResponseWriter) bool) {
			f.upgrade = func(w http.ResponseWriter, _ *http.Request) bool { return stuck(w) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			came := make(chan struct{}, 1)
			hook(f, func(http.ResponseWriter) bool { came <- struct{}{}; <-f.quit; return true })
			r := start(t, f.config())
			<-came
			if err := r.stop(); err != context.Canceled {
				t.Errorf("Run() = %v, want context.Canceled", err)
			}
		})
	}
}

// What the server said before it closed is the reason, also when the client
// was about to write.
func TestWriteThatFailsReturnsWhatTheServerSaid(t *testing.T) {
	noLeaks(t)
	f := newFake(t)
	terminal, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	c, err := terminal.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.write(&wire.Hello{Versions: versions}); err != nil {
		t.Fatal(err)
	}
	_ = f.next().ws.Close(websocket.StatusTryAgainLater, string(wire.TooManyConnections))
	for err == nil {
		err = c.write(&wire.Ack{Seq: []uint64{1}})
	}
	if !errors.Is(err, wire.TooManyConnections) {
		t.Errorf("write() = %v after a close frame, want %s", err, wire.TooManyConnections)
	}
	late := &conn{ws: c.ws, net: c.net, frames: make(chan wire.Frame, 2)} // as if the reader had these in hand
	late.frames <- message("m", 1)
	late.frames <- &wire.Error{Code: wire.AccountDisabled, Fatal: true}
	close(late.frames)
	if err := late.write(&wire.Ack{}); !errors.Is(err, wire.AccountDisabled) {
		t.Errorf("write() = %v after an error frame, want %s", err, wire.AccountDisabled)
	}
	c.close(websocket.StatusNormalClosure, "")
}

// What a server says reaches logs and shells: one line, and no escapes.
func TestServersTextIsMadePrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain, übersetzt":       "plain, übersetzt",
		"a\x1b[31mred\x07\r\nb":  "a[31mredb",
		"\xff\u202e\u0000x":      "\ufffdx",
		strings.Repeat("ü", 200): strings.Repeat("ü", 150),
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}
