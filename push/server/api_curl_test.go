package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A curl is a command of the document, read as a shell and curl would.
type curl struct {
	verb, url string
	header    http.Header
	data      *string
	socket    bool // by --unix-socket
}

func (c *curl) method() string {
	switch {
	case c.verb != "":
		return c.verb
	case c.data != nil:
		return http.MethodPost
	}
	return http.MethodGet
}

// parseCurl reads a command. Those variables that are in headers are asked for
// last: a proof is of the method and the URL.
func parseCurl(t *testing.T, command string, variable func(string, *curl) string) *curl {
	t.Helper()
	words := shellWords(t, command)
	c := &curl{header: http.Header{}}
	expand := func(word string) string {
		return regexp.MustCompile("\x00[A-Z]+\x00").ReplaceAllStringFunc(word, func(name string) string {
			return variable(strings.Trim(name, "\x00"), c)
		})
	}
	if words[0] != "curl" {
		t.Fatalf("command %q, want curl", words[0])
	}
	for i := 1; i < len(words); i++ {
		value := func() string { i++; return words[i] }
		switch words[i] {
		case "-i":
		case "-X":
			c.verb = value()
		case "-H":
			name, text, ok := strings.Cut(value(), ": ")
			if !ok {
				t.Fatalf("header %q has no value", words[i])
			}
			c.header.Add(name, text)
		case "-d", "--data-binary":
			text := expand(value())
			c.data = &text
		case "--unix-socket":
			c.socket = value() == "DIR/pushd.sock"
		default:
			if strings.HasPrefix(words[i], "-") || c.url != "" {
				t.Fatalf("argument %q of curl is unknown here", words[i])
			}
			c.url = expand(words[i])
		}
	}
	for _, values := range c.header {
		for i := range values {
			values[i] = expand(values[i])
		}
	}
	return c
}

// shellWords splits a command as sh does: words, both kinds of quotes, line
// continuations. A variable in it becomes its name between zero bytes.
func shellWords(t *testing.T, command string) (words []string) {
	t.Helper()
	variable := regexp.MustCompile(`\$([A-Z]+)`)
	rest := strings.ReplaceAll(command, "\\\n", " ")
	for rest = strings.TrimLeft(rest, " \n"); rest != ""; rest = strings.TrimLeft(rest, " \n") {
		word := ""
		for rest != "" && !strings.HasPrefix(rest, " ") && !strings.HasPrefix(rest, "\n") {
			var part string
			switch quote := rest[:1]; quote {
			case "'", `"`:
				var closed bool
				if part, rest, closed = strings.Cut(rest[1:], quote); !closed {
					t.Fatalf("command %q has an open %s", command, quote)
				}
				if quote == `"` {
					part = variable.ReplaceAllString(part, "\x00$1\x00")
				}
			default:
				end := strings.IndexAny(rest, " \n'\"")
				if end < 0 {
					end = len(rest)
				}
				part, rest = variable.ReplaceAllString(rest[:end], "\x00$1\x00"), rest[end:]
			}
			word += part
		}
		words = append(words, word)
	}
	return words
}

// runCurl sends what curl would.
func (a *apiServer) runCurl(c *curl) apiReply {
	a.t.Helper()
	u, err := url.Parse(c.url)
	if err != nil {
		a.t.Fatal(err)
	}
	if !c.socket {
		var body any
		if c.data != nil {
			body = *c.data
		}
		if u.Scheme+"://"+u.Host != apiOrigin {
			a.t.Fatalf("example asks %s, want %s", c.url, apiOrigin)
		}
		return a.send(c.method(), u.RequestURI(), body, func(r *http.Request) { r.Header = c.header })
	}
	var body io.Reader
	if c.data != nil {
		body = strings.NewReader(*c.data)
	}
	r := httptest.NewRequestWithContext(a.t.Context(), c.method(), u.RequestURI(), body)
	r.Header = c.header
	w := httptest.NewRecorder()
	a.ControlHandler().ServeHTTP(w, r)
	return apiReply{c.method() + " " + c.url, w.Code, w.Header(), w.Body.String()}
}

// compareAnswer compares an answer with that of the document: its status, the
// headers that are shown, and the shape of its JSON.
func compareAnswer(t *testing.T, got apiReply, answer string) {
	t.Helper()
	head, body, _ := strings.Cut(answer, "\n\n")
	lines := strings.Split(head, "\n")
	if status := strings.Fields(lines[0]); status[1] != fmt.Sprint(got.status) {
		t.Fatalf("%s = %d %s, documented %s", got.what, got.status, got.body, lines[0])
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		is := got.header.Get(name)
		if name == "Location" { // the last part is an id
			is, value = is[:strings.LastIndexByte(is, '/')+1], value[:strings.LastIndexByte(value, '/')+1]
		}
		if is != value {
			t.Errorf("%s: %s is %q, documented %q", got.what, name, is, value)
		}
	}
	if body == "" {
		if got.body != "" {
			t.Errorf("%s = %q, documented without a body", got.what, got.body)
		}
		return
	}
	var is, documented any
	if err := json.Unmarshal([]byte(got.body), &is); err != nil {
		t.Fatalf("%s = %q: %v", got.what, got.body, err)
	}
	if err := json.Unmarshal([]byte(body), &documented); err != nil {
		t.Fatalf("documented answer of %s: %v", got.what, err)
	}
	compareShape(t, got.what, is, documented)
}

// told are the fields whose values the document tells, and not only their types.
var told = []string{"code", "message", "to", "topic", "urgency", "content_type", "data", "name", "user", "device", "app", "version", "state"}

func compareShape(t *testing.T, where string, got, want any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		for name, value := range want {
			v, there := got[name]
			if !there {
				t.Errorf("%s has no %q, documented it is there", where, name)
			} else if slices.Contains(told, name) && !reflect.DeepEqual(v, value) {
				t.Errorf("%s.%s = %v, documented %v", where, name, v, value)
			} else {
				compareShape(t, where+"."+name, v, value)
			}
		}
		for name := range got {
			if _, there := want[name]; !there {
				t.Errorf("%s has %q, which is not documented there", where, name)
			}
		}
	case []any:
		got, _ := got.([]any)
		if len(got) != len(want) {
			t.Fatalf("%s has %d entries, documented %d", where, len(got), len(want))
		}
		for i := range want {
			compareShape(t, fmt.Sprint(where, i), got[i], want[i])
		}
	default:
		if reflect.TypeOf(got) != reflect.TypeOf(want) {
			t.Errorf("%s = %v, documented %v", where, got, want)
		}
	}
}
