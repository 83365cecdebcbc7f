package server

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// A section is one "### METHOD /path" of docs/push-api.md.
type section struct {
	name     string
	text     string
	tables   map[string][][]string // rows of cells, by the first cell of the header
	examples []example
}

// An example is a command and the answer that is written under it.
type example struct{ command, answer string }

func apiDoc(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "push-api.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var exampleBlock = regexp.MustCompile("(?s)```sh\n(curl .*?)\n```\n```http\n(.*?)\n```")

// docSections cuts the document at its headings.
func docSections(t *testing.T) []section {
	t.Helper()
	var all []section
	for _, text := range regexp.MustCompile(`(?m)^##+ `).Split(apiDoc(t), -1) {
		name, rest, _ := strings.Cut(text, "\n")
		s := section{name: name, text: rest, tables: docTables(rest)}
		for _, m := range exampleBlock.FindAllStringSubmatch(rest, -1) {
			s.examples = append(s.examples, example{m[1], m[2]})
		}
		all = append(all, s)
	}
	if len(all) < 20 {
		t.Fatalf("%d sections in docs/push-api.md, want one an endpoint", len(all))
	}
	return all
}

func docTables(text string) map[string][][]string {
	tables := map[string][][]string{}
	kind := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			kind = ""
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.Trim(cell, " `"))
		}
		switch {
		case kind == "":
			kind = cells[0]
			tables[kind] = nil
		case !strings.HasPrefix(cells[0], "--"):
			tables[kind] = append(tables[kind], cells)
		}
	}
	return tables
}

// names are the first cells of a table.
func (s section) names(kind string) []string {
	var all []string
	for _, row := range s.tables[kind] {
		all = append(all, row[0])
	}
	return all
}

var endpointName = regexp.MustCompile(`^(GET|POST|DELETE) /`)

func TestEveryRouteIsDocumented(t *testing.T) {
	a := startAPI(t)
	want := []string{"GET /", "GET /v1/terminal", "GET /healthz", "GET /readyz", "GET /metrics"}
	for _, r := range slices.Concat(a.routes(), a.controlRoutes()) {
		want = append(want, r.method+" "+r.path)
	}
	var got []string
	for _, s := range docSections(t) {
		if endpointName.MatchString(s.name) {
			got = append(got, s.name)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("docs/push-api.md has\n%q, want\n%q", got, want)
	}
}

// docTypes are the structs behind the tables.
var docTypes = map[string]map[string]any{
	"POST /v1/login":        {"request": loginRequest{}, "reply": loginReply{}},
	"DELETE /v1/session":    {},
	"POST /v1/tokens":       {"request": tokenRequest{}, "reply": tokenReply{}},
	"GET /v1/messages":      {"reply": pullReply{}, "message": wire.Message{}},
	"POST /v1/messages/ack": {"request": ackRequest{}},
	"POST /v1/messages":     {"request": publishRequest{}, "reply": publishReply{}},
	"POST /users":           {"request": userRequest{}, "reply": userReply{}},
	"POST /keys":            {"request": keyRequest{}, "reply": keyReply{}},
	"GET /terminals":        {"reply": terminalsReply{}, "terminal": terminalInfo{}},
}

func TestEveryFieldIsDocumented(t *testing.T) {
	found := 0
	for _, s := range docSections(t) {
		if !endpointName.MatchString(s.name) {
			continue
		}
		types := docTypes[s.name]
		for _, kind := range []string{"request", "reply", "message", "terminal"} {
			var want []string
			if types[kind] != nil {
				want = fieldNames(reflect.TypeOf(types[kind]))
				found++
			}
			if got := s.names(kind); !slices.Equal(got, want) {
				t.Errorf("%s: documented fields of the %s are %q, want %q", s.name, kind, got, want)
			}
		}
	}
	for _, types := range docTypes {
		found -= len(types)
	}
	if found != 0 {
		t.Errorf("%d tables too few in docs/push-api.md", -found)
	}
}

func TestEveryParameterIsDocumented(t *testing.T) {
	_, err := parsePull("what=x")
	_, known, _ := strings.Cut(fmt.Sprint(err), "there are ")
	for _, s := range docSections(t) {
		if s.name == "GET /v1/messages" {
			if got := strings.Join(s.names("parameter"), ", "); got != known {
				t.Errorf("documented parameters are %q, want %q", got, known)
			}
			return
		}
	}
	t.Error("GET /v1/messages is not in docs/push-api.md")
}

func TestEveryCodeIsDocumented(t *testing.T) {
	documented := map[wire.Code]refusal{}
	for _, s := range docSections(t) {
		for _, row := range s.tables["code"] {
			status, err := strconv.Atoi(row[1])
			retry, _ := strconv.Atoi(row[2]) // "" is 0
			if err != nil {
				t.Errorf("%s: status %q", row[0], row[1])
			}
			documented[wire.Code(row[0])] = refusal{status, time.Duration(retry) * time.Second}
		}
	}
	if !maps.Equal(documented, refusals) {
		t.Errorf("documented codes are\n%v, want\n%v", documented, refusals)
	}
}

// A list of errors names codes that there are, and each code is one of
// somebody's.
func TestErrorListsNameCodes(t *testing.T) {
	listed := map[wire.Code]bool{wire.NotFound: true, wire.MethodNotAllowed: true, wire.Internal: true, wire.StoreUnavailable: true, wire.BadRequest: true}
	list := regexp.MustCompile(`(?s)(?:Errors: |\*proof\* there is short for )(.*?)\.\s`)
	for _, m := range list.FindAllStringSubmatch(apiDoc(t), -1) {
		for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[1], -1) {
			if listed[wire.Code(code[1])] = true; refusals[wire.Code(code[1])].status == 0 {
				t.Errorf("%q is listed as an error, and is none of the API's", code[1])
			}
		}
	}
	for code := range refusals {
		if !listed[code] {
			t.Errorf("%s is in no list of errors, want it where it can happen", code)
		}
	}
}

// The private half of the client key that the login example shows.
const docKey = "6RBLDFiMxNXPh1bg-b1uc9bOc_Nl9lK3dCZ-UMYNF4vlmDcDoOMIHiyjOAg5qkWAHLW6XzUP9Elj9pAPYxsrWg"

func TestEveryExampleIsAnsweredAsItSays(t *testing.T) {
	examples := 0
	for _, s := range docSections(t) {
		for i, e := range s.examples {
			examples++
			t.Run(strings.ReplaceAll(fmt.Sprint(s.name, " ", i+1), "/", "_"), func(t *testing.T) { runExample(t, s, e) })
		}
		if (docTypes[s.name] != nil || s.name == "POST /push/{token}") && len(s.examples) == 0 {
			t.Errorf("%s has no example, want one", s.name)
		}
	}
	if blocks := strings.Count(apiDoc(t), "```sh\ncurl"); blocks != examples {
		t.Errorf("%d commands in docs/push-api.md, and %d with an answer", blocks, examples)
	}
}

// runExample runs one command of the document against a new server.
func runExample(t *testing.T, s section, e example) {
	a := startAPI(t)
	who := a.docTerminal()
	a.prepare(who, s.name, e)
	c := parseCurl(t, e.command, func(name string, c *curl) string {
		switch name {
		case "SESSION":
			return who.session
		case "TOKEN":
			return who.token
		case "KEY":
			return a.key
		case "BODY":
			return "encrypted"
		case "VAPID":
			return newSender(t).vapid(apiOrigin, a.clock.Now().Add(time.Hour))
		case "PROOF":
			proof, err := who.key.DPoP(c.method(), c.url, a.clock.Now(), who.session)
			if err != nil {
				t.Fatal(err)
			}
			return proof
		}
		t.Fatalf("the example uses $%s, and nothing says what that is", name)
		return ""
	})
	compareAnswer(t, a.runCurl(c), e.answer)
}

// docTerminal is ann's phone, with the client key of the document.
func (a *apiServer) docTerminal() *apiTerminal {
	a.t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(docKey)
	if err != nil {
		a.t.Fatal(err)
	}
	key, err := keys.ParsePrivate(raw)
	if err != nil {
		a.t.Fatal(err)
	}
	who := &apiTerminal{apiServer: a, key: key, user: "ann", device: "phone-1", app: "mail"}
	var login loginReply
	a.send("POST", "/v1/login", loginRequest{"ann", "correct horse", "phone-1", "mail", key.Public().String()}).ok(a.t, 200, &login)
	who.session = login.Session
	var token tokenReply
	who.call("POST", "/v1/tokens", tokenRequest{Device: "phone-1", App: "mail", Account: "ann"}).ok(a.t, 200, &token)
	who.token = token.Token
	return who
}

// prepare makes what an example takes for granted.
func (a *apiServer) prepare(who *apiTerminal, name string, e example) {
	a.t.Helper()
	switch {
	case name == "GET /v1/messages", strings.Contains(e.answer, "id_conflict"):
		a.published(publishRequest{Token: who.token, Text: ptr("your order is on its way"), TTL: ptr(int64(3600)),
			Topic: "order-17", Urgency: "high", ID: "order-17"})
	case name == "POST /users/{name}/disable":
		a.control("POST", "/users", userRequest{"bob", "correct horse"}).ok(a.t, 201, nil)
	case name == "DELETE /keys/{name}":
		a.control("POST", "/keys", keyRequest{"news", nil}).ok(a.t, 201, nil)
	case name == "GET /terminals":
		a.attach("ann", "phone-1", "mail")
	}
}

// Numbers in the text are those of the program.
func TestLimitsAreDocumented(t *testing.T) {
	text := strings.Join(strings.Fields(apiDoc(t)), " ")
	a := startAPI(t)
	for _, says := range []string{
		fmt.Sprintf("A body has at most %s bytes", thousands(bodyLimit)),
		fmt.Sprintf("has %d s to send its body and is answered within %d s", readTimeout/time.Second, answerTimeout/time.Second),
		fmt.Sprintf("have 1 to %d bytes of printable UTF-8", maxName),
		fmt.Sprintf("within %d s of the server's time", proofSkew/time.Second),
		fmt.Sprintf("the proofs of %s requests of a session within two minutes", thousands(proofsPerSession)),
		fmt.Sprintf("1 to %d messages; absent: %d. A page also ends after %d MiB of payload, or %s messages looked at",
			pullMost, pullDefault, pullBytes>>20, thousands(pullConsider)),
		fmt.Sprintf("required; 1 to %d |", ackMost),
		fmt.Sprintf("1 to %d bytes, compared byte by byte", maxVersion),
		fmt.Sprintf("(%s) decoded", thousands(a.config.Limits.PayloadBytes)),
		fmt.Sprintf("counts as %d", leastTTL/time.Second),
		fmt.Sprintf("`store.retention` (%d days)", a.store.Retention()/(24*time.Hour)),
		fmt.Sprintf("at most %d letters, digits, `-` and `_` |", maxTopic),
		fmt.Sprintf("at most %d letters, digits, `-`, `_` and `.`", maxID),
		fmt.Sprintf("a media type of at most %d bytes", maxContentType),
	} {
		if !strings.Contains(text, says) {
			t.Errorf("docs/push-api.md does not say %q", says)
		}
	}
}

// thousands writes 16384 as 16,384.
func thousands(n int) string {
	s := strconv.Itoa(n)
	if len(s) > 3 {
		return s[:len(s)-3] + "," + s[len(s)-3:]
	}
	return s
}
