package server

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

func TestP3PublishedMessageIsPulled(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	reply := a.published(publishRequest{
		Token: ann.token, Data: []byte{0, 1, 254}, TTL: ptr(int64(60)), Topic: "inbox", Urgency: "low",
		ContentType: "application/cbor", ID: "order-17",
	})
	if reply.ID != "shop:order-17" || reply.Seq == 0 || reply.Duplicate {
		t.Errorf("publish = %+v, want id shop:order-17, a sequence, no duplicate", reply)
	}
	page := ann.pull("")
	if len(page.Messages) != 1 {
		t.Fatalf("pull = %d messages, want 1", len(page.Messages))
	}
	got := page.Messages[0]
	want := wire.Message{
		ID: "shop:order-17", Seq: reply.Seq, To: "token", Time: got.Time, Expires: got.Time + 60_000,
		Data: []byte{0, 1, 254}, ContentType: "application/cbor", Topic: "inbox", Urgency: "low",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("message %+v, want %+v", got, want)
	}
	if age := a.clock.Now().Sub(time.UnixMilli(got.Time)); age < 0 || age > time.Minute {
		t.Errorf("time is %s ago, want now", age)
	}
}

func TestPublishedTextSaysWhatItIs(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	a.published(publishRequest{Token: ann.token, Text: ptr("héllo")})
	m := ann.pull("").Messages[0]
	if string(m.Data) != "héllo" || m.ContentType != "text/plain; charset=utf-8" {
		t.Errorf("message %q of type %q, want the text in UTF-8 and its type", m.Data, m.ContentType)
	}
	if life := time.Duration(m.Expires-m.Time) * time.Millisecond; life != 28*24*time.Hour {
		t.Errorf("without ttl it lives for %s, want the retention, 28 days", life)
	}
}

func TestT3OneStoredCopyServesEveryTerminalOfAnApp(t *testing.T) {
	a := startAPI(t)
	a.published(publishRequest{App: "mail", Version: "2.1", Text: ptr("two")})
	a.published(publishRequest{App: "mail", Version: "*", Text: ptr("all")})
	a.published(publishRequest{App: "mail", Version: "3.0", Text: ptr("three")})
	a.published(publishRequest{App: "chat", Version: "*", Text: ptr("chat")})
	if n, _, err := a.store.Size(t.Context()); err != nil || n != 4 {
		t.Errorf("Size = %d messages, %v, want the 4 published", n, err)
	}
	for _, c := range []struct{ user, app, query, want string }{
		{"ann", "mail", "&version=2.1", "two all"},
		{"bob", "mail", "&version=2.1", "two all"},
		{"cat", "mail", "&version=3.0", "all three"},
		{"dan", "mail", "", "all"},
		{"ann", "chat", "&version=2.1", "chat"},
	} {
		if got := strings.Join(a.newTerminalOf(c.user, "phone", c.app).pull(c.query).texts(), " "); got != c.want {
			t.Errorf("pull of %s's %s%s = %q, want %q", c.user, c.app, c.query, got, c.want)
		}
	}
}

func TestPublisherOfAnotherAppIsForbidden(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	key, err := a.auth.CreatePublisher(t.Context(), "chat", []string{"chat", "forum"})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []publishRequest{{Token: ann.token, Text: ptr("x")}, {App: "mail", Version: "*", Text: ptr("x")}} {
		a.send("POST", "/v1/messages", q, bearer(key)).refused(t, 403, wire.Forbidden, `"chat"`)
	}
	a.send("POST", "/v1/messages", publishRequest{App: "forum", Version: "*", Text: ptr("x")}, bearer(key)).ok(t, 201, &publishReply{})
	if got := ann.pull("").texts(); len(got) != 0 {
		t.Errorf("pull = %q, want nothing", got)
	}
}

func TestPublisherKeyIsUnknownRevokedOrMissing(t *testing.T) {
	a := startAPI(t)
	q := publishRequest{App: "mail", Version: "*", Text: ptr("x")}
	refused := func(says string, change ...func(*http.Request)) {
		t.Helper()
		r := a.send("POST", "/v1/messages", q, change...)
		r.refused(t, 401, wire.Unauthorized, says)
		if got := r.header.Get("WWW-Authenticate"); got != "Bearer" {
			t.Errorf("WWW-Authenticate = %q, want Bearer", got)
		}
	}
	refused("0 headers Authorization")
	refused("scheme", header("Authorization", "Basic YTpi"))
	refused("Bearer", header("Authorization", "Bearer "))
	refused("no such", bearer("pk_wrong"))
	refused("no such", bearer(a.key+"x"))
	refused("no such", bearer(store.TokenHash(a.key))) // what is stored is no key
	refused("2 headers", func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + a.key, "Bearer " + a.key} })
	a.send("POST", "/v1/messages", q, header("Authorization", "bearer "+a.key)).ok(t, 201, &publishReply{}) // RFC 9110 section 11.1
	if err := a.store.RevokePublisher(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	refused("revoked", bearer(a.key))
}

// The key is looked up by its hash: what a comparison took could say at most
// something of hashes, and nothing is compared with a key.
func TestPublisherKeyIsFoundByItsHashAlone(t *testing.T) {
	a := startAPI(t)
	all, err := a.store.Publishers(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("Publishers = %d, %v, want one", len(all), err)
	}
	record, err := json.Marshal(all[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(record), a.key) || all[0].Hash != store.TokenHash(a.key) {
		t.Errorf("record %s, want the hash of the key and not the key", record)
	}
}

func TestPublicationsThatAreRefused(t *testing.T) {
	a := startAPI(t)
	for _, c := range []struct {
		name, body string
		code       wire.Code
		says       string
	}{
		{"no address", `{"text":"x"}`, wire.BadRequest, "neither token nor app"},
		{"two addresses", `{"token":"t","app":"mail","text":"x"}`, wire.BadRequest, "both"},
		{"token and version", `{"token":"t","version":"1","text":"x"}`, wire.BadRequest, "both"},
		{"no version", `{"app":"mail","text":"x"}`, wire.BadRequest, "version is missing"},
		{"no data", `{"app":"mail","version":"1"}`, wire.BadRequest, "data"},
		{"two data", `{"app":"mail","version":"1","text":"x","data":"eA=="}`, wire.BadRequest, "data"},
		{"data that is not base64", `{"app":"mail","version":"1","data":"é"}`, wire.BadRequest, "base64"},
		{"app with a line break", `{"app":"a\nb","version":"1","text":"x"}`, wire.BadRequest, "app"},
		{"long version", `{"app":"mail","version":"` + strings.Repeat("1", 65) + `","text":"x"}`, wire.BadRequest, "version"},
		{"condition", `{"app":"mail","version":"1","text":"x","condition":"network=wifi, =x"}`, wire.ConditionInvalid, "column 15"},
		{"long condition", `{"app":"mail","version":"1","text":"x","condition":"` + strings.Repeat("a,", 400) + `"}`, wire.ConditionInvalid, ""},
		{"negative ttl", `{"app":"mail","version":"1","text":"x","ttl":-1}`, wire.TTLInvalid, "-1"},
		{"ttl beyond the retention", `{"app":"mail","version":"1","text":"x","ttl":2419201}`, wire.TTLInvalid, "2419200"},
		{"ttl of all bits", fmt.Sprintf(`{"app":"mail","version":"1","text":"x","ttl":%d}`, int64(math.MaxInt64)), wire.TTLInvalid, "2419200"},
		{"ttl beyond any number", `{"app":"mail","version":"1","text":"x","ttl":99999999999999999999}`, wire.TTLInvalid, "whole number"},
		{"ttl with a fraction", `{"app":"mail","version":"1","text":"x","ttl":1.5}`, wire.TTLInvalid, "whole number"},
		{"ttl as text", `{"app":"mail","version":"1","text":"x","ttl":"60"}`, wire.TTLInvalid, "whole number"},
		{"topic", `{"app":"mail","version":"1","text":"x","topic":"a b"}`, wire.BadRequest, "topic"},
		{"long topic", `{"app":"mail","version":"1","text":"x","topic":"` + strings.Repeat("a", 33) + `"}`, wire.BadRequest, "topic"},
		{"urgency", `{"app":"mail","version":"1","text":"x","urgency":"now"}`, wire.BadRequest, "urgency"},
		{"content type", `{"app":"mail","version":"1","text":"x","content_type":"no slash"}`, wire.BadRequest, "content_type"},
		{"content type with a line break", `{"app":"mail","version":"1","text":"x","content_type":"text/plain\r\nX: y"}`, wire.BadRequest, "content_type"},
		{"content encoding", `{"app":"mail","version":"1","text":"x","content_encoding":"gzip"}`, wire.BadRequest, "aes128gcm"},
		{"id with a colon", `{"app":"mail","version":"1","text":"x","id":"shop:1"}`, wire.BadRequest, "id"},
		{"long id", `{"app":"mail","version":"1","text":"x","id":"` + strings.Repeat("1", 65) + `"}`, wire.BadRequest, "id"},
		{"unknown field", `{"app":"mail","version":"1","text":"x","tll":60}`, wire.BadRequest, `"tll"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.send("POST", "/v1/messages", c.body, bearer(a.key)).refused(t, 400, c.code, c.says)
		})
	}
	if n, _, err := a.store.Size(t.Context()); err != nil || n != 0 {
		t.Errorf("Size = %d messages, %v, want none stored", n, err)
	}
}

func TestSameIDTwice(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	send := func(text string) apiReply {
		return a.send("POST", "/v1/messages", publishRequest{Token: ann.token, Text: &text, ID: "1"}, bearer(a.key))
	}
	var first, second publishReply
	send("x").ok(t, 201, &first)
	send("x").ok(t, 201, &second)
	if !second.Duplicate || second.Seq != first.Seq || second.ID != first.ID {
		t.Errorf("again = %+v, want a duplicate of %+v", second, first)
	}
	send("y").refused(t, 409, wire.IDConflict, "id of its own")
	if n := a.counted("pushd_published_total", "token"); n != 1 {
		t.Errorf("pushd_published_total{to=token} = %v, want 1: duplicates are not stored", n)
	}

	key, err := a.auth.CreatePublisher(t.Context(), "other", nil)
	if err != nil {
		t.Fatal(err)
	}
	var theirs publishReply
	a.send("POST", "/v1/messages", publishRequest{Token: ann.token, Text: ptr("z"), ID: "1"}, bearer(key)).ok(t, 201, &theirs)
	if theirs.ID == first.ID || theirs.Duplicate {
		t.Errorf("id 1 of another publisher = %+v, want a message of its own: %+v", theirs, first)
	}
}

func TestBacklogFull(t *testing.T) {
	a := startAPI(t, func(s *apiSetup) { s.store.Backlog = 3 })
	ann := a.newTerminalOf("ann", "phone", "mail")
	bob := a.newTerminalOf("bob", "phone", "mail")
	for range 3 {
		a.published(publishRequest{Token: ann.token, Text: ptr("x")})
	}
	full := a.send("POST", "/v1/messages", publishRequest{Token: ann.token, Text: ptr("x")}, bearer(a.key))
	full.refused(t, 429, wire.BacklogFull, "3 messages")
	if got := full.header.Get("Retry-After"); got != "60" {
		t.Errorf("Retry-After = %q, want 60", got)
	}
	push := ann.push("x", nil)
	push.refused(t, 429, wire.BacklogFull, "")
	if got := push.header.Get("Retry-After"); got != "60" {
		t.Errorf("Retry-After of Web Push = %q, want 60", got)
	}
	a.published(publishRequest{Token: bob.token, Text: ptr("x")}) // nobody else's is full
}

func TestDiskFullIsRefused(t *testing.T) {
	a := startAPI(t, func(s *apiSetup) { s.store.MinFree = math.MaxUint64 / 2 })
	r := a.send("POST", "/v1/messages", publishRequest{App: "mail", Version: "*", Text: ptr("x")}, bearer(a.key))
	r.refused(t, 507, wire.DiskFull, "")
	if got := r.header.Get("Retry-After"); got != "60" {
		t.Errorf("Retry-After = %q, want 60", got)
	}
}

func TestStoreThatDoesNotAnswer(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []apiReply{
		a.send("POST", "/v1/messages", publishRequest{App: "mail", Version: "*", Text: ptr("x")}, bearer(a.key)),
		ann.call("GET", "/v1/messages?token="+ann.token, nil),
		ann.push("x", nil),
	} {
		r.refused(t, 503, wire.StoreUnavailable, "")
		if got := r.header.Get("Retry-After"); got != "2" {
			t.Errorf("%s: Retry-After = %q, want 2", r.what, got)
		}
	}
}

func TestStoreThatAnswersTooLate(t *testing.T) {
	code, text := answerTo(fmt.Errorf("publish: %w", context.DeadlineExceeded))
	if code != wire.StoreUnavailable || !strings.Contains(text, "try again") {
		t.Errorf("answerTo(deadline) = %s %q, want %s", code, text, wire.StoreUnavailable)
	}
}
