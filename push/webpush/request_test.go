package webpush

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// headers reads "Name: value" lines.
func headers(lines ...string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		h.Add(name, value)
	}
	return h
}

func TestTheHeadersOfAPushAreRead(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  Push
	}{
		{[]string{"TTL: 0"}, Push{Urgency: "normal"}},
		{[]string{"TTL: 60"}, Push{TTL: time.Minute, Urgency: "normal"}},
		{[]string{"TTL:  007 "}, Push{TTL: 7 * time.Second, Urgency: "normal"}},
		{[]string{"TTL: 2147483647"}, Push{TTL: maxTTL * time.Second, Urgency: "normal"}},
		{[]string{"TTL: 2147483648"}, Push{TTL: maxTTL * time.Second, Urgency: "normal"}},
		{[]string{"TTL: " + strings.Repeat("9", 100)}, Push{TTL: maxTTL * time.Second, Urgency: "normal"}},
		{
			[]string{"TTL: 15", "Topic: upd_-Az09", "Urgency: very-low", "Content-Encoding: aes128gcm", "Prefer: respond-async"},
			Push{TTL: 15 * time.Second, Topic: "upd_-Az09", Urgency: "very-low", ContentEncoding: Aes128gcm, Async: true},
		},
		{
			[]string{"TTL: 1", "Topic: " + strings.Repeat("t", 32), "Urgency: High", "Content-Encoding: AES128GCM"},
			Push{TTL: time.Second, Topic: strings.Repeat("t", 32), Urgency: "high", ContentEncoding: Aes128gcm},
		},
		{[]string{"TTL: 1", "Prefer: wait=10, Respond-Async;foo", "Urgency: low"}, Push{TTL: time.Second, Urgency: "low", Async: true}},
		{[]string{"TTL: 1", "Prefer: wait=10", "Prefer: respond-async"}, Push{TTL: time.Second, Urgency: "normal", Async: true}},
		{[]string{"TTL: 1", "Prefer: respond-asynchronously, wait=5"}, Push{TTL: time.Second, Urgency: "normal"}},
	} {
		got, err := ParseRequest(headers(c.lines...))
		if err != nil || got != c.want {
			t.Errorf("ParseRequest(%q) = %+v, %v, want %+v", c.lines, got, err, c.want)
		}
	}
}

func TestAWrongHeaderIsRefusedByItsName(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  string
		isTTL bool
	}{
		{nil, `header TTL is missing; send the seconds to keep the message, as "TTL: 60" (RFC 8030 section 5.2)`, true},
		{[]string{"TTL: "}, `header TTL is ""; send whole seconds`, true},
		{[]string{"TTL: -1"}, `header TTL is "-1"; send whole seconds`, true},
		{[]string{"TTL: +1"}, `header TTL is "+1"`, true},
		{[]string{"TTL: 1.5"}, `header TTL is "1.5"`, true},
		{[]string{"TTL: 1, 2"}, `header TTL is "1, 2"`, true},
		{[]string{"TTL: ١"}, `header TTL is "١"`, true},
		{[]string{"TTL: 1", "TTL: 1"}, "header TTL is there more than once; send it once", true},
		{[]string{"TTL: 1", "Topic: "}, `header Topic is ""; send 1 to 32 letters`, false},
		{[]string{"TTL: 1", "Topic: a b"}, `header Topic is "a b"`, false},
		{[]string{"TTL: 1", "Topic: a="}, `header Topic is "a="`, false},
		{[]string{"TTL: 1", "Topic: é"}, `header Topic is "é"`, false},
		{[]string{"TTL: 1", "Topic: " + strings.Repeat("t", 33)}, `header Topic is "ttt`, false},
		{[]string{"TTL: 1", "Topic: a", "Topic: a"}, "header Topic is there 2 times; send it once", false},
		{[]string{"TTL: 1", "Urgency: "}, `header Urgency is ""; send very-low, low, normal or high`, false},
		{[]string{"TTL: 1", "Urgency: urgent"}, `header Urgency is "urgent"`, false},
		{[]string{"TTL: 1", "Urgency: low, high"}, `header Urgency is "low, high"`, false},
		{[]string{"TTL: 1", "Urgency: low", "Urgency: low"}, "header Urgency is there 2 times", false},
		{[]string{"TTL: 1", "Content-Encoding: aesgcm"}, `header Content-Encoding is "aesgcm"; encrypt the message as aes128gcm (RFC 8291)`, false},
		{[]string{"TTL: 1", "Content-Encoding: aes128gcm, gzip"}, `header Content-Encoding is "aes128gcm, gzip"`, false},
		{[]string{"TTL: 1", "Content-Encoding: aes128gcm", "Content-Encoding: gzip"}, "header Content-Encoding is there 2 times", false},
	} {
		got, err := ParseRequest(headers(c.lines...))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || errors.Is(err, ErrTTL) != c.isTTL {
			t.Errorf("ParseRequest(%q) = %v, want an error that begins %q; of ErrTTL: %v", c.lines, err, c.want, c.isTTL)
		}
		if got != (Push{}) {
			t.Errorf("ParseRequest(%q) = %+v beside its error, want none", c.lines, got)
		}
	}
}

func ExampleParseRequest() {
	push, err := ParseRequest(http.Header{"Ttl": {"30"}, "Topic": {"weather"}, "Content-Encoding": {"aes128gcm"}})
	fmt.Println(push.TTL, push.Topic, push.Urgency, err)
	// Output: 30s weather normal <nil>
}
