package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

func TestSessionTokenAloneOpensNothing(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	for _, r := range []struct{ method, path string }{
		{"POST", "/v1/tokens"}, {"GET", "/v1/messages?token=" + ann.token}, {"POST", "/v1/messages/ack"}, {"DELETE", "/v1/session"},
	} {
		ask := func(change ...func(*http.Request)) apiReply { return a.send(r.method, r.path, nil, change...) }
		ask(header("Authorization", "DPoP "+ann.session)).refused(t, 401, wire.ProofInvalid, "RFC 9449")
		bearer := ask(header("Authorization", "Bearer "+ann.session))
		bearer.refused(t, 401, wire.Unauthorized, "DPoP")
		if got := bearer.header.Get("WWW-Authenticate"); got != `DPoP algs="ES256"` {
			t.Errorf(`%s: WWW-Authenticate = %q, want DPoP algs="ES256"`, r.path, got)
		}
		ask().refused(t, 401, wire.Unauthorized, "Authorization")
	}
	ann.pull("") // and nothing of that ended the session
}

func TestProofMustBeOfTheRequest(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	bob := a.newTerminalOf("bob", "phone", "mail")
	another, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	make := func(k *keys.Private, method, url string, at time.Time, session string) string {
		proof, err := k.DPoP(method, url, at, session)
		if err != nil {
			t.Fatal(err)
		}
		return proof
	}
	now, url := a.clock.Now(), apiOrigin+"/v1/messages"
	for _, c := range []struct{ name, proof, says string }{
		{"another method", make(ann.key, "POST", url, now, ann.session), "htm"},
		{"another path", make(ann.key, "GET", url+"/ack", now, ann.session), "htu"},
		{"another host", make(ann.key, "GET", "https://evil.example/v1/messages", now, ann.session), "htu"},
		{"without TLS", make(ann.key, "GET", "http://"+apiHost+"/v1/messages", now, ann.session), "htu"},
		{"too old", make(ann.key, "GET", url, now.Add(-proofSkew-2*time.Second), ann.session), "set the clock"},
		{"of the future", make(ann.key, "GET", url, now.Add(proofSkew+2*time.Second), ann.session), "set the clock"},
		{"another session", make(ann.key, "GET", url, now, bob.session), "ath"},
		{"no session", make(ann.key, "GET", url, now, ""), "ath"},
		{"another key", make(another, "GET", url, now, ann.session), "not by the key of the session"},
		{"another terminal's key", make(bob.key, "GET", url, now, ann.session), "not by the key of the session"},
		{"garbage", "a.b.c", ""},
		{"empty", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.send("GET", "/v1/messages?token="+ann.token, nil, header("Authorization", "DPoP "+ann.session), header("DPoP", c.proof)).
				refused(t, 401, wire.ProofInvalid, c.says)
		})
	}
	good := make(ann.key, "GET", url, now, ann.session)
	a.send("GET", "/v1/messages?token="+ann.token, nil, header("Authorization", "DPoP "+ann.session), func(r *http.Request) {
		r.Header["Dpop"] = []string{good, good}
	}).refused(t, 401, wire.ProofInvalid, "2 headers DPoP")
}

func TestProofIsTakenOnce(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	once := ann.proven("GET", "/v1/messages")
	path := "/v1/messages?token=" + ann.token
	a.send("GET", path, nil, once).ok(t, 200, &pullReply{})
	a.send("GET", path, nil, once).refused(t, 401, wire.ProofInvalid, "used before")
	ann.pull("")
}

func TestProofIsRememberedForAsLongAsItHolds(t *testing.T) {
	p := newProofSet()
	now := time.Unix(1_700_000_000, 0)
	use := func(session, id string, at time.Duration) error { return p.use(session, id, now.Add(at)) }
	if err := use("s", "a", 0); err != nil {
		t.Fatalf("first use: %v", err)
	}
	if err := use("another session", "a", 0); err != nil {
		t.Errorf("the id with another session: %v", err)
	}
	// Made proofSkew ahead of the server's clock, it holds until here.
	if use("s", "a", 2*proofSkew) == nil {
		t.Errorf("use(%s later) = nil, want a refusal", 2*proofSkew)
	}
	if err := use("s", "b", 2*proofSkew+time.Second); err != nil {
		t.Fatal(err)
	}
	if p.all != 1 || len(p.sessions) != 1 {
		t.Errorf("%d proofs of %d sessions are kept, want the one that still holds", p.all, len(p.sessions))
	}
}

func TestProofsOfOneSessionAreBounded(t *testing.T) {
	p := newProofSet()
	now := time.Unix(1_700_000_000, 0)
	for i := range proofsPerSession {
		if err := p.use("busy", fmt.Sprint(i), now); err != nil {
			t.Fatalf("use %d: %v", i, err)
		}
	}
	err := p.use("busy", "one more", now)
	if code, _ := answerTo(err); code != wire.RateLimited || retryAfter(err, 0) != "120" {
		t.Errorf("use past the limit = %v, Retry-After %q, want %s and 120", err, retryAfter(err, 0), wire.RateLimited)
	}
	if code, _ := answerTo(p.use("busy", "0", now)); code != wire.ProofInvalid {
		t.Errorf("a used proof past the limit = %s, want %s: it is not forgotten", code, wire.ProofInvalid)
	}
	if err := p.use("another", "0", now); err != nil {
		t.Errorf("another session: %v, want no refusal", err)
	}
}

func TestProofsInAllAreBounded(t *testing.T) {
	p := newProofSet()
	now := time.Unix(1_700_000_000, 0)
	for i := range proofsInAll {
		if err := p.use(fmt.Sprint(i/1000), fmt.Sprint(i), now); err != nil {
			t.Fatalf("use %d: %v", i, err)
		}
	}
	if code, _ := answerTo(p.use("a new session", "x", now)); code != wire.RateLimited {
		t.Errorf("use past all = %q, want %s", code, wire.RateLimited)
	}
	if err := p.use("a new session", "x", now.Add(3*proofSkew)); err != nil {
		t.Errorf("use after all have expired: %v", err)
	}
}

// What a malicious server was given for itself is worth nothing here, whatever
// Host it sends.
func TestHostMustBeInTheCertificate(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	proof, err := ann.key.DPoP("GET", "https://evil.example/v1/messages", a.clock.Now(), ann.session)
	if err != nil {
		t.Fatal(err)
	}
	evil := func(r *http.Request) { r.Host = "evil.example" }
	a.send("GET", "/v1/messages?token="+ann.token, nil, header("Authorization", "DPoP "+ann.session), header("DPoP", proof), evil).
		refused(t, 400, wire.BadRequest, "evil.example")
	a.send("POST", ann.endpoint, nil, header("TTL", "60"), evil).refused(t, 400, wire.BadRequest, "certificate")
}

func TestOriginFollowsHostAndPort(t *testing.T) {
	certificate, _ := apiCertificate(t, apiHost, "*.wild.example")
	s := &Server{config: Config{TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}}}
	for host, want := range map[string]string{
		"push.example":        "https://push.example",
		"PUSH.example:8443":   "https://push.example:8443",
		"a.wild.example":      "https://a.wild.example",
		"push.example.":       "https://push.example.",
		"a.b.wild.example":    "",
		"evil.example":        "",
		"push.example.evil":   "",
		"push.example:80:80":  "",
		"":                    "",
		"127.0.0.1":           "",
		"[::1]:443":           "",
		"push.example/../bob": "",
	} {
		got, err := s.origin(&http.Request{Host: host})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("origin(%q) = %q, %v, want %q", host, got, err, want)
		}
	}
}

func TestOriginAsksWhoeverHasTheCertificates(t *testing.T) {
	certificate, _ := apiCertificate(t, apiHost)
	var asked []string
	s := &Server{config: Config{TLS: &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked = append(asked, h.ServerName)
		_, _ = h.Conn.RemoteAddr().String(), h.Conn.LocalAddr().String() // certmagic logs it
		if h.ServerName == "unknown.example" {
			return nil, fmt.Errorf("no certificate")
		}
		return &certificate, nil // as a static one does, whoever is asked for
	}}}}
	for host, want := range map[string]bool{apiHost: true, "evil.example": false, "unknown.example": false} {
		if _, err := s.origin(&http.Request{Host: host}); (err == nil) != want {
			t.Errorf("origin(%q) = %v, want accepted: %t", host, err, want)
		}
	}
	if len(asked) != 3 {
		t.Errorf("asked for %q, want each host", strings.Join(asked, " "))
	}
}
