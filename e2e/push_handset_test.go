package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"keyhole/internal/termkit"
	"keyhole/internal/testkit"
	"keyhole/push/keys"
	"keyhole/push/wire"
)

// A handset is a terminal that does what a test tells it, frame by frame, right or wrong. It logs in and asks for its
// message token as the documents of pushd say, and speaks through the edge unless it is given another way.
type handset struct {
	*line // of dial
	t     *testing.T
	site  *pushSite
	way   func(ctx context.Context, network, address string) (net.Conn, error)

	user, device, app, version string
	binding                    string

	key     *keys.Private
	session string
	sTime   int64
	server  keys.Public // that the session is sealed to
	token   string

	said  wire.Exchange // of the exchange under way
	proof []byte        // the first confirmation's
	last  *wire.Confirmed
}

// handset has logged in and has its token.
func (s *pushSite) handset(user, device, app string) *handset {
	s.t.Helper()
	h := s.stranger(user, device, app)
	if err := h.login(pushPassword); err != nil {
		s.t.Fatal(err)
	}
	h.askToken()
	return h
}

// stranger has not logged in.
func (s *pushSite) stranger(user, device, app string) *handset {
	h := &handset{t: s.t, site: s, way: s.dial, user: user, device: device, app: app, version: "1.0", binding: wire.BindingExporter}
	s.t.Cleanup(h.hangUp)
	return h
}

// login gives the password for a session (K1), with a new client key.
func (h *handset) login(password string) error {
	h.t.Helper()
	h.key = newClientKey(h.t)
	var reply struct {
		Session   string
		ServerKey string `json:"server_key"`
		STime     int64  `json:"s_time"`
	}
	body := map[string]string{"user": h.user, "password": password, "device": h.device, "app": h.app, "client_key": h.key.Public().String()}
	if err := h.request(nil, http.MethodPost, "/v1/login", body, &reply); err != nil {
		return err
	}
	h.session, h.sTime = reply.Session, reply.STime
	var err error
	h.server, err = keys.ParsePublic(reply.ServerKey)
	return err
}

var newClientKey = termkit.NewKey

// askToken asks for the message token of this handset (T1).
func (h *handset) askToken() {
	h.t.Helper()
	token, err := h.tokenOf(h.user, h.device, h.app)
	if err != nil {
		h.t.Fatal(err)
	}
	h.token = token
}

// tokenOf asks for the message token of any triple.
func (h *handset) tokenOf(user, device, app string) (string, error) {
	h.t.Helper()
	var reply struct{ Token string }
	err := h.call(http.MethodPost, "/v1/tokens", map[string]string{"account": user, "device": device, "app": app}, &reply)
	return reply.Token, err
}

// stored is what a pull of a token has (T4).
func (h *handset) stored(token string) ([]wire.Message, error) {
	h.t.Helper()
	var reply struct{ Messages []wire.Message }
	err := h.call(http.MethodGet, "/v1/messages?token="+token+"&version="+h.version, nil, &reply)
	return reply.Messages, err
}

// call makes a request with the session, and the proof that it is this handset's.
func (h *handset) call(method, path string, body, reply any) error {
	h.t.Helper()
	proof, err := h.key.DPoP(method, h.site.url()+path, time.Now(), h.session)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.request(http.Header{"Authorization": {"DPoP " + h.session}, "Dpop": {proof}}, method, path, body, reply)
}

// request returns a refusal as an error that wraps its code.
func (h *handset) request(header http.Header, method, path string, body, reply any) error {
	h.t.Helper()
	client := &http.Client{Timeout: testkit.Patience, Transport: &http.Transport{
		DialContext: h.way, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: shared.ca.pool, MinVersion: tls.VersionTLS13},
	}}
	return ask(h.t, client, header, method, h.site.url()+path, body, reply)
}

// ask makes a request with a body of JSON, unless it is nil, and returns a refusal as an error that wraps its code.
func ask(t *testing.T, client *http.Client, header http.Header, method, url string, body, reply any) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header.Clone()
	}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered(resp, b, reply)
}

// answered reads an answer of the API.
func answered(resp *http.Response, b []byte, reply any) error {
	if resp.StatusCode >= http.StatusBadRequest {
		var refused struct{ Error wire.Error }
		if err := json.Unmarshal(b, &refused); err != nil || refused.Error.Code == "" {
			return fmt.Errorf("%s: %q", resp.Status, b)
		}
		return fmt.Errorf("%d %w: %s", resp.StatusCode, refused.Error.Code, refused.Error.Message)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(b, reply)
}

// hello is V1 as it ought to be.
func (h *handset) hello() *wire.Hello {
	h.t.Helper()
	h.said = wire.Exchange{
		User: h.user, Device: h.device, App: h.app, AppVersion: h.version, Session: h.session,
		Client: h.key.Public(), Server: h.server, Binding: h.binding,
	}
	return termkit.Hello(h.t, &h.said, h.tls)
}

// challenged takes V2.
func (h *handset) challenged() *wire.Challenge {
	h.t.Helper()
	c := want[*wire.Challenge](h)
	termkit.Challenged(h.t, &h.said, c)
	return c
}

// confirm is V3 as it ought to be.
func (h *handset) confirm() *wire.Confirm {
	h.t.Helper()
	c, proof := termkit.Confirm(h.t, &h.said, h.key)
	h.proof = proof
	return c
}

// confirmed takes V4.
func (h *handset) confirmed() *wire.Confirmed {
	h.t.Helper()
	h.last = want[*wire.Confirmed](h)
	termkit.Confirmed(h.t, &h.said, h.last, h.proof)
	return h.last
}

// verify connects and goes through the exchange.
func (h *handset) verify() *wire.Confirmed {
	h.t.Helper()
	h.dial()
	h.send(h.hello())
	h.challenged()
	h.send(h.confirm())
	return h.confirmed()
}

// listen verifies, and asks for messages.
func (h *handset) listen(state map[string]string) {
	h.t.Helper()
	h.verify()
	h.send(&wire.Listen{Ref: "listen", Token: h.token, State: state})
	want[*wire.Listening](h)
}

// renewal is a heartbeat that asks for the key next (K3, K4), as it ought to.
func (h *handset) renewal(next *keys.Private, sTime int64, epoch uint64, nonce []byte) *wire.Heartbeat {
	h.t.Helper()
	sent := time.Now().UnixMilli()
	return h.renewalAt(next, sent, sent-sTime, epoch, nonce)
}

// renewalAt is renewal with an offset of the test's own.
func (h *handset) renewalAt(next *keys.Private, sent, offset int64, epoch uint64, nonce []byte) *wire.Heartbeat {
	h.t.Helper()
	return termkit.Renewal{Session: h.session, Sent: sent, Offset: offset, Epoch: epoch, Nonce: nonce}.Heartbeat(h.t, h.key, next)
}

// beat sends a plain heartbeat.
func (h *handset) beat() *wire.HeartbeatReply {
	h.t.Helper()
	h.send(&wire.Heartbeat{Sent: time.Now().UnixMilli()})
	return want[*wire.HeartbeatReply](h)
}
