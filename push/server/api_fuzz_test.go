package server

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"keyhole/push/condition"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// FuzzPublication reads any body as a publication: it is refused with a code
// of the API, or every limit holds for it.
func FuzzPublication(f *testing.F) {
	for _, seed := range []string{
		`{"token":"t","text":"x"}`,
		`{"app":"mail","version":"*","data":"AAEC","condition":"network=wifi","ttl":60,"topic":"a","urgency":"high","content_type":"text/plain","id":"1"}`,
		`{"app":"mail","version":"1","text":"\u0000\ud800","ttl":0}`,
		`{"app":"mail","app":"chat"}`, `{"ttl":1e99}`, `[]`, `null`, ``, `{"a":{"b":[{}]}}`, `{"token":"t","text":"x"} {}`,
	} {
		f.Add([]byte(seed))
	}
	const payload = 4096
	st, err := store.Open(f.Context(), store.Config{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = st.Close() })
	s := &Server{config: Config{Store: st, Limits: Limits{PayloadBytes: payload}}, now: time.Now}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/v1/messages", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		q, err := readJSON[publishRequest](httptest.NewRecorder(), r, publishLimit(payload))
		if err != nil {
			wantCode(t, err)
			return
		}
		m, err := s.message(q)
		if err != nil {
			wantCode(t, err)
			return
		}
		_, err = condition.Parse(m.Condition)
		switch {
		case err != nil:
			t.Errorf("condition %q is taken: %v", m.Condition, err)
		case (m.Token == "") != (m.App != "" && m.Version != ""):
			t.Errorf("message to token %q, app %q, version %q is taken", m.Token, m.App, m.Version)
		case len(m.Data) > payload, len(m.App) > maxName, len(m.Version) > maxVersion, len(m.Topic) > maxTopic, len(m.ContentType) > maxContentType,
			m.Expires.Sub(m.Published) < leastTTL, m.Expires.Sub(m.Published) > st.Retention():
			t.Errorf("message %+v is taken, and is longer than the limits", m)
		}
	})
}

// FuzzPullQuery reads any query of a pull.
func FuzzPullQuery(f *testing.F) {
	for _, seed := range []string{"token=a", "token=a&after=1&limit=100&version=2", "token=a&token=b", "%zz", "limit=0", "a;b", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parsePull(raw)
		switch {
		case err != nil:
			wantCode(t, err)
		case q.token == "", q.limit < 1, q.limit > pullMost, len(q.version) > maxVersion:
			t.Errorf("parsePull(%q) = %+v, and that is outside the limits", raw, q)
		}
	})
}

// wantCode wants an error that a client is told the reason of.
func wantCode(t *testing.T, err error) {
	t.Helper()
	var code wire.Code
	if !errors.As(err, &code) || refusals[code].status/100 != 4 {
		t.Errorf("error %v has code %q, want one with a status of 4xx", err, code)
	}
}
