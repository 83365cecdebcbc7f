package server

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"keyhole/push/auth"
	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

func TestK1LoginGivesSessionServerKeyAndTime(t *testing.T) {
	a := startAPI(t)
	key, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	var got loginReply
	before := time.Now().UnixMilli()
	a.send("POST", "/v1/login", loginRequest{"ann", "correct horse", "phone", "mail", key.Public().String()}).ok(t, 200, &got)
	if got.STime < before || got.STime > time.Now().UnixMilli() {
		t.Errorf("s_time = %d, want the server's time, %d or a little later", got.STime, before)
	}
	if life := time.Duration(got.Expires-got.STime) * time.Millisecond; life != 30*24*time.Hour {
		t.Errorf("expires - s_time = %s, want 30 days", life)
	}
	server, err := keys.ParsePublic(got.ServerKey)
	if err != nil {
		t.Errorf("server_key: %v", err)
	}
	s, err := a.auth.Open(t.Context(), got.Session)
	if err != nil {
		t.Fatalf("the session of the reply does not open: %v", err)
	}
	if s.Client != key.Public() || s.Claims.User != "ann" || s.Server.Private.Public() != server {
		t.Errorf("session of %q with another key, want that of ann's login", s.Claims.User)
	}
}

func TestK1UnknownUserAndWrongPasswordAreOneAnswer(t *testing.T) {
	a := startAPI(t)
	key, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	unknown := a.send("POST", "/v1/login", loginRequest{"nobody", "correct horse", "phone", "mail", key.Public().String()})
	wrong := a.send("POST", "/v1/login", loginRequest{"ann", "wrong horse", "phone", "mail", key.Public().String()})
	wrong.refused(t, 401, wire.LoginFailed, "wrong")
	if unknown.status != wrong.status || unknown.body != wrong.body {
		t.Errorf("unknown user = %d %s, want as for a wrong password: %d %s", unknown.status, unknown.body, wrong.status, wrong.body)
	}
	if n := a.counted("pushd_logins_total", "login_failed"); n != 2 {
		t.Errorf("pushd_logins_total{result=login_failed} = %v, want 2", n)
	}
}

func TestK1LoginIsRateLimited(t *testing.T) {
	a := startAPI(t, func(s *apiSetup) { s.auth.LoginPerMinute, s.auth.Burst = 6, 2 })
	key, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	try := func() apiReply {
		return a.send("POST", "/v1/login", loginRequest{"ann", "wrong horse", "phone", "mail", key.Public().String()})
	}
	try().refused(t, 401, wire.LoginFailed, "")
	try().refused(t, 401, wire.LoginFailed, "")
	third := try()
	third.refused(t, 429, wire.RateLimited, "too many")
	if after := third.header.Get("Retry-After"); after != "10" && after != "9" && after != "8" {
		t.Errorf("Retry-After = %q, want about the 10 seconds until the next attempt", after)
	}
}

func TestLoginRefusesWhatIsNotOne(t *testing.T) {
	a := startAPI(t)
	key, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	good := loginRequest{"ann", "correct horse", "phone", "mail", key.Public().String()}
	for _, c := range []struct {
		name   string
		change func(*loginRequest)
		says   string
	}{
		{"no user", func(q *loginRequest) { q.User = "" }, "user is empty"},
		{"no device", func(q *loginRequest) { q.Device = "" }, "device is empty"},
		{"no app", func(q *loginRequest) { q.App = "" }, "app is empty"},
		{"no password", func(q *loginRequest) { q.Password = "" }, "password is empty"},
		{"line break in the device", func(q *loginRequest) { q.Device = "a\nb" }, "unprintable"},
		{"no key", func(q *loginRequest) { q.ClientKey = "" }, "client key"},
		{"half a key", func(q *loginRequest) { q.ClientKey = q.ClientKey[:100] }, "client key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := good
			c.change(&q)
			a.send("POST", "/v1/login", q).refused(t, 400, wire.BadRequest, c.says)
		})
	}
}

func TestT1SameTripleSameToken(t *testing.T) {
	a := startAPI(t)
	first := a.newTerminalOf("ann", "phone", "mail")
	again := a.newTerminalOf("ann", "phone", "mail")
	if first.token != again.token {
		t.Errorf("token = %q, want %q, as at the first time", again.token, first.token)
	}
	if want := "/push/" + first.token; first.endpoint != want {
		t.Errorf("endpoint = %q, want %q", first.endpoint, apiOrigin+want)
	}
}

func TestT2EachTripleHasItsOwnToken(t *testing.T) {
	a := startAPI(t)
	seen := map[string]string{}
	for _, who := range [][3]string{{"ann", "phone", "mail"}, {"bob", "phone", "mail"}, {"ann", "tablet", "mail"}, {"ann", "phone", "chat"}} {
		token := a.newTerminalOf(who[0], who[1], who[2]).token
		if other := seen[token]; other != "" {
			t.Errorf("%q has the token of %s, want one of its own", who, other)
		}
		seen[token] = strings.Join(who[:], "/")
	}
}

func TestT2TokenOfAnotherTripleIsRefused(t *testing.T) {
	a := startAPI(t)
	bob := a.newTerminalOf("bob", "phone", "mail")
	ann := a.newTerminalOf("ann", "phone", "mail")
	for _, q := range []tokenRequest{
		{Device: "phone", App: "mail", Account: "bob"},
		{Device: "tablet", App: "mail", Account: "ann"},
		{Device: "phone", App: "chat", Account: "ann"},
		{},
	} {
		ann.call("POST", "/v1/tokens", q).refused(t, 403, wire.TokenNotYours, "another account, device or app")
	}
	ann.call("GET", "/v1/messages?token="+bob.token, nil).refused(t, 403, wire.TokenNotYours, "")
	ann.call("POST", "/v1/messages/ack", ackRequest{bob.token, []uint64{1}}).refused(t, 403, wire.TokenNotYours, "")
}

func TestT5TokenIsStoredHashedAndLong(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	raw, err := base64.RawURLEncoding.DecodeString(ann.token)
	if err != nil || len(raw) < 20 {
		t.Errorf("token %q has %d bytes (%v), want at least 160 bits", ann.token, len(raw), err)
	}
	if _, err := a.store.Token(t.Context(), ann.token); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Token(its text) = %v, want %v: only the hash is stored", err, store.ErrNotFound)
	}
	if _, err := a.store.Token(t.Context(), store.TokenHash(ann.token)); err != nil {
		t.Errorf("Token(its hash): %v", err)
	}
}

func TestT5TokenAuthenticatesNobody(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	for _, scheme := range []string{"Bearer", "DPoP"} {
		a.send("GET", "/v1/messages?token="+ann.token, nil, header("Authorization", scheme+" "+ann.token)).
			refused(t, 401, map[string]wire.Code{"Bearer": wire.Unauthorized, "DPoP": wire.ProofInvalid}[scheme], "")
	}
	a.send("GET", "/v1/messages?token="+ann.token, nil).refused(t, 401, wire.Unauthorized, "Authorization")
}

func TestT5UnknownRevokedAndExpiredTokens(t *testing.T) {
	a := startAPI(t, func(s *apiSetup) { s.auth.TokenIdle = 10 * 24 * time.Hour })
	ann := a.newTerminalOf("ann", "phone", "mail")
	bob := a.newTerminalOf("bob", "phone", "mail")
	to := func(token string) apiReply {
		return a.send("POST", "/v1/messages", publishRequest{Token: token, Text: ptr("hi")}, bearer(a.key))
	}
	push := func(token string) apiReply {
		return a.send("POST", "/push/"+token, nil, header("TTL", "60"))
	}

	to("unknown").refused(t, 404, wire.TokenUnknown, "")
	push("unknown").refused(t, 404, wire.TokenUnknown, "")
	ann.call("GET", "/v1/messages?token=unknown", nil).refused(t, 404, wire.TokenUnknown, "")

	if err := a.store.RevokeToken(t.Context(), store.TokenHash(ann.token)); err != nil {
		t.Fatal(err)
	}
	to(ann.token).refused(t, 410, wire.TokenRevoked, "")
	push(ann.token).refused(t, 410, wire.TokenRevoked, "")
	ann.call("GET", "/v1/messages?token="+ann.token, nil).refused(t, 410, wire.TokenRevoked, "")
	ann.call("POST", "/v1/messages/ack", ackRequest{ann.token, []uint64{1}}).refused(t, 410, wire.TokenRevoked, "")
	if next := a.newTerminalOf("ann", "phone", "mail"); next.token == ann.token {
		t.Errorf("after the revocation the token is %q again, want another", next.token)
	}

	a.clock.advance(11*24*time.Hour + time.Minute)
	to(bob.token).refused(t, 410, wire.TokenExpired, "not used")
	push(bob.token).refused(t, 410, wire.TokenExpired, "not used")
}

func TestLogoutEndsTheSession(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	if r := ann.call("DELETE", "/v1/session", nil); r.status != 204 || r.body != "" {
		t.Fatalf("%s = %d %q, want 204 without a body", r.what, r.status, r.body)
	}
	ann.call("GET", "/v1/messages?token="+ann.token, nil).refused(t, 401, wire.SessionRevoked, "log in again")
}

func TestDisabledAccountIsRefused(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	if err := a.auth.DisableUser(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	ann.call("GET", "/v1/messages?token="+ann.token, nil).refused(t, 403, wire.AccountDisabled, "")
	a.send("POST", "/v1/login", loginRequest{"ann", "correct horse", "phone", "mail", ann.key.Public().String()}).
		refused(t, 403, wire.AccountDisabled, "")
}

func TestVAPIDKeyOfATokenIsKeptUntilItIsChanged(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	ask := func(key *string) {
		t.Helper()
		ann.call("POST", "/v1/tokens", tokenRequest{"phone", "mail", "ann", key}).ok(t, 200, &tokenReply{})
	}
	kept := func(want string) {
		t.Helper()
		got, err := a.store.Token(t.Context(), store.TokenHash(ann.token))
		if err != nil || got.VAPIDKey != want {
			t.Errorf("VAPIDKey = %q (%v), want %q", got.VAPIDKey, err, want)
		}
	}
	sender := newSender(t)
	ask(&sender.public)
	kept(sender.public)
	ask(nil)
	kept(sender.public)
	ask(ptr(""))
	kept("")
	for _, bad := range []string{"x", sender.public[:80], sender.public + "=", base64.RawURLEncoding.EncodeToString(make([]byte, 65))} {
		ann.call("POST", "/v1/tokens", tokenRequest{"phone", "mail", "ann", &bad}).refused(t, 400, wire.BadRequest, "vapid_key")
	}
	kept("")
}

func TestSessionOfAnOldEpochIsRefused(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	s, err := a.auth.Open(t.Context(), ann.session)
	if err != nil {
		t.Fatal(err)
	}
	next, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	nonce := []byte("0123456789abcdef")
	offset := a.clock.Now().UnixMilli() - s.Record.STime
	oldSig, newSig, err := keys.SignRenewal(ann.key, next, ann.session, offset, 1, nonce)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = a.auth.Renew(t.Context(), s, auth.RenewRequest{
		NewKey: next.Public().String(), Offset: offset, Nonce: nonce, Received: a.clock.Now(),
		Renewal: wire.Renewal{Session: ann.session, Epoch: 1, Nonce: nonce, OldSignature: oldSig, NewSignature: newSig},
	})
	if err != nil {
		t.Fatal(err)
	}
	pull := func() apiReply { return ann.call("GET", "/v1/messages?token="+ann.token, nil) }
	pull().refused(t, 401, wire.ProofInvalid, "not by the key of the session") // with the old key
	ann.key = next
	pull().refused(t, 401, wire.SessionStale, "renewed")
}

func ptr[T any](v T) *T { return &v }

// counted is the value of a counter, of one label where it has one.
func (a *apiServer) counted(name string, label ...string) float64 {
	a.t.Helper()
	families, err := a.metrics.registry.Gather()
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(label) == 0 || m.GetLabel()[0].GetValue() == label[0] {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
