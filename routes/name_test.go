package routes

import (
	"bytes"
	"errors"
	"net/netip"
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
		{"127.1", ErrNumber},
		{"1.2.3.4.5", ErrNumber},
		{"192.0.2.01", ErrNumber},
		{"192.0.2.256", ErrNumber},
		{"2130706433", ErrNumber},
		{"example.7", ErrNumber},
		{"0x7F.0X1", ErrNumber},
		{"a.0x", ErrNumber},
		{"::1", ErrIPLiteral},
		{"[2001:db8::1]", ErrIPLiteral},
		{"[2001:db8::1].", ErrIPLiteral},
		{"2001:db8::192.0.2.1", ErrIPLiteral},
		{"fe80::1%eth0", ErrIPLiteral},
		{"[fe80::1%25eth0.1]", ErrIPLiteral},
		{"fe80::1%", ErrBadCharacter},
		{"fe80::1%eth 0", ErrBadCharacter},
		{"[::1", ErrBadCharacter},
		{"[]", ErrBadCharacter},
		{"[192.0.2.1]", ErrBadCharacter},
		{"[::1]:443", ErrBadCharacter},
		{"192.0.2.1:443", ErrBadCharacter},
		{"1:2:3", ErrBadCharacter},
		{"1::2::3", ErrBadCharacter},
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
	for _, name := range []string{"Shop.Example.com.", "192.0.2.1", "::1", "a..b", "\xff", strings.Repeat("a.", 126) + "a"} {
		raw := []byte(name)
		if n := testing.AllocsPerRun(100, func() { normalizeWire(dst, raw) }); n != 0 {
			t.Errorf("normalizeWire(%q) allocates %v times, want 0", name, n)
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
		wire, wireErr := normalizeWire(nil, name)
		if isASCII(name) && (!bytes.Equal(wire, got) || wireErr != err) || !isASCII(name) && wireErr == nil {
			t.Fatalf("normalizeWire(%q) = %q, %v, want as Normalize, %q, %v, or an error outside ASCII", name, wire, wireErr, got, err)
		}
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

// lowered is the normal form of a name that needs nothing but lower case: labels of at most 63
// letters.
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

// FuzzLiteral holds that netip says which names are addresses, but for brackets, trailing dots and
// zones that no interface has.
func FuzzLiteral(f *testing.F) {
	for _, seed := range []string{
		"192.0.2.1", "192.0.2.01", "1.2.3", "1.2.3.4.5", "256.0.0.1", "", "::", "::1", "1::", ":::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::",
		"1:2:3:4:5:6:7:8::", "::2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "::ffff:192.0.2.1", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4",
		"::1.2.3.4:5", "1:", ":1", "12345::", "::g", "::\x10", "::1%eth0", "::1%", "%eth0", "1.2.3.4%eth0", "::ffff:1.2.3.4%eth0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		a, err := netip.ParseAddr(name)
		want := err == nil && strings.Trim(a.Zone(), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == ""
		for _, form := range []string{name, name + "."} {
			if name == "" || strings.HasSuffix(name, ".") {
				continue // an address and more than one dot
			}
			if _, err := normalizeWire(nil, []byte(form)); len(form) <= maxName && (err == ErrIPLiteral) != want && !strings.HasPrefix(name, "[") {
				t.Errorf("normalizeWire(%q) = %v, want an IP literal: %t", form, err, want)
			}
		}
		if _, err := normalizeWire(nil, []byte("["+name+"]")); len(name) < maxName-2 && (err == ErrIPLiteral) != (want && a.Is6()) {
			t.Errorf("normalizeWire(%q) = %v, want an IP literal: %t", "["+name+"]", err, want && a.Is6())
		}
	})
}

// IDNA makes dots, digits, colons and nothing at all out of other characters; the checks come after
// it.
func TestNormalizeIDNErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		want error
	}{
		{"１９２.０.２.１", ErrIPLiteral},
		{"ü.１", ErrNumber},
		{"０ｘ７ｆ", ErrNumber},
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
	_, err := New(Config{Routes: []Route{{SNI: []string{"bücher.example"}}, {SNI: []string{"XN--BCHER-KVA.example"}}}})
	if want := "pattern \"xn--bcher-kva.example\" is in route 0 and in route 1"; err == nil || err.Error() != want {
		t.Errorf("New = %v, want %s", err, want)
	}
	table, err := New(Config{Routes: []Route{{SNI: []string{"bücher.example"}}}, Default: &Route{Backend: -1}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Outcome{
		"xn--bcher-kva.example": Matched, "XN--Bcher-KVA.example.": Matched,
		"bücher.example": BadName, "BÜCHER.example.": BadName,
	} {
		if m := table.Lookup(Query{[]byte(name), nil, netip.Addr{}, NoListener, nil}); m.Outcome != want {
			t.Errorf("Lookup(%q) = %v, want %v", name, m.Outcome, want)
		}
	}
}

func TestParsePattern(t *testing.T) {
	for _, test := range []struct{ pattern, want string }{
		{"shop.example.com", "shop.example.com"},
		{"Shop.Example.com.", "shop.example.com"},
		{"*.Example.com", "*.example.com"},
		{"**.example.com.", "**.example.com"},
		{"*.com", "*.com"},
		{"*._tcp.example.com", "*._tcp.example.com"},
		{"**", "**"},
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
		{"*", errLoneStar, "or ** for every name"},
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
		{"*.2.1", ErrNumber, "write a host name"},
		{"::1", ErrIPLiteral, "write a host name"},
		{"shop.example.com:443", ErrBadCharacter, "leave out the port"},
		{"https://shop.example.com", ErrBadCharacter, "leave out the scheme and the path"},
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
