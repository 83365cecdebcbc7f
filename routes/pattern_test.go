package routes

import (
	"errors"
	"strings"
	"testing"
)

func TestParsePattern(t *testing.T) {
	for _, test := range []struct{ pattern, want string }{
		{"shop.example.com", "shop.example.com"},
		{"Shop.Example.com.", "shop.example.com"},
		{"*.Example.com", "*.example.com"},
		{"**.example.com.", "**.example.com"},
		{"*.com", "*.com"},
		{"*._tcp.example.com", "*._tcp.example.com"},
	} {
		got, err := ParsePattern(test.pattern)
		if err != nil || got != test.want {
			t.Errorf("ParsePattern(%q) = %q, %v, want %q", test.pattern, got, err, test.want)
		}
		if again, err := ParsePattern(got); err != nil || again != got {
			t.Errorf("ParsePattern(%q) = %q, %v, want it unchanged", got, again, err)
		}
	}
}

func TestParsePatternErrors(t *testing.T) {
	for _, test := range []struct {
		pattern string
		cause   error
		says    string
	}{
		{"", ErrEmptyName, "write it as in shop.example.com"},
		{"*", errLoneStar, "give default a backend"},
		{"**", errLoneStar, "give default a backend"},
		{"*.", errLoneStar, "write *.example.com"},
		{"**.", errLoneStar, "write *.example.com"},
		{"*.*", errLoneStar, "write *.example.com"},
		{"***.example.com", errInnerStar, "**.example.com for any number"},
		{"*.*.example.com", errInnerStar, "**.example.com for any number"},
		{"shop.*.com", errInnerStar, "*.example.com for one label"},
		{"shop*.example.com", errInnerStar, "or the names themselves"},
		{"*example.com", errInnerStar, "*.example.com for one label"},
		{".example.com", ErrEmptyLabel, "write *.example.com for one label before it, **.example.com for any number"},
		{"192.0.2.1", ErrIPLiteral, "write a host name"},
		{"*.2.1", ErrIPLiteral, "write a host name"},
		{"::1", ErrIPLiteral, "write a host name"},
		{"shop.example.com:443", ErrBadCharacter, "without the port"},
		{"https://shop.example.com", ErrBadCharacter, "without scheme and path"},
		{"shop example", ErrBadCharacter, "letters, digits, - and _"},
		{"a..b", ErrEmptyLabel, "write it as in shop.example.com"},
		{strings.Repeat("a", 64), ErrLongLabel, "longer than 63 bytes"},
		{"*." + strings.Repeat("a.", 125) + "ab", ErrLongName, "once there is a label before it"},
		{"**." + strings.Repeat("a.", 126) + "a", ErrLongName, "once there is a label before it"},
	} {
		got, err := ParsePattern(test.pattern)
		if got != "" || !errors.Is(err, test.cause) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("ParsePattern(%q) = %q, %v, want %v, saying %q", test.pattern, got, err, test.cause, test.says)
		}
		if err != nil && !strings.HasPrefix(err.Error(), `pattern "`+test.pattern+`"`) {
			t.Errorf("ParsePattern(%q): %v, want the pattern first", test.pattern, err)
		}
	}
}

func TestReject(t *testing.T) {
	want := RejectAlert
	for _, word := range RejectWords() {
		if got, err := ParseReject(word); err != nil || got != want || got.String() != word {
			t.Errorf("ParseReject(%q) = %v, %v, want %v", word, got, err, want)
		}
		want++
	}
	if want != RejectSilence+1 {
		t.Errorf("RejectWords() = %q, want a word up to %v", RejectWords(), RejectSilence)
	}
	for _, s := range []string{"", "inherit", "Alert", "drop"} {
		if got, err := ParseReject(s); err == nil || !strings.Contains(err.Error(), "alert, close, reset or silence") {
			t.Errorf("ParseReject(%q) = %v, %v, want an error that lists the words", s, got, err)
		}
	}
	if got, want := Reject(9).String(), "Reject(9)"; got != want {
		t.Errorf("Reject(9).String() = %q, want %q", got, want)
	}
}
