package server

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"keyhole/push/auth"
	"keyhole/push/store"
	"keyhole/push/wire"
)

func TestT4PullReturnsWhatIsStoredInOrder(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	bob := a.newTerminalOf("bob", "phone", "mail")
	for _, q := range []publishRequest{
		{Token: ann.token, Text: ptr("1 ann")}, {App: "mail", Version: "*", Text: ptr("2 all")}, {Token: bob.token, Text: ptr("3 bob")},
		{App: "mail", Version: "2", Text: ptr("4 v2")}, {Token: ann.token, Text: ptr("5 ann")},
	} {
		a.published(q)
	}
	page := ann.pull("&version=2")
	if got, want := strings.Join(page.texts(), ", "), "1 ann, 2 all, 4 v2, 5 ann"; got != want || page.Next != 0 {
		t.Errorf("pull = %q, next %d, want %q and no next", got, page.Next, want)
	}
	if to := []string{page.Messages[0].To, page.Messages[1].To}; to[0] != "token" || to[1] != "app" {
		t.Errorf("to = %q, want token, app", to)
	}
	if got := strings.Join(ann.pull("&version=2").texts(), ", "); got != "1 ann, 2 all, 4 v2, 5 ann" {
		t.Errorf("pull again = %q, want the same: nothing was acknowledged", got)
	}
}

// A pull sees what was published before it, through any node, however far its
// own node's consumer has come: here, nowhere.
func TestT4PullSeesEveryAnsweredPublish(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	lagging, err := New(a.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []publishRequest{
		{Token: ann.token, Text: ptr("ann")}, {App: "mail", Version: "*", Text: ptr("all")}, {App: "mail", Version: "2", Text: ptr("v2")},
	} {
		a.published(q)
	}
	path := "/v1/messages?version=2&token=" + ann.token
	r := httptest.NewRequestWithContext(t.Context(), "GET", apiOrigin+path, nil)
	ann.proven("GET", path)(r)
	w := httptest.NewRecorder()
	lagging.Handler().ServeHTTP(w, r)
	var page pullReply
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
		t.Fatalf("pull = %d %s: %v", w.Code, w.Body, err)
	}
	if got := strings.Join(page.texts(), " "); got != "ann all v2" {
		t.Errorf("pull = %q, want everything that was published", got)
	}
}

// However many deletions wait, a pull after an answered acknowledgement does not
// return the message again.
func TestT4PullAfterAnAcknowledgement(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	seq := a.published(publishRequest{Token: ann.token, Text: ptr("ann")}).Seq
	others := make([]uint64, 1000)
	for i := range others {
		others[i] = 1 << 40
	}
	a.store.Delete(others...)
	ann.call("POST", "/v1/messages/ack", ackRequest{ann.token, []uint64{seq}}).ok(t, 204, nil)
	if got := strings.Join(ann.pull("").texts(), " "); got != "" {
		t.Errorf("pull = %q, want nothing", got)
	}
}

func TestT4PullPageByPage(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	var want []string
	for i := range 7 {
		text := fmt.Sprint(i)
		want = append(want, text)
		q := publishRequest{Token: ann.token, Text: &text}
		if i%2 == 1 {
			q = publishRequest{App: "mail", Version: "*", Text: &text}
		}
		a.published(q)
	}
	var got []string
	after := uint64(0)
	for range 10 {
		page := ann.pull(fmt.Sprintf("&limit=2&after=%d", after))
		if len(page.Messages) > 2 {
			t.Errorf("page of %d messages, want at most 2", len(page.Messages))
		}
		got = append(got, page.texts()...)
		if after = page.Next; after == 0 {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages = %q, want %q", got, want)
	}
}

func TestPageEndsWithItsBytes(t *testing.T) {
	a := startAPI(t, func(s *apiSetup) { s.server.Limits.PayloadBytes = 600 << 10 })
	ann := a.newTerminalOf("ann", "phone", "mail")
	for range 3 {
		a.published(publishRequest{Token: ann.token, Data: make([]byte, 600<<10)})
	}
	first := ann.pull("")
	if len(first.Messages) != 2 || first.Next != first.Messages[1].Seq {
		t.Fatalf("page of %d messages, next %d, want 2, as the second passes 1 MiB", len(first.Messages), first.Next)
	}
	if second := ann.pull(fmt.Sprintf("&after=%d", first.Next)); len(second.Messages) != 1 || second.Next != 0 {
		t.Errorf("second page of %d messages, next %d, want the last one", len(second.Messages), second.Next)
	}
}

func TestP5PullGoesByTheLastReportedState(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	for _, c := range []struct{ text, condition string }{
		{"always", ""}, {"wifi", "network=wifi"}, {"cellular", "network=cellular"}, {"new", "app_version>=2.1"},
	} {
		a.published(publishRequest{Token: ann.token, Text: &c.text, Condition: c.condition})
	}
	if got := strings.Join(ann.pull("").texts(), " "); got != "always" {
		t.Errorf("pull before any report = %q, want what has no condition", got)
	}
	if got := strings.Join(ann.pull("&version=2.10").texts(), " "); got != "always new" {
		t.Errorf("pull of version 2.10 = %q, want always new", got)
	}
	hash := store.TokenHash(ann.token)
	err := a.store.PutTerminal(t.Context(), hash, store.Terminal{AppVersion: "1.0", State: map[string]string{"network": "wifi", "app_version": "1.0"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(ann.pull("").texts(), " "); got != "always wifi" {
		t.Errorf("pull after the report = %q, want always wifi", got)
	}
	if got := strings.Join(ann.pull("&version=2.1").texts(), " "); got != "always wifi new" {
		t.Errorf("pull of version 2.1 = %q, want always wifi new", got)
	}
}

// Thousands that are for another state do not make one request read them all.
func TestPullLooksAtABoundedNumber(t *testing.T) {
	p := &page{limit: 10, state: map[string]string{}, now: time.Unix(1, 0)}
	p.sources = []source{{done: true}}
	for i := range pullConsider + 5 {
		p.sources[0].messages = append(p.sources[0].messages, store.Message{Seq: uint64(i + 1), Condition: "a=b", Expires: time.Unix(9, 0)})
	}
	if err := p.fill(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if p.reply.Next != pullConsider || len(p.reply.Messages) != 0 {
		t.Errorf("page of %d, next %d, want none and next %d", len(p.reply.Messages), p.reply.Next, pullConsider)
	}
}

func TestExpiredMessagesAreNotPulled(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	a.published(publishRequest{Token: ann.token, Text: ptr("short"), TTL: ptr(int64(30))})
	a.published(publishRequest{Token: ann.token, Text: ptr("gone"), TTL: ptr(int64(0))})
	a.published(publishRequest{Token: ann.token, Text: ptr("long"), TTL: ptr(int64(3600))})
	a.clock.advance(10 * time.Second)
	if got := strings.Join(ann.pull("").texts(), " "); got != "short long" {
		t.Errorf("pull after 10 s = %q, want short long", got)
	}
	a.clock.advance(time.Minute)
	if got := strings.Join(ann.pull("").texts(), " "); got != "long" {
		t.Errorf("pull after 70 s = %q, want long", got)
	}
}

func TestAckDeletesWhatIsTheTokens(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	var seqs []uint64
	for _, text := range []string{"1", "2", "3"} {
		seqs = append(seqs, a.published(publishRequest{Token: ann.token, Text: &text}).Seq)
	}
	ack := func(seqs ...uint64) apiReply {
		return ann.call("POST", "/v1/messages/ack", ackRequest{ann.token, seqs})
	}
	if r := ack(seqs[0], seqs[2], seqs[2]); r.status != 204 || r.body != "" {
		t.Fatalf("ack = %d %s, want 204", r.status, r.body)
	}
	if n, _, err := a.store.Size(t.Context()); err != nil || n != 1 {
		t.Errorf("%d messages are stored, %v, want 1", n, err)
	}
	if got := strings.Join(ann.pull("").texts(), " "); got != "2" {
		t.Errorf("pull = %q, want 2", got)
	}
	ack(seqs[0]).ok(t, 204, nil) // again: the reply may have been lost
	ack(1<<60).ok(t, 204, nil)
}

func TestT2AckOfAnothersMessageChangesNothing(t *testing.T) {
	a := startAPI(t)
	ann, bob := a.newTerminalOf("ann", "phone", "mail"), a.newTerminalOf("bob", "phone", "mail")
	own := a.published(publishRequest{Token: ann.token, Text: ptr("ann")}).Seq
	app := a.published(publishRequest{App: "mail", Version: "*", Text: ptr("all")}).Seq
	theirs := a.published(publishRequest{Token: bob.token, Text: ptr("bob")}).Seq
	chat := a.published(publishRequest{App: "chat", Version: "*", Text: ptr("chat")}).Seq
	for _, foreign := range []uint64{theirs, chat} {
		ann.call("POST", "/v1/messages/ack", ackRequest{ann.token, []uint64{own, app, foreign}}).
			refused(t, 404, wire.AckUnknown, fmt.Sprint(foreign))
	}
	if got := strings.Join(ann.pull("").texts(), " "); got != "ann all" {
		t.Errorf("ann's pull = %q, want everything still there", got)
	}
	if got := strings.Join(bob.pull("").texts(), " "); got != "all bob" {
		t.Errorf("bob's pull = %q, want everything still there", got)
	}
}

func TestT3AckOfAnAppMessageIsOneTerminals(t *testing.T) {
	a := startAPI(t)
	ann, bob := a.newTerminalOf("ann", "phone", "mail"), a.newTerminalOf("bob", "phone", "mail")
	var seqs []uint64
	for i := range 5 {
		version := []string{"*", "2"}[i%2]
		seqs = append(seqs, a.published(publishRequest{App: "mail", Version: version, Text: ptr(fmt.Sprint(i))}).Seq)
	}
	ack := func(seqs ...uint64) {
		t.Helper()
		ann.call("POST", "/v1/messages/ack", ackRequest{ann.token, seqs}).ok(t, 204, nil)
	}
	left := func(want string) {
		t.Helper()
		if got := strings.Join(ann.pull("&version=2").texts(), " "); got != want {
			t.Errorf("ann's pull = %q, want %q", got, want)
		}
	}
	ack(seqs[2], seqs[1])
	left("0 3 4")
	ack(seqs[0])
	left("3 4")
	ack(seqs[0], seqs[3], seqs[4])
	left("")
	if got := strings.Join(bob.pull("&version=2").texts(), " "); got != "0 1 2 3 4" {
		t.Errorf("bob's pull = %q, want everything", got)
	}
	a.published(publishRequest{App: "mail", Version: "*", Text: ptr("5")})
	left("5")

	record, err := a.store.Terminal(t.Context(), store.TokenHash(ann.token))
	if err != nil {
		t.Fatal(err)
	}
	for subject, c := range record.Cursors {
		if len(c.Above) != 0 || c.Floor == 0 {
			t.Errorf("cursor of %s = %+v, want a floor alone: all before it is acknowledged", subject, c)
		}
	}
}

func TestT4CursorsOfPullsAtOnceAreNotLost(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	var seqs []uint64
	for i := range 8 {
		seqs = append(seqs, a.published(publishRequest{App: "mail", Version: "*", Text: ptr(fmt.Sprint(i))}).Seq)
	}
	replies := make(chan apiReply)
	for _, seq := range seqs {
		proven := ann.proven("POST", "/v1/messages/ack")
		go func() { replies <- a.send("POST", "/v1/messages/ack", ackRequest{ann.token, []uint64{seq}}, proven) }()
	}
	for range seqs {
		(<-replies).ok(t, 204, nil)
	}
	if got := ann.pull("").texts(); len(got) != 0 {
		t.Errorf("pull after acknowledging all at once = %q, want nothing", got)
	}
}

func TestPullAndAckRefuseNonsense(t *testing.T) {
	a := startAPI(t)
	ann := a.newTerminalOf("ann", "phone", "mail")
	for query, says := range map[string]string{
		"":                       "token is missing",
		"token=":                 "token is missing",
		"token=a&token=b":        "2 times",
		"token=a&limit=0":        "limit",
		"token=a&limit=101":      "limit",
		"token=a&limit=many":     "limit",
		"token=a&after=-1":       "after",
		"token=a&after=1e3":      "after",
		"token=a&version=":       "version",
		"token=a&wait=10":        `unknown parameter "wait"`,
		"token=%zz":              "query",
		"token=a&version=%0a":    "version",
		"token=a;limit=1":        "query",
		"token=a&version=%ff%fe": "version",
	} {
		ann.call("GET", "/v1/messages?"+query, nil).refused(t, 400, wire.BadRequest, says)
	}
	many := make([]uint64, ackMost+1)
	ann.call("POST", "/v1/messages/ack", ackRequest{ann.token, nil}).refused(t, 400, wire.BadRequest, "1 to 256")
	ann.call("POST", "/v1/messages/ack", ackRequest{ann.token, many}).refused(t, 400, wire.BadRequest, "1 to 256")
	ann.call("POST", "/v1/messages/ack", `{"token":"x","seq":[-1]}`).refused(t, 400, wire.BadRequest, "seq")
	ann.call("POST", "/v1/messages/ack", `{"token":"x","seq":[18446744073709551616]}`).refused(t, 400, wire.BadRequest, "seq")
}

func TestK7PulledPayloadsAreSealedWhereTheAppAsks(t *testing.T) {
	a := startAPI(t, func(s *apiSetup) { s.auth.Apps = map[string]auth.AppPolicy{"bank": {Encrypt: true}} })
	ann := a.newTerminalOf("ann", "phone", "bank")
	a.published(publishRequest{Token: ann.token, Text: ptr("balance")})
	r := ann.call("GET", "/v1/messages?token="+ann.token, nil)
	var page pullReply
	r.ok(t, 200, &page)
	m := page.Messages[0]
	if m.Encryption != "hpke" || strings.Contains(r.body, "balance") {
		t.Errorf("message %+v, want it sealed", m)
	}
	if text, err := ann.key.Open(infoMessage, m.Data); err != nil || string(text) != "balance" {
		t.Errorf("Open(data) = %q, %v, want balance", text, err)
	}
}

func TestCursorKeepsABoundedNumber(t *testing.T) {
	a := startAPI(t)
	c := store.Cursor{}
	for seq := range uint64(cursorMost + 50) {
		c = acknowledge(c, 2*seq+2)
	}
	c = acknowledge(c, 2) // again
	c, err := newAcks(a.Server).compact(t.Context(), store.AppSubjects("mail", "*")[0], c)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Above) != cursorMost || c.Above[len(c.Above)-1] != 2*(cursorMost+50) {
		t.Errorf("cursor of %d up to %d, want the last %d", len(c.Above), c.Above[len(c.Above)-1], cursorMost)
	}
}
