package sni

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// greeted are the first bytes that clients of each protocol send.
var greeted = map[string][]string{
	"http": {
		"GET / HTTP/1.1\r\n", "HEAD ", "POST /x HTTP/1.0\r\n", "PUT ", "DELETE ", "CONNECT a:443 HTTP/1.1\r\n", "OPTIONS * ",
		"TRACE ", "PATCH ", "PROPFIND / HTTP/1.1\r\n", "QUERY ", "MKCALENDAR ", "VERSION-CONTROL ",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	},
	"openvpn": {
		"\x00\x0e\x38" + "sessionid", "\x00\x2a\x38", "\x00\x36\x38", "\x00\xff\x50", "\x01\x5e\x50", // plain, tls-auth, tls-crypt, V3
	},
	"xmpp":  {"<?xml version='1.0'?><stream:stream", "<stream:stream to='a.example'"},
	"socks": {"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "\x04\x02", "\x05\x01\x00", "\x05\x02\x00\x02", "\x05\xff"},
	"stun": {
		"\x00\x01\x00\x00\x21\x12\xa4\x42 transaction", "\x00\x03\x00\x24\x21\x12\xa4\x42", "\x00\x11\x00\x08\x21\x12\xa4\x42",
	},
	"postgres": {
		"\x00\x00\x00\x08\x04\xd2\x16\x2f", "\x00\x00\x00\x08\x04\xd2\x16\x30",
		"\x00\x00\x00\x10\x04\xd2\x16\x2epid.key.", "\x00\x00\x01\x0c\x04\xd2\x16\x2e",
		"\x00\x00\x00\x29\x00\x03\x00\x00user\x00", "\x00\x00\x27\x10\x00\x03\x00\x02user\x00",
	},
}

// others are near to a protocol and are none, or one without a name.
var others = []string{
	"get / HTTP/1.1\r\n", "GETX / ", "GET\t/", "PRI * HTTP/1.1", "M-SEARCH * HTTP/1.1\r\n", "HELLO ",
	"\x00\x0d\x38\x00\x00", "\x00\x0e\x39\x00\x00", "\x00\x0e\x40\x00\x00", "\x38\x00\x0e\x38\x00", // too short, key id 1, a server's, UDP
	"<?php", "<stream:features", "<html>", " <?xml",
	"\x04\x03\x00\x50\x7f", "\x05\x00\x0b\x03\x10", "\x06\x01\x00\x00\x00", "\x03\x00\x00\x13\x0e", // RDP
	"\x00\x01\x00\x00\x21\x12\xa4\x43", "\x40\x00\x00\x04", "\x00\x01\x00\x00" + strings.Repeat("\x00", 16), // ChannelData; RFC 3489
	"\x00\x00\x00\x08\x04\xd2\x16\x31", "\x00\x00\x00\x29\x00\x02\x00\x00", "\x01\x00\x00\x08\x04\xd2\x16\x2f",
	"SSH-2.0-x", "PROXY TCP4 ", "\x80\x2e\x01\x00\x02", "x", "\xff",
}

// fitOf says which protocol takes b, and which ones may.
func fitOf(b []byte) (is string, may []string) {
	for _, name := range Greetings() {
		switch g, _ := GreetingOf(name); g.Fit(b) {
		case Fits:
			is = name
		case FitsSoFar:
			may = append(may, name)
		}
	}
	return is, may
}

func TestGreetings(t *testing.T) {
	if names := Greetings(); len(names) != len(greeted) {
		t.Errorf("Greetings() = %q, and the test has %d", names, len(greeted))
	}
	for name, all := range greeted {
		for _, s := range all {
			if is, _ := fitOf([]byte(s)); is != name {
				t.Errorf("%q is taken for %q, want %q", s, is, name)
			}
			if _, err := parse([]byte(s)); !errors.Is(err, ErrNotTLS) || err == ErrNotTLS {
				t.Errorf("Parse(%q) = %v, want the protocol's name", s, err)
			}
		}
	}
	for _, s := range others {
		if is, may := fitOf([]byte(s)); is != "" || len(may) > 0 {
			t.Errorf("%q is taken for %q, and may be %q, want neither", s, is, may)
		}
	}
	for _, name := range []string{"", "ssh", "HTTP"} {
		if _, ok := GreetingOf(name); ok {
			t.Errorf("GreetingOf(%q) is known, want not", name)
		}
	}
}

// The answer is there as soon as the bytes are that settle it, and stays.
func TestGreetingSettlesAtOnce(t *testing.T) {
	for s, at := range map[string]int{
		"GET / HTTP/1.1": 4, "\x05\x01\x00": 2, "\x04\x01\x00\x50": 2, "<?xml ": 5, "\x00\x0e\x38 ": 3,
		"\x00\x01\x00\x00\x21\x12\xa4\x42 ": 8, "\x00\x00\x00\x08\x04\xd2\x16\x2f": 8, "\x00\x00\x00\x29\x00\x03\x00\x00": 6,
	} {
		for n := range len(s) + 1 {
			is, may := fitOf([]byte(s[:n]))
			if settled := is != ""; settled != (n >= at) || !settled && len(may) == 0 {
				t.Errorf("%q after %d bytes is %q, may be %q; want it to settle after %d", s, n, is, may, at)
			}
		}
	}
}

func TestText(t *testing.T) {
	g := Text("SSH-")
	for s, want := range map[string]Fit{"": FitsSoFar, "S": FitsSoFar, "SSH": FitsSoFar, "SSH-": Fits, "SSH-2": Fits, "SSh": FitsNot, "x": FitsNot} {
		if got := g.Fit([]byte(s)); got != want {
			t.Errorf("Text(SSH-).Fit(%q) = %d, want %d", s, got, want)
		}
	}
	if got := (Greeting{}).Fit([]byte("x")); got != FitsNot {
		t.Errorf("zero Greeting fits: %d", got)
	}
}

func TestCovers(t *testing.T) {
	named := func(name string) Greeting { g, _ := GreetingOf(name); return g }
	for _, c := range []struct {
		name     string
		g, other Greeting
		want     bool
	}{
		{"itself", Text("SSH-"), Text("SSH-"), true},
		{"a longer text", Text("SSH-"), Text("SSH-2.0"), true},
		{"a shorter text", Text("SSH-2.0"), Text("SSH-"), false},
		{"a request", named("http"), Text("GET /admin"), true},
		{"the beginning of a request", named("http"), Text("GET"), false},
		{"one method does not cover all", Text("GET "), named("http"), false},
		{"a byte", Text("\x05"), named("socks"), false},
		{"a request of Postgres", named("postgres"), Text("\x00\x00\x00\x08\x04\xd2\x16\x2f"), true},
		{"a zero byte", Text("\x00"), named("postgres"), true},
		{"a zero byte and STUN, which begins with others too", Text("\x00"), named("stun"), false},
	} {
		if got := c.g.Covers(c.other); got != c.want {
			t.Errorf("%s: Covers = %t, want %t", c.name, got, c.want)
		}
	}
}

func TestBeginsTLS(t *testing.T) {
	for s, want := range map[string]bool{"\x16": true, "\x16\x03\x01": true, "\x14x": true, "\x18": true, "\x13": false, "\x19": false, "SSH-": false} {
		if got := Text(s).BeginsTLS(); got != want {
			t.Errorf("Text(%q).BeginsTLS() = %t, want %t", s, got, want)
		}
	}
	for _, name := range Greetings() {
		if g, _ := GreetingOf(name); g.BeginsTLS() {
			t.Errorf("%s begins with a TLS record", name)
		}
	}
}

// FuzzGreeting checks what holds for any bytes: once a Greeting has decided, more bytes change
// nothing; what covers another fits what the other does; and of the bytes that Parse takes for TLS
// every reader says the same.
func FuzzGreeting(f *testing.F) {
	for _, all := range greeted {
		for _, s := range all {
			f.Add([]byte(s), "\x00\x00")
		}
	}
	for _, s := range others {
		f.Add([]byte(s), s[:1])
	}
	f.Add([]byte("\x16\x03\x01\x02\x00"), "\x16")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		all := []Greeting{Text(text)}
		for _, name := range Greetings() {
			g, _ := GreetingOf(name)
			all = append(all, g)
		}
		for _, g := range all {
			checkMonotonous(t, g, b)
			for _, o := range all {
				if g.Covers(o) && o.Fit(b) == Fits && g.Fit(b) != Fits {
					t.Errorf("%v covers %v, and fits %q not", g, o, b)
				}
			}
		}
		_, err := parse(b)
		if tls := len(b) == 0 || isRecordType(b[0]); errors.Is(err, ErrNotTLS) == tls {
			t.Errorf("Parse(%q) = %v", b, err)
		}
	})
}

func checkMonotonous(t *testing.T, g Greeting, b []byte) {
	t.Helper()
	want := g.Fit(b)
	at := rand.IntN(len(b) + 1)
	for _, n := range []int{at, len(b)} {
		if got := g.Fit(slices.Clone(b[:n])); got != want && got != FitsSoFar {
			t.Errorf("%v.Fit(%q) = %d after %d bytes, want %d", g, b, got, n, want)
		}
	}
}
