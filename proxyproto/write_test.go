package proxyproto

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestAppendV1(t *testing.T) {
	none := netip.AddrPort{}
	for _, c := range []struct {
		source, destination netip.AddrPort
		want                string
	}{
		{client4, server4, "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"},
		{client6, server6, "PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n"},
		{client4, server6, "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1234 443\r\n"},
		{netip.MustParseAddrPort("[::ffff:192.0.2.1]:1234"), server4, "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"},
		{netip.MustParseAddrPort("[fe80::1%eth0]:1"), server6, "PROXY TCP6 fe80::1 2001:db8::2 1 443\r\n"},
		{none, server4, "PROXY UNKNOWN\r\n"},
		{client4, none, "PROXY UNKNOWN\r\n"},
		{none, none, "PROXY UNKNOWN\r\n"},
	} {
		if got := AppendV1([]byte("x"), c.source, c.destination); string(got) != "x"+c.want {
			t.Errorf("AppendV1(%v, %v) = %q, want %q", c.source, c.destination, got[1:], c.want)
		}
	}
}

func TestV2(t *testing.T) {
	var w V2
	w.Begin(client4, server4)
	w.Add(TypeAuthority, []byte("a.example"))
	if got, want := string(w.End()), withCRC(v2(0x21, 0x11, block4, tlv(TypeAuthority, "a.example"))); got != want {
		t.Errorf("V2 = %q, want %q", got, want)
	}
	w.Begin(client6, server6)
	if got, want := string(w.End()), withCRC(v2(0x21, 0x21, block6)); got != want {
		t.Errorf("V2 = %q, want %q", got, want)
	}
	w.Begin(netip.AddrPort{}, server6)
	if got, want := string(w.End()), withCRC(v2(0x21, 0x00)); got != want {
		t.Errorf("V2 = %q, want %q", got, want)
	}
	w.BeginLocal()
	if got, want := string(w.End()), withCRC(v2(0x20, 0x00)); got != want {
		t.Errorf("V2 = %q, want %q", got, want)
	}
}

// What does not fit is left out, and the header stays one that Parse takes.
func TestV2IsBounded(t *testing.T) {
	var w V2
	w.Begin(client4, server4)
	room := MaxSize - fixed - 12 - crcSize
	if w.Add(0xea, make([]byte, room-tlvHead+1)) {
		t.Error("Add took one byte more than fits")
	}
	if !w.Add(0xea, make([]byte, room-tlvHead)) {
		t.Error("Add refused what fits")
	}
	if w.Add(0xeb, nil) {
		t.Error("Add took a TLV into a full header")
	}
	b := w.End()
	if _, n, err := Parse(b); err != nil || n != MaxSize {
		t.Errorf("Parse of a full header = %d, %v, want %d", n, err, MaxSize)
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	var w V2
	var line []byte
	value := []byte("a.example")
	if n := testing.AllocsPerRun(10, func() {
		for _, p := range [][2]netip.AddrPort{{client4, server4}, {client6, server6}, {client4, server6}} {
			w.Begin(p[0], p[1])
			w.Add(TypeAuthority, value)
			w.End()
			line = AppendV1(line[:0], p[0], p[1])
		}
	}); n != 0 {
		t.Errorf("a header allocates %v times, want none", n)
	}
}

// FuzzWrite checks that Parse reads what was written.
func FuzzWrite(f *testing.F) {
	v4, v6 := client4.Addr().AsSlice(), client6.Addr().AsSlice()
	f.Add(v4, v4, uint16(1), uint16(65535), byte(0xea), "x")
	f.Add(v6, v6, uint16(0), uint16(443), byte(TypeAuthority), "a.example")
	f.Add(v4, v6, uint16(1), uint16(2), byte(TypeNoOp), "")
	f.Add([]byte{}, v6, uint16(1), uint16(2), byte(0), strings.Repeat("x", 4000))
	f.Add(v4, []byte{}, uint16(1), uint16(2), byte(0), strings.Repeat("x", 5000))
	f.Fuzz(func(t *testing.T, source, destination []byte, from, to uint16, kind byte, value string) {
		if kind == TypeCRC32c {
			return // which End adds
		}
		s, _ := netip.AddrFromSlice(source)
		d, _ := netip.AddrFromSlice(destination)
		want := Header{Source: join(s, from), Destination: join(d, to)}
		if !s.IsValid() || !d.IsValid() {
			want = Header{}
		}
		var w V2
		w.Begin(join(s, from), join(d, to))
		added := w.Add(kind, []byte(value))
		want.Version = 2
		got := readBack(t, w.End(), want)
		for k, v := range got.TLVs.All() {
			if added && k == kind && string(v) == value {
				added = false
			} else if k != TypeCRC32c {
				t.Errorf("Parse found TLV %#x, %q", k, v)
			}
		}
		if added {
			t.Errorf("Parse did not find TLV %#x, %q", kind, value)
		}
		want.Version = 1
		readBack(t, AppendV1(nil, join(s, from), join(d, to)), want)
	})
}

func readBack(t *testing.T, b []byte, want Header) Header {
	t.Helper()
	got, n, err := Parse(b)
	want.TLVs = got.TLVs
	if err != nil || n != len(b) || !reflect.DeepEqual(got, want) {
		t.Fatalf("Parse(%q) = %+v, %d, %v, want %+v, %d", b, got, n, err, want, len(b))
	}
	return got
}
