package sni

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestMalformed(t *testing.T) {
	hello := draft{}.message()
	// with returns a hello whose extensions block is the given extensions.
	with := func(extensions ...[]byte) []byte { return draft{extensions: slices.Concat(extensions...)}.bytes() }
	names := func(list ...byte) []byte { return with(extension(extServerName, list)) }
	alpn := func(list ...byte) []byte { return with(extension(extALPN, list)) }
	versions := func(list ...byte) []byte { return with(extension(extSupportedVersions, list)) }
	body := func(b []byte) []byte { return record(append([]byte{1}, prefixed(3, b)...)) }
	shortened := func(n int) []byte { b := (draft{}).body(); return body(b[:len(b)-n]) }

	for _, c := range []struct {
		name  string
		bytes []byte
		want  Malformed
	}{
		{"alert first", []byte{21, 3, 1, 0, 2, 1, 0}, badFirstRecord},
		{"application data first", []byte{23, 3, 3, 0, 9}, badFirstRecord},
		{"alert inside", append(record(hello[:9]), 21, 3, 1, 0, 2), badNextRecord},
		{"garbage inside", append(record(hello[:9]), "GET /"...), badNextRecord},
		{"second record of version 2.0", append(record(hello[:9]), 22, 2, 0, 0, 9), badRecordVersion},
		{"empty record", record(nil), emptyRecord},
		{"empty second record", append(record(hello[:9]), record(nil)...), emptyRecord},
		{"record of 16385", []byte{22, 3, 1, 0x40, 1}, longRecord},
		{"server_hello", []byte{22, 3, 1, 0, 9, 2}, badMessageType},

		{"empty body", body(nil), shortHello},
		{"random cut short", body(make([]byte, 33)), shortHello},
		{"no session_id", body(make([]byte, 34)), badSessionID},
		{"session_id of 33", draft{session: make([]byte, 33)}.bytes(), badSessionID},
		{"session_id cut short", body(append(make([]byte, 34), 32, 1, 2)), badSessionID},
		{"no suites", draft{suites: []byte{}}.bytes(), badSuites},
		{"three bytes of suites", draft{suites: []byte{1, 2, 3}}.bytes(), badSuites},
		{"suites cut short", shortened(3), badSuites},
		{"no compression", draft{compression: []byte{}}.bytes(), badCompression},
		{"compression cut short", shortened(1), badCompression},
		{"half a length of extensions", draft{trailer: []byte{0}}.bytes(), badExtensions},
		{"extensions cut short", draft{trailer: []byte{0, 5, 0, 23, 0, 0}}.bytes(), badExtensions},
		{"bytes behind extensions", draft{extensions: []byte{}, trailer: []byte{0}}.bytes(), badExtensions},
		{"extension cut short", with([]byte{0, 23, 0, 1}), badExtension},
		{"half an extension", with([]byte{0, 23, 0}), badExtension},
		{"extension twice", with(extension(23, nil), extension(23, nil)), duplicateType},
		{"GREASE twice", with(extension(0x1a1a, nil), extension(23, nil), extension(0x1a1a, nil)), duplicateType},
		{"two server_name", with(serverName("a.example"), serverName("b.example")), duplicateType},
		{"duplicate in a crowd", crowded(1000, true), duplicateType},

		{"empty server_name", names(), badServerNames},
		{"empty list of names", names(0, 0), badServerNames},
		{"list of names too long", names(0, 9, 0, 0, 1, 'a'), badServerNames},
		{"list of names too short", names(0, 4, 0, 0, 1, 'a', 'b'), badServerNames},
		{"name cut short", names(0, 4, 0, 0, 2, 'a'), badServerNames},
		{"no name", names(0, 3, 0, 0, 0), badServerNames},
		{"unknown name type, cut short", names(0, 4, 7, 0, 9, 'a'), badServerNames},
		{"two host_names", names(0, 8, 0, 0, 1, 'a', 0, 0, 1, 'b'), secondHostName},
		{"the same host_name twice", names(0, 8, 0, 0, 1, 'a', 0, 0, 1, 'a'), secondHostName},
		{"name of 256", with(serverName(strings.Repeat("a", 256))), longHostName},
		{"NUL in the name", with(serverName("good.example\x00.evil.example")), nulInHostName},

		{"empty ALPN", alpn(), badProtocols},
		{"empty ALPN list", alpn(0, 0), badProtocols},
		{"ALPN too long", alpn(0, 9, 2, 'h', '2'), badProtocols},
		{"ALPN too short", alpn(0, 3, 2, 'h', '2', 0), badProtocols},
		{"protocol cut short", alpn(0, 3, 3, 'h', '2'), badProtocols},
		{"empty protocol", alpn(0, 4, 2, 'h', '2', 0), emptyProtocol},

		{"empty supported_versions", versions(), badVersionsList},
		{"no versions", versions(0), badVersionsList},
		{"three bytes of versions", versions(3, 3, 4, 3), badVersionsList},
		{"versions too long", versions(4, 3, 4), badVersionsList},
		{"versions too short", versions(2, 3, 4, 3), badVersionsList},
	} {
		h, err := parse(c.bytes)
		if err != c.want || !reflect.DeepEqual(h, Hello{}) {
			t.Errorf("%s: Parse = %+v, %v, want nothing and %v", c.name, h, err, c.want)
		}
		if _, _, err := feed(c.bytes, 1); err != c.want {
			t.Errorf("%s, byte by byte: Parse = %v, want %v", c.name, err, c.want)
		}
		if errors.Is(err, ErrNotTLS) {
			t.Errorf("%s: errors.Is(%v, ErrNotTLS) = true, want false", c.name, err)
		}
	}
}

// crowded returns a hello of n empty extensions, the last of them once more if told so.
func crowded(n int, again bool) []byte {
	var block []byte
	for typ := range n {
		block = append(block, extension(uint16(typ)+100, nil)...)
	}
	if again {
		block = append(block, extension(uint16(n-1)+100, nil)...)
	}
	return reframe(draft{extensions: block}.message(), every(maxRecord))
}

func TestManyExtensions(t *testing.T) {
	for _, n := range []int{16, 17, 18, 16000} {
		if _, err := parse(crowded(n, false)); err != nil {
			t.Errorf("%d extensions: Parse = %v, want a hello", n, err)
		}
		if _, err := parse(crowded(n, true)); err != duplicateType {
			t.Errorf("%d extensions, one twice: Parse = %v, want %v", n, err, duplicateType)
		}
	}
}

func TestServerNames(t *testing.T) {
	for _, name := range []string{
		"shop.example.com", "SHOP.Example.COM", "shop.example.com.", "under_score.example", "192.0.2.1", "[::1]",
		"b\xfccher.example", ".", strings.Repeat("a", 255),
	} {
		h, err := parse(draft{extensions: serverName(name)}.bytes())
		if err != nil || string(h.ServerName) != name {
			t.Errorf("ServerName = %q, %v, want %q as it is: what a name may be is decided elsewhere", h.ServerName, err, name)
		}
	}
}

func TestUnknownNameTypeIsPassedOver(t *testing.T) {
	list := append([]byte{7, 0, 2, 'x', 'y'}, hostName("a.example")...)
	list = append(list, 9, 0, 1, 'z')
	h, err := parse(draft{extensions: extension(extServerName, prefixed(2, list))}.bytes())
	if err != nil || string(h.ServerName) != "a.example" {
		t.Errorf("Parse = %q, %v, want a.example", h.ServerName, err)
	}
	h, err = parse(draft{extensions: extension(extServerName, prefixed(2, []byte{7, 0, 1, 'x'}))}.bytes())
	if err != nil || h.ServerName != nil {
		t.Errorf("without a host_name: Parse = %q, %v, want no name", h.ServerName, err)
	}
}

// ECH is offered however its extension looks: an unreadable one is for the key's holder to refuse.
func TestECH(t *testing.T) {
	for name, data := range map[string][]byte{"empty": nil, "inner": {1}, "outer": {0, 0, 1, 0, 1, 9, 0, 0, 0, 1, 0}} {
		h, err := parse(draft{extensions: extension(extEncryptedClientHello, data)}.bytes())
		if err != nil || !h.ECH {
			t.Errorf("%s: ECH = %t, %v, want true", name, h.ECH, err)
		}
	}
}

// RFC 8446 sections 5, 5.1 and 6.2.
func TestAlert(t *testing.T) {
	hello := draft{}.message()
	for _, c := range []struct {
		name  string
		bytes []byte
		want  uint8
	}{
		{"alert first", []byte{21, 3, 1, 0, 2, 1, 0}, 10},
		{"application data first", []byte{23, 3, 3, 0, 9}, 10},
		{"server_hello", record([]byte{2, 0, 0, 0}), 10},
		{"alert inside", append(record(hello[:9]), 21), 10},
		{"unknown record inside", append(record(hello[:9]), 99), 10},
		{"record of 16385", []byte{22, 3, 1, 0x40, 1}, 22},
		{"record of 16385 inside", append(record(hello[:9]), 22, 3, 1, 0x40, 1), 22},
		{"empty record", record(nil), 50},
		{"other version inside", append(record(hello[:9]), 22, 2), 50},
		{"empty ALPN", draft{extensions: extension(extALPN, nil)}.bytes(), 50},
		{"too large", record([]byte{1, 0xff, 0xff, 0xff}), 50},
		{"not TLS", []byte("SSH-"), 0},
		{"incomplete", record(hello[:9]), 0},
	} {
		_, err := parse(c.bytes)
		if got := Alert(err); got != c.want {
			t.Errorf("%s: Alert(%v) = %d, want %d", c.name, err, got, c.want)
		}
	}
}

func TestMalformedText(t *testing.T) {
	want := "malformed ClientHello: extension type appears twice"
	if got := duplicateType.Error(); got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
