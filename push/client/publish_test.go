package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keyhole/push/wire"
)

// A press is a server that publishers talk to. What it answers is up to
// answer, by the number of the request.
type press struct {
	mu     sync.Mutex
	bodies []map[string]any
	auth   string
	answer func(n int, w http.ResponseWriter)
}

func (p *press) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	p.mu.Lock()
	p.auth = r.Header.Get("Authorization")
	p.bodies = append(p.bodies, body)
	n := len(p.bodies)
	p.mu.Unlock()
	if r.Method != http.MethodPost || r.URL.Path != "/v1/messages" {
		refuseHTTP(w, http.StatusNotFound, wire.NotFound)
		return
	}
	p.answer(n, w)
}

func stored(w http.ResponseWriter) {
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(`{"id":"ci:1","seq":42,"duplicate":true}`))
}

func newPress(t *testing.T, answer func(n int, w http.ResponseWriter)) (*press, *Publisher) {
	p := &press{answer: answer}
	s := httptest.NewUnstartedServer(p)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return p, &Publisher{URL: s.URL, Key: "pk_1", HTTP: s.Client()}
}

func TestPublish(t *testing.T) {
	noLeaks(t)
	p, publisher := newPress(t, func(_ int, w http.ResponseWriter) { stored(w) })
	got, err := publisher.Publish(context.Background(), Publication{Token: "T", Data: []byte{0, 255}, ContentType: "text/plain",
		ContentEncoding: "aes128gcm", Condition: "network=wifi", TTL: 1500 * time.Millisecond, Topic: "t", Urgency: "high", ID: "1"})
	if want := (Receipt{"ci:1", 42, true}); got != want || err != nil {
		t.Errorf("Publish() = %+v, %v, want %+v", got, err, want)
	}
	sent, _ := json.Marshal(p.bodies[0])
	want := `{"condition":"network=wifi","content_encoding":"aes128gcm","content_type":"text/plain","data":"AP8=","id":"1","token":"T","topic":"t","ttl":2,"urgency":"high"}`
	if string(sent) != want || p.auth != "Bearer pk_1" {
		t.Errorf("sent %s with %q, want %s", sent, p.auth, want)
	}
}

// What a publication does not have is not sent, and the id is made.
func TestPublishLeavesOutWhatIsNotThere(t *testing.T) {
	p, publisher := newPress(t, func(_ int, w http.ResponseWriter) { stored(w) })
	for range 2 {
		if _, err := publisher.Publish(context.Background(), Publication{App: "notes", Version: "*"}); err != nil {
			t.Fatal(err)
		}
	}
	if first, second := p.bodies[0]["id"], p.bodies[1]["id"]; first == second || len(first.(string)) < 20 {
		t.Errorf("ids %q and %q, want two random ones", first, second)
	}
	delete(p.bodies[0], "id")
	if sent, _ := json.Marshal(p.bodies[0]); string(sent) != `{"app":"notes","data":"","version":"*"}` {
		t.Errorf("sent %s, want no empty fields", sent)
	}
}

// Whatever may pass is tried again, with the id of the first attempt.
func TestPublishTriesAgainWithTheSameID(t *testing.T) {
	noLeaks(t)
	p, publisher := newPress(t, func(n int, w http.ResponseWriter) {
		switch n {
		case 1:
			refuseHTTP(w, http.StatusServiceUnavailable, wire.StoreUnavailable)
		case 2:
			refuseHTTP(w, http.StatusTooManyRequests, wire.BacklogFull)
		case 3:
			panic(http.ErrAbortHandler) // the connection ends without an answer
		case 4:
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{")) // and here in the middle of it
		case 5:
			http.Error(w, "proxy", http.StatusBadGateway)
		default:
			stored(w)
		}
	})
	if _, err := publisher.Publish(context.Background(), Publication{Token: "T"}); err != nil {
		t.Fatal(err)
	}
	if len(p.bodies) != 6 {
		t.Errorf("%d attempts, want 6", len(p.bodies))
	}
	for _, b := range p.bodies {
		if b["id"] != p.bodies[0]["id"] {
			t.Errorf("attempt with id %q, want %q as in the first", b["id"], p.bodies[0]["id"])
		}
	}
}

func TestPublishGivesUpOnARefusal(t *testing.T) {
	for status, code := range map[int]wire.Code{
		http.StatusForbidden: wire.Forbidden, http.StatusUnauthorized: wire.Unauthorized, http.StatusGone: wire.TokenRevoked,
		http.StatusConflict: wire.IDConflict, http.StatusBadRequest: wire.ConditionInvalid, http.StatusInsufficientStorage: wire.DiskFull,
		http.StatusRequestEntityTooLarge: wire.PayloadTooLarge,
	} {
		p, publisher := newPress(t, func(_ int, w http.ResponseWriter) { refuseHTTP(w, status, code) })
		_, err := publisher.Publish(context.Background(), Publication{Token: "T", ID: "order-17"})
		if !errors.Is(err, code) || !strings.Contains(err.Error(), "order-17") || len(p.bodies) != 1 {
			t.Errorf("Publish() = %v after %d attempts, want %s after 1, and the id", err, len(p.bodies), code)
		}
	}
}

func TestPublishOfANonsenseReplyIsAnError(t *testing.T) {
	_, publisher := newPress(t, func(_ int, w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) })
	if _, err := publisher.Publish(context.Background(), Publication{Token: "T"}); !errors.Is(err, wire.BadFrame) {
		t.Errorf("Publish() = %v, want %s", err, wire.BadFrame)
	}
}

// A redirect is not followed: the key would go with it.
func TestPublishFollowsNoRedirect(t *testing.T) {
	p, publisher := newPress(t, func(n int, w http.ResponseWriter) {
		w.Header().Set("Location", "/v1/messages")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	transport := publisher.HTTP.Transport
	publisher.HTTP = &http.Client{Transport: transport, CheckRedirect: defaultPublisherHTTP.CheckRedirect}
	if _, err := publisher.Publish(context.Background(), Publication{Token: "T"}); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("Publish() = %v, want the status", err)
	}
	if len(p.bodies) != 1 {
		t.Errorf("%d requests, want 1", len(p.bodies))
	}
}

func TestPublishDoesNotTryAWrongCertificateAgain(t *testing.T) {
	p, publisher := newPress(t, func(_ int, w http.ResponseWriter) { stored(w) })
	publisher.HTTP = nil // which trusts those that the system trusts
	if _, err := publisher.Publish(context.Background(), Publication{Token: "T"}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Publish() = %v, want an error of the certificate", err)
	}
	if len(p.bodies) != 0 {
		t.Error("the key went to a server of an unknown certificate")
	}
}

func TestPublishChecksItsURL(t *testing.T) {
	if _, err := (&Publisher{URL: "http://push.test"}).Publish(context.Background(), Publication{}); err == nil || !strings.Contains(err.Error(), "https://HOST") {
		t.Errorf("Publish() = %v, want an error with the remedy", err)
	}
}

// The attempts go on until the context ends, at waits that the server asks for
// where it does.
func TestPublishTriesUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		publisher := &Publisher{URL: "https://push.test", HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			attempts++
			if attempts%2 == 0 {
				return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
			}
			w := httptest.NewRecorder()
			w.Header().Set("Retry-After", "60")
			refuseHTTP(w, http.StatusTooManyRequests, wire.BacklogFull)
			return w.Result(), nil
		})}}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		_, err := publisher.Publish(ctx, Publication{Token: "T"})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Publish() = %v, want the context's error", err)
		}
		if attempts < 90 || attempts > 120 {
			t.Errorf("%d attempts in an hour, want about one a minute as asked for, and as many more", attempts)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
