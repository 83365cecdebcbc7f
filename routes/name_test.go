package routes

import (
	"bytes"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Repeat(label63+".", 3) + strings.Repeat("b", 61)
	for _, test := range []struct{ name, want string }{
		{"shop.example.com", "shop.example.com"},
		{"Shop.EXAMPLE.com", "shop.example.com"},
		{"shop.example.com.", "shop.example.com"},
		{"localhost", "localhost"},
		{"_dmarc.ex_ample.com", "_dmarc.ex_ample.com"},
		{"-a.b-.r3---sn.com", "-a.b-.r3---sn.com"},
		{"XN--Bcher-KVA.example", "xn--bcher-kva.example"},
		{"1.2.3.4.example", "1.2.3.4.example"},
		{"0x7f.example", "0x7f.example"},
		{"a.0xyz", "a.0xyz"},
		{"a.1e", "a.1e"},
		{label63 + ".example", label63 + ".example"},
		{name253, name253},
		{name253 + ".", name253},
	} {
		got, err := Normalize([]byte("before "), []byte(test.name))
		if err != nil || string(got) != "before "+test.want {
			t.Errorf("Normalize(%q) = %q, %v, want %q", test.name, got, err, "before "+test.want)
		}
	}
}

func TestNormalizeErrors(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	for _, test := range []struct {
		name string
		want error
	}{
		{"", ErrEmptyName},
		{".", ErrEmptyLabel},
		{"..", ErrEmptyLabel},
		{"a..b", ErrEmptyLabel},
		{".a", ErrEmptyLabel},
		{"a.b..", ErrEmptyLabel},
		{"192.0.2.1", ErrIPLiteral},
		{"192.0.2.1.", ErrIPLiteral},
		{"127.1", ErrIPLiteral},
		{"2130706433", ErrIPLiteral},
		{"example.7", ErrIPLiteral},
		{"0x7F.0X1", ErrIPLiteral},
		{"a.0x", ErrIPLiteral},
		{"::1", ErrIPLiteral},
		{"[2001:db8::1]", ErrIPLiteral},
		{"2001:db8::192.0.2.1", ErrIPLiteral},
		{label63 + "a.com", ErrLongLabel},
		{"com." + label63 + "a", ErrLongLabel},
		{strings.Repeat(label63+".", 3) + strings.Repeat("b", 62), ErrLongName},
		{strings.Repeat("a.", 1<<15), ErrLongName},
		{strings.Repeat("ü", 1<<10), ErrLongName},
		{"a b.com", ErrBadCharacter},
		{"shop.example.com:443", ErrBadCharacter},
		{"*.example.com", ErrBadCharacter},
		{"a\x00.com", ErrBadCharacter},
		{"a/b", ErrBadCharacter},
		{"\xff.com", ErrBadCharacter},
		{"a.\x80", ErrBadCharacter},
	} {
		got, err := Normalize([]byte("before"), []byte(test.name))
		if err != test.want || string(got) != "before" {
			t.Errorf("Normalize(%.80q) = %q, %v, want %q, %v", test.name, got, err, "before", test.want)
		}
	}
}

func TestNormalizeLeavesItsInput(t *testing.T) {
	name := []byte("Shop.Example.com.")
	if _, err := Normalize(nil, name); err != nil || string(name) != "Shop.Example.com." {
		t.Errorf("Normalize left %q, %v, want its input as it was", name, err)
	}
}

func TestNormalizeAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, maxName)
	for _, name := range []string{"Shop.Example.com.", "192.0.2.1", "::1", "a..b", strings.Repeat("a.", 126) + "a"} {
		raw := []byte(name)
		if n := testing.AllocsPerRun(100, func() { Normalize(dst, raw) }); n != 0 {
			t.Errorf("Normalize(%q) allocates %v times, want 0", name, n)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{
		"", ".", "a", "Shop.Example.com.", "a..b", "192.0.2.1", "0x7f.1", "::1", "_a-.b", "xn--bcher-kva.de",
		"Bücher.example", "faß.de", "例え。テスト", "１２７.０.０.１", "a\u00ad.b", "\u200d.com", "\xff", "a\u0301.com",
		"xn--a.ü", "XN--.ü", strings.Repeat("ü", 59), strings.Repeat("a.", 127),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, name []byte) {
		got, err := Normalize(nil, name)
		if want, plain := lowered(name); plain && (err != nil || string(got) != want) {
			t.Fatalf("Normalize(%q) = %q, %v, want %q", name, got, err, want)
		}
		if err != nil {
			if len(got) != 0 {
				t.Fatalf("Normalize(%q) = %q with error %v, want nothing", name, got, err)
			}
			return
		}
		if len(got) == 0 || len(got) > 253 || strings.Trim(string(got), "abcdefghijklmnopqrstuvwxyz0123456789_-.") != "" {
			t.Fatalf("Normalize(%q) = %q, want 1 to 253 of a-z 0-9 _ - .", name, got)
		}
		for label := range bytes.SplitSeq(got, dot) {
			if len(label) == 0 || len(label) > 63 {
				t.Fatalf("Normalize(%q) = %q, want labels of 1 to 63 bytes", name, got)
			}
		}
		again, err := Normalize(nil, got)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("Normalize(%q) = %q, %v, want what it was", got, again, err)
		}
	})
}

// lowered is the normal form of a name that needs nothing but lower case: labels of at most 63 letters.
func lowered(name []byte) (want string, plain bool) {
	for label := range bytes.SplitSeq(name, dot) {
		if len(label) == 0 || len(label) > 63 {
			return "", false
		}
		for _, c := range label {
			if c|0x20 < 'a' || c|0x20 > 'z' {
				return "", false
			}
		}
	}
	return strings.ToLower(string(name)), len(name) <= 253
}
