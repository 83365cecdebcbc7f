package proxyproto

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range good {
		for _, behind := range []string{"", "\x16\x03\x01", "PROXY UNKNOWN\r\n"} {
			h, n, err := Parse([]byte(c.bytes + behind))
			if len(h.TLVs) == 0 {
				h.TLVs = nil
			}
			if err != nil || n != len(c.bytes) || !reflect.DeepEqual(h, c.want) {
				t.Errorf("%s before %q: Parse = %+v, %d, %v, want %+v, %d", c.name, behind, h, n, err, c.want, len(c.bytes))
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range bad {
		h, n, err := Parse([]byte(c.bytes))
		if err != c.want || n != 0 || !reflect.DeepEqual(h, Header{}) {
			t.Errorf("%s: Parse = %+v, %d, %v, want %v", c.name, h, n, err, c.want)
		}
		var m Malformed
		if errors.As(err, &m) && !strings.Contains(err.Error(), "(section 2.") {
			t.Errorf("%s: %q does not name its section", c.name, err)
		}
	}
}

// The error comes with the first byte that proves it, but for the fields of a line, which has to be
// whole.
func TestRefusedEarly(t *testing.T) {
	for s, want := range map[string]error{
		"x":                              ErrNoHeader,
		"PX":                             ErrNoHeader,
		"\r\nx":                          ErrNoHeader,
		signature2 + "\x11":              badVersion,
		signature2 + "\x22":              badCommand,
		signature2 + "\x21\x41":          badFamily,
		signature2 + "\x21\x12":          datagrams,
		signature2 + "\x21\x11\x0f\xf1":  tooLarge,
		signature2 + "\x21\x11\x00\x0b":  shortBlock,
		"":                               ErrNeedMore,
		"P":                              ErrNeedMore,
		"PROXY":                          ErrNeedMore,
		"PROXY x":                        ErrNeedMore,
		"\r":                             ErrNeedMore,
		signature2:                       ErrNeedMore,
		signature2 + "\x21":              ErrNeedMore,
		signature2 + "\x20\xff\x0f\xf0x": ErrNeedMore,
	} {
		if _, _, err := Parse([]byte(s)); err != want {
			t.Errorf("Parse(%q) = %v, want %v", s, err, want)
		}
	}
}

// Every bit of a header with a CRC32c counts.
func TestCRCCoversTheHeader(t *testing.T) {
	for _, header := range []string{
		withCRC(v2(0x21, 0x11, block4, tlv(0xea, amazonVPC))),
		withCRC(v2(0x21, 0x21, block6, tlv(TypeAuthority, "a.example"))),
	} {
		if _, _, err := Parse([]byte(header)); err != nil {
			t.Fatalf("Parse(%q) = %v", header, err)
		}
		for i := range len(header) * 8 {
			b := []byte(header)
			b[i/8] ^= 1 << (i % 8)
			h, _, err := Parse(b)
			changesType := i/8 == len(header)-7 // of the CRC32c's own TLV, which is another then
			toLocal := i == 12*8
			if err == nil && !changesType && !(toLocal && h.Local) {
				t.Errorf("bit %d of byte %d changed: Parse = %+v, want an error", i%8, i/8, h)
			}
		}
	}
}

// The CRC32c may stand anywhere among the TLVs.
func TestCRCBeforeOtherTLVs(t *testing.T) {
	b := []byte(v2(0x21, 0x11, block4, tlv(TypeCRC32c, "\x00\x00\x00\x00"), tlv(0xea, "x")))
	at := fixed + 12 + 3
	sum := checksum(b, at)
	b[at], b[at+1], b[at+2], b[at+3] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
	if _, _, err := Parse(b); err != nil {
		t.Errorf("Parse = %v", err)
	}
}

func TestMayBegin(t *testing.T) {
	for s, want := range map[string][2]bool{
		"":                   {true, false},
		"PRO":                {true, false},
		"PROXY":              {true, false},
		"PROXY ":             {true, true},
		"PROXY nonsense":     {true, true},
		"PROXX":              {false, false},
		"\r\n\r\n":           {true, false},
		signature2:           {true, true},
		signature2 + "\xff":  {true, true},
		"\x16\x03\x01":       {false, false},
		"\r\n\r\n\x00\r\nQ/": {false, false},
	} {
		if may, does := MayBegin([]byte(s)), Begins([]byte(s)); may != want[0] || does != want[1] {
			t.Errorf("%q: MayBegin = %t, Begins = %t, want %t", s, may, does, want)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	for _, s := range all() {
		b := []byte(s)
		if n := testing.AllocsPerRun(10, func() {
			h, _, _ := Parse(b)
			for range h.TLVs.All() {
			}
		}); n != 0 {
			t.Errorf("Parse(%.40q) allocates %v times, want none", s, n)
		}
	}
}

// FuzzParse checks what holds for any bytes: every prefix needs more until the decision, which is
// that on the whole, and the addresses are those that net/netip reads.
func FuzzParse(f *testing.F) {
	for _, s := range all() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, n, wantErr := Parse(b)
		for at := range len(b) + 1 {
			h, m, err := Parse(b[:at])
			if err == ErrNeedMore && at < max(n, 1) || err == ErrNeedMore && wantErr != nil && at < len(b) {
				continue
			}
			if m != n || err != wantErr || !reflect.DeepEqual(h, want) {
				t.Fatalf("Parse after %d of %d bytes = %+v, %d, %v, want %+v, %d, %v", at, len(b), h, m, err, want, n, wantErr)
			}
		}
		if Begins(b) && !MayBegin(b) || (wantErr == ErrNoHeader) == MayBegin(b) {
			t.Errorf("Begins = %t, MayBegin = %t, Parse = %v", Begins(b), MayBegin(b), wantErr)
		}
	})
}

// FuzzAddresses checks the parsers of addresses against net/netip's.
func FuzzAddresses(f *testing.F) {
	for _, s := range []string{
		"192.0.2.1", "0.0.0.0", "255.255.255.255", "::", "::1", "1::", "1:2:3:4:5:6:7:8", "1::8", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4",
		"1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8::", "::1.2.3.4:5", ":1", "1:", ":::", "fe80::1%1", "01.2.3.4", "1:2:3:4:5:6:7:1.2.3.4",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := netip.ParseAddr(s)
		ok4 := err == nil && want.Is4()
		if got, ok := parseIPv4([]byte(s)); ok != ok4 || ok && got != want {
			t.Errorf("parseIPv4(%q) = %v, %t, want %v, %v", s, got, ok, want, err)
		}
		ok6 := err == nil && want.Is6() && want.Zone() == "" && !strings.Contains(s, "%")
		if got, ok := parseIPv6([]byte(s)); ok != ok6 || ok && got != want {
			t.Errorf("parseIPv6(%q) = %v, %t, want %v, %v", s, got, ok, want, err)
		}
	})
}

func TestAddressesAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var ip [16]byte
		for i := range ip {
			if r.IntN(3) == 0 {
				ip[i] = byte(r.Uint32())
			}
		}
		a := netip.AddrFrom16(ip)
		for _, s := range []string{a.String(), a.StringExpanded()} {
			if got, ok := parseIPv6([]byte(s)); !ok || got != a {
				t.Fatalf("parseIPv6(%q) = %v, %t", s, got, ok)
			}
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, bytes string }{
		{"v1", good[0].bytes},
		{"v2", withCRC(v2(0x21, 0x11, block4, tlv(TypeAuthority, "a.example"), tlv(TypeUniqueID, "0123456789abcdef")))},
	} {
		b.Run(c.name, func(b *testing.B) {
			in := []byte(c.bytes)
			for b.Loop() {
				if _, _, err := Parse(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
