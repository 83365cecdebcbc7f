package server

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"keyhole/push/wire"
)

// control asks the control handler, as the command line does.
func (a *apiServer) control(method, path string, body any) apiReply {
	a.t.Helper()
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			a.t.Fatal(err)
		}
	}
	r := httptest.NewRequestWithContext(a.t.Context(), method, path, &b)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	a.ControlHandler().ServeHTTP(w, r)
	return apiReply{method + " " + path, w.Code, w.Header(), w.Body.String()}
}

func TestControlAddsAndDisablesUsers(t *testing.T) {
	a := startAPI(t)
	var added userReply
	a.control("POST", "/users", userRequest{"bob/home", "correct horse"}).ok(t, 201, &added)
	if added.Name != "bob/home" {
		t.Errorf("name = %q, want bob/home", added.Name)
	}
	bob := a.newTerminalOf("bob/home", "phone", "mail")
	a.control("POST", "/users", userRequest{"bob/home", "another"}).refused(t, 400, wire.BadRequest, `"bob/home": exists already`)
	a.control("POST", "/users", userRequest{"", "x"}).refused(t, 400, wire.BadRequest, "user is empty")
	a.control("POST", "/users", userRequest{"eve", ""}).refused(t, 400, wire.BadRequest, "password is empty")

	a.control("POST", "/users/bob%2Fhome/disable", nil).ok(t, 204, nil)
	bob.call("GET", "/v1/messages?token="+bob.token, nil).refused(t, 403, wire.AccountDisabled, "")
	a.control("POST", "/users/nobody/disable", nil).refused(t, 404, wire.NotFound, `"nobody"`)
}

func TestControlAddsAndRevokesKeys(t *testing.T) {
	a := startAPI(t)
	var made keyReply
	a.control("POST", "/keys", keyRequest{"news", []string{"mail"}}).ok(t, 201, &made)
	publish := func(app string) apiReply {
		return a.send("POST", "/v1/messages", publishRequest{App: app, Version: "*", Text: ptr("x")}, bearer(made.Key))
	}
	publish("mail").ok(t, 201, &publishReply{})
	publish("chat").refused(t, 403, wire.Forbidden, "news")
	a.control("POST", "/keys", keyRequest{"news", nil}).refused(t, 400, wire.BadRequest, "exists already")
	a.control("POST", "/keys", keyRequest{"bad", []string{""}}).refused(t, 400, wire.BadRequest, "app is empty")

	a.control("DELETE", "/keys/news", nil).ok(t, 204, nil)
	publish("mail").refused(t, 401, wire.Unauthorized, "revoked")
	a.control("DELETE", "/keys/nobody", nil).refused(t, 404, wire.NotFound, `publisher "nobody"`)
}

func TestControlRevokesTokensAndSessions(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	a.control("DELETE", "/tokens/"+ann.token, nil).ok(t, 204, nil)
	ann.call("GET", "/v1/messages?token="+ann.token, nil).refused(t, 410, wire.TokenRevoked, "")
	a.control("DELETE", "/tokens/unknown", nil).refused(t, 404, wire.NotFound, `message token "unknown"`)

	a.control("DELETE", "/sessions?user=ann", nil).ok(t, 204, nil)
	ann.call("GET", "/v1/messages?token="+ann.token, nil).refused(t, 401, wire.SessionRevoked, "")
	a.control("DELETE", "/sessions?user=an", nil).refused(t, 404, wire.NotFound, `user "an"`)
	a.control("DELETE", "/sessions", nil).refused(t, 404, wire.NotFound, `user ""`)
}

func TestControlListsTerminals(t *testing.T) {
	a := startAPI(t)
	if r := a.control("GET", "/terminals", nil); r.status != 200 || strings.TrimSpace(r.body) != `{"terminals":[]}` {
		t.Errorf("%s = %d %s, want an empty list", r.what, r.status, r.body)
	}
	c := a.attach("ann", "phone", "mail")
	defer c.Close("test")
	var got terminalsReply
	a.control("GET", "/terminals", nil).ok(t, 200, &got)
	if len(got.Terminals) != 1 {
		t.Fatalf("terminals = %d, want 1", len(got.Terminals))
	}
	i := got.Terminals[0]
	if i.User != "ann" || i.Device != "phone" || i.App != "mail" || i.Version != "2.1" || i.Conn != "c1" || i.State["network"] != "wifi" || i.Since.IsZero() {
		t.Errorf("terminal %+v, want ann's phone with its state", i)
	}
	a.admin("GET", "/metrics").says(t, 200, "pushd_terminals 1\n")
}

func TestControlKnowsNothingElse(t *testing.T) {
	a := startAPI(t)
	a.control("GET", "/", nil).refused(t, 404, wire.NotFound, "")
	a.control("GET", "/users", nil).refused(t, 405, wire.MethodNotAllowed, "POST")
	a.control("POST", "/v1/messages", nil).refused(t, 404, wire.NotFound, "")
	a.control("POST", "/users", map[string]string{"nome": "ann"}).refused(t, 400, wire.BadRequest, `unknown field "nome"`)
}

// What the control socket does is for its owner: the network has none of it.
func TestControlIsNotServedToTheNetwork(t *testing.T) {
	a := startAPI(t)
	for _, r := range a.controlRoutes() {
		a.send(r.method, strings.NewReplacer("{name}", "ann", "{text}", "x").Replace(r.path), nil).refused(t, 404, wire.NotFound, "")
	}
	a.send("GET", "/metrics", nil).refused(t, 404, wire.NotFound, "")
}
