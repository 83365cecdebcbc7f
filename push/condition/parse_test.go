package condition

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// canonical has what String returns for what Parse reads.
var canonical = []struct{ text, want string }{
	{"", ""},
	{" \t ", ""},
	{"network", "network"},
	{"!network", "!network"},
	{" ! network ", "!network"},
	{"network=wifi", "network=wifi"},
	{"\tnetwork  !=\t wifi ,battery >= 20 ", "network!=wifi,battery>=20"},
	{"a<1,a<=1,a>1,a>=1", "a<1,a<=1,a>1,a>=1"},
	{`a="wifi"`, "a=wifi"},
	{`a=""`, `a=""`},
	{`a="b c"`, `a="b c"`},
	{`a="b,c"`, `a="b,c"`},
	{`a="\"\\"`, `a="\"\\"`},
	{`a="<!>="`, `a="<!>="`},
	{`a=é`, `a=é`},
	{"a=\uFFFD", "a=\uFFFD"},
	{`a=b/c:d@e;f'g(h)`, `a=b/c:d@e;f'g(h)`},
	{`a>"2.1"`, "a>2.1"},
	{`a=1,a=2`, "a=1,a=2"},
	{strings.Repeat("a,", maxTerms-1) + "a", strings.Repeat("a,", maxTerms-1) + "a"},
	{strings.Repeat("k", maxKey), strings.Repeat("k", maxKey)},
	{"a=" + strings.Repeat("v", maxValue), "a=" + strings.Repeat("v", maxValue)},
	{`a="` + strings.Repeat(`\\`, maxValue) + `"`, `a="` + strings.Repeat(`\\`, maxValue) + `"`},
	{strings.Repeat(" ", maxBytes-1) + "a", "a"},
}

func TestStringIsWhatParseReads(t *testing.T) {
	for _, c := range canonical {
		parsed := mustParse(t, c.text)
		if got := parsed.String(); got != c.want {
			t.Errorf("Parse(%q).String() = %q, want %q", c.text, got, c.want)
		}
		if again := mustParse(t, c.want); !reflect.DeepEqual(again, parsed) {
			t.Errorf("Parse(%q) = %+v, want %+v as Parse(%q)", c.want, again, parsed, c.text)
		}
	}
}

// refused has texts with the start of their error.
var refused = []struct{ text, want string }{
	{"Network=wifi", `column 1: "N" instead of a key; write a key of a to z`},
	{"netWork=wifi", `column 4: 'W' in a key; write keys in lower case`},
	{"1a", `column 1: "1" instead of a key`},
	{"=wifi", `column 1: "=" instead of a key`},
	{"é=1", `column 1: "é" instead of a key`},
	{"!", "column 2: the end instead of a key"},
	{"!!a", `column 2: "!" instead of a key`},
	{",a", `column 1: "," instead of a key`},
	{"a,", "column 3: the end instead of a key"},
	{"a,,b", `column 3: "," instead of a key`},
	{"network=", `column 9: the end instead of a value after "="; write a value, in quotes if it is empty`},
	{"network=,a", `column 9: "," instead of a value after "="`},
	{"network==wifi", `column 9: "=" instead of a value after "="`},
	{"battery=>20", `column 9: ">" instead of a value after "="`},
	{`network=\`, `column 9: "\\" instead of a value`},
	{"a=b=c", `column 4: "=" after a term; write a comma between two terms, or quotes around the value`},
	{"a=b c", `column 5: "c" after a term; write a comma between two terms, or quotes around the value`},
	{`a="b"c`, `column 6: "c" after a term`},
	{"a b", `column 3: "b" after a term; write a comma between two terms`},
	{"!a=b", `column 3: "=" after a term; write a comma between two terms, and "!" only before a key alone`},
	{"a&b", `column 2: "&" after a term`},
	{`a="b`, "column 3: a quote that is not closed; end the value with another"},
	{`a="`, "column 3: a quote that is not closed"},
	{`a="b\"`, "column 3: a quote that is not closed"},
	{`a="é\n"`, `column 6: "n" after a backslash; write \\ for a backslash and \" for a quote`},
	{`a="\`, "column 5: the end after a backslash"},
	{"network>=wifi", `column 10: >= wants a whole number or a version, as 80 or 2.1; compare "wifi" with = or !=`},
	{"a<1.5e3", `column 3: < wants a whole number or a version`},
	{"a=b\n", "column 4: a control character, or not UTF-8; leave it out"},
	{"a=é\x00", "column 4: a control character"},
	{"a=\x7f", "column 3: a control character"},
	{"a=b\xff", "column 4: a control character, or not UTF-8"},
	{strings.Repeat("a,", maxTerms) + "a", "column 33: more than 16 terms; send fewer"},
	{strings.Repeat("k", maxKey+1) + "=1", "column 1: a key of 65 bytes; 64 are the most"},
	{"a,b=" + strings.Repeat("v", maxValue+1), "column 5: a value of 129 bytes; 128 are the most"},
	{`a="` + strings.Repeat("é", maxValue/2) + `1"`, "column 3: a value of 129 bytes"},
	{strings.Repeat(" ", maxBytes) + "a", "column 513: more than 512 bytes; send fewer or shorter terms"},
}

func TestP5AMistypedConditionIsRefusedAtItsColumn(t *testing.T) {
	for _, c := range refused {
		got, err := Parse(c.text)
		if err == nil || !strings.HasPrefix(err.Error(), "condition, "+c.want) {
			t.Errorf("Parse(%q) = %v, want an error that begins %q", c.text, err, "condition, "+c.want)
		}
		if !got.IsZero() {
			t.Errorf("Parse(%q) = %q beside its error, want the zero Condition", c.text, got)
		}
	}
}

// FuzzParse checks what holds for any text: what is read prints, no longer than before, as a text that reads the same;
// what is not is refused at a column it has.
func FuzzParse(f *testing.F) {
	if len(canonical) < 20 || len(refused) < 30 {
		f.Fatalf("%d and %d seeds, want 20 and 30 at least", len(canonical), len(refused))
	}
	for _, c := range canonical {
		f.Add(c.text, "1", "network")
	}
	for _, c := range refused {
		f.Add(c.text, "2.1-rc.1", "a")
	}
	f.Fuzz(func(t *testing.T, text, value, key string) {
		c, err := Parse(text)
		if err != nil {
			if !utf8.ValidString(err.Error()) || !strings.HasPrefix(err.Error(), "condition, column ") {
				t.Errorf("Parse(%q) = %q, want valid UTF-8 that names a column", text, err)
			}
			return
		}
		again, err := Parse(c.String())
		if err != nil || !reflect.DeepEqual(again, c) || len(c.String()) > len(text) {
			t.Errorf("Parse(%q) = %+v, %v, want %+v as of %q, and no longer text", c, again, err, c, text)
		}
		state := map[string]string{key: value}
		if got, want := again.Match(state), c.Match(state); got != want {
			t.Errorf("Parse(%q).Match(%v) = %v, want %v", c, state, got, want)
		}
	})
}

// FuzzCompare checks that the order is one: turned around it is the reverse, and a text is equal to itself.
func FuzzCompare(f *testing.F) {
	for _, list := range ascending {
		for i, a := range list {
			f.Add(a, list[len(list)-1-i], list[0])
		}
	}
	f.Add("1-0", "1.0-00", "-0")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		ab, ok := compare(a, b)
		if ba, okReversed := compare(b, a); ok != okReversed || ab != -ba {
			t.Errorf("compare(%q, %q) = %d, %v, and the other way round %d, %v", a, b, ab, ok, ba, okReversed)
		}
		if aa, ok := compare(a, a); ok != orderable(a) || aa != 0 {
			t.Errorf("compare(%q, itself) = %d, %v, want 0, %v", a, aa, ok, orderable(a))
		}
		bc, okBC := compare(b, c)
		ac, okAC := compare(a, c)
		if ok && okBC && okAC && ab <= 0 && bc <= 0 && ac > 0 {
			t.Errorf("%q is up to %q, and that up to %q, but compare(%q, %q) = %d", a, b, c, a, c, ac)
		}
	})
}
