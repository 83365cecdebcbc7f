package routes

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNormalizeIDN(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.Example.", "xn--bcher-kva.example"},
		{"bu\u0308cher.example", "xn--bcher-kva.example"},
		{"faß.de", "xn--fa-hia.de"},
		{"例え。テスト", "xn--r8jz45g.xn--zckzah"},
		{"例え。テスト。", "xn--r8jz45g.xn--zckzah"},
		{"ｓｈｏｐ.example", "shop.example"},
		{"_tcp.bücher.example", "_tcp.xn--bcher-kva.example"},
		{"r3---a.bücher.example", "r3---a.xn--bcher-kva.example"},
		{"xn--bcher-kva.bücher.example", "xn--bcher-kva.xn--bcher-kva.example"},
	} {
		got, err := Normalize([]byte("before "), []byte(test.name))
		if err != nil || string(got) != "before "+test.want {
			t.Errorf("Normalize(%q) = %q, %v, want %q", test.name, got, err, "before "+test.want)
		}
	}
}

// IDNA makes dots, digits, colons and nothing at all out of other characters; the checks come after it.
func TestNormalizeIDNErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		want error
	}{
		{"１９２.０.２.１", ErrIPLiteral},
		{"ü.１", ErrIPLiteral},
		{"０ｘ７ｆ", ErrIPLiteral},
		{"a。。b", ErrEmptyLabel},
		{"ü..b", ErrEmptyLabel},
		{"a.\u00ad.b", ErrEmptyLabel},
		{"ü.example。.", ErrEmptyLabel},
		{"ü：443", ErrBadCharacter},
		{"ü b", ErrBadCharacter},
		{"*.ü", ErrBadCharacter},
		{"ü\xff", ErrBadCharacter},
		{"xn--a.ü", ErrBadIDN},
		{"a\u200db.example", ErrBadIDN},
		{"\u0301a.example", ErrBadIDN},
		{strings.Repeat("ü", 100), ErrLongLabel},
	} {
		got, err := Normalize([]byte("before"), []byte(test.name))
		if err != test.want || string(got) != "before" {
			t.Errorf("Normalize(%q) = %q, %v, want %q, %v", test.name, got, err, "before", test.want)
		}
	}
}

func TestIDNPatterns(t *testing.T) {
	for pattern, want := range map[string]string{
		"**.Bücher.example": "**.xn--bcher-kva.example",
		"*.例え。テスト":          "*.xn--r8jz45g.xn--zckzah",
	} {
		if got, err := ParsePattern(pattern); err != nil || got != want {
			t.Errorf("ParsePattern(%q) = %q, %v, want %q", pattern, got, err, want)
		}
	}
	_, err := New([]Route{{SNI: []string{"bücher.example"}}, {SNI: []string{"XN--BCHER-KVA.example"}}}, Default{})
	if want := "pattern \"xn--bcher-kva.example\" is in route 0 and in route 1"; err == nil || err.Error() != want {
		t.Errorf("New = %v, want %s", err, want)
	}
	table, err := New([]Route{{SNI: []string{"bücher.example"}}}, Default{Backend: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"xn--bcher-kva.example", "bücher.example", "BÜCHER.example."} {
		if m := table.Lookup([]byte(name), nil, netip.Addr{}); m.Outcome != Matched {
			t.Errorf("Lookup(%q) = %v, want %v", name, m.Outcome, Matched)
		}
	}
}
