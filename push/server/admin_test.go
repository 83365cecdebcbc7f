package server

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// admin asks the admin handler.
func (a *apiServer) admin(method, path string) apiReply {
	a.t.Helper()
	w := httptest.NewRecorder()
	a.AdminHandler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return apiReply{method + " " + path, w.Code, w.Header(), w.Body.String()}
}

func (r apiReply) says(t *testing.T, status int, text string) {
	t.Helper()
	if r.status != status || !strings.Contains(r.body, text) {
		t.Errorf("%s = %d %q, want %d with %q", r.what, r.status, r.body, status, text)
	}
}

func TestHealthIsOfTheProcess(t *testing.T) {
	a := startAPI(t)
	a.admin("GET", "/healthz").says(t, 200, "ok")
	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
	a.admin("GET", "/healthz").says(t, 200, "ok")
}

func TestReadyIsOfTheStore(t *testing.T) {
	a := startAPI(t)
	a.admin("GET", "/readyz").says(t, 200, "ok")
	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
	a.admin("GET", "/readyz").says(t, 503, "store: ")
}

func TestReadyNeedsRoomOnTheDisk(t *testing.T) {
	a := startAPI(t, func(s *apiSetup) { s.store.MinFree = math.MaxUint64 / 2 })
	a.admin("GET", "/readyz").says(t, 503, "store: disk_full")
}

func TestReadyEndsWithTheDrain(t *testing.T) {
	a := startAPI(t)
	a.draining.Store(true)
	a.admin("GET", "/readyz").says(t, 503, "draining")
	a.admin("GET", "/healthz").says(t, 200, "ok")
}

func TestAdminKnowsNothingElse(t *testing.T) {
	a := startAPI(t)
	for _, c := range []struct {
		method, path string
		status       int
	}{{"POST", "/readyz", 405}, {"GET", "/", 404}, {"GET", "/v1/messages", 404}, {"GET", "/users", 404}} {
		a.admin(c.method, c.path).says(t, c.status, "")
	}
}

func TestMetricsCount(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	seq := a.published(publishRequest{Token: ann.token, Text: ptr("x")}).Seq
	a.published(publishRequest{App: "mail", Version: "*", Text: ptr("x")})
	ann.call("POST", "/v1/messages/ack", ackRequest{ann.token, []uint64{seq}}).ok(t, 204, nil)
	a.send("GET", "/nowhere", nil)
	text := a.admin("GET", "/metrics").body
	for _, line := range []string{
		`pushd_logins_total{result="ok"} 1`,
		`pushd_published_total{to="app"} 1`,
		`pushd_published_total{to="token"} 1`,
		`pushd_publish_seconds_count 2`,
		`pushd_acknowledged_total 1`,
		`pushd_refused_total{reason="not_found"} 1`,
		`pushd_store_messages 1`,
		`pushd_terminals 0`,
		`pushd_held 0`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("/metrics has no line %q", line)
		}
	}
	if !regexp.MustCompile(`(?m)^pushd_store_bytes [1-9]`).MatchString(text) {
		t.Error("pushd_store_bytes is missing or 0, want the size of a message")
	}
}

// A scrape must not fail, and must not show old numbers, while the store is
// away.
func TestMetricsWithoutTheStore(t *testing.T) {
	a := startAPI(t)
	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
	r := a.admin("GET", "/metrics")
	r.says(t, 200, "pushd_terminals 0")
	if strings.Contains(r.body, "pushd_store_messages") {
		t.Error("pushd_store_messages is there, want it absent while the store is")
	}
}

func TestMetricsOfDeliveries(t *testing.T) {
	m := newMetrics()
	m.Delivered(3e6)
	m.Replayed()
	m.Held(2)
	m.Held(-1)
	m.Acknowledged(4)
	a := &apiServer{Server: &Server{metrics: m}, t: t}
	for name, want := range map[string]float64{"pushd_delivered_total": 2, "pushd_replayed_total": 1, "pushd_acknowledged_total": 4} {
		if got := a.counted(name); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
}

// The metrics of the document are those of the program.
func TestEveryMetricIsDocumented(t *testing.T) {
	a := startAPI(t)
	a.loginAs("ann", "phone", "mail") // a counter with a label is there from its first count on
	a.send("GET", "/nowhere", nil)
	a.published(publishRequest{App: "mail", Version: "*", Text: ptr("x")})
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (pushd_\w+) `).FindAllStringSubmatch(a.admin("GET", "/metrics").body, -1) {
		got = append(got, m[1])
	}
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(pushd_[a-z_]+)").FindAllStringSubmatch(apiDoc(t), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(got)
	slices.Sort(documented)
	if !slices.Equal(got, documented) {
		t.Errorf("docs/push-api.md has the metrics\n%q, want\n%q", documented, got)
	}
}

// A client that goes away while it is answered is no error of the server.
func TestClientThatIsGoneIsNotLogged(t *testing.T) {
	a := startAPI(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := a.endpoints(map[string]endpoint{"GET": func(_ http.ResponseWriter, r *http.Request) error {
		return errors.Join(errors.New("read"), r.Context().Err())
	}})
	h.ServeHTTP(httptest.NewRecorder(), a.request("GET", "/", nil).WithContext(ctx))
	if log := a.log.String(); strings.Contains(log, "request failed") {
		t.Errorf("log %q, want nothing of it", log)
	}
}
