package sni

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"unsafe"
)

// parse gives all of b to a new parser without a limit of its own.
func parse(b []byte) (Hello, error) {
	var p Parser
	return p.Parse(b)
}

func TestCapturedHellos(t *testing.T) {
	for _, c := range loadCaptured(t) {
		h, err := parse(c.bytes)
		if err != nil {
			t.Errorf("Parse(%s) = %v, want a hello", c.File, err)
			continue
		}
		if got := string(h.ServerName); got != c.ServerName {
			t.Errorf("%s: ServerName = %q, want %q", c.File, got, c.ServerName)
		}
		if got := h.ALPN.Strings(); !slices.Equal(got, c.ALPN) {
			t.Errorf("%s: ALPN = %q, want %q", c.File, got, c.ALPN)
		}
		if got := versionNames(h.Versions); !slices.Equal(got, c.Versions) {
			t.Errorf("%s: Versions = %q, want %q", c.File, got, c.Versions)
		}
		if h.ECH != c.ECH {
			t.Errorf("%s: ECH = %t, want %t", c.File, h.ECH, c.ECH)
		}
	}
}

func versionNames(v Versions) []string {
	var names []string
	for version := range v.All() {
		names = append(names, fmt.Sprintf("0x%04x", version))
	}
	return names
}

// A hello that was recorded and never entered into the index would be tested by nobody.
func TestIndexListsEveryHello(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(helloDir, "*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	indexed := loadCaptured(t)
	if len(files) != len(indexed) {
		t.Errorf("%s has %d hellos, index.json %d", helloDir, len(files), len(indexed))
	}
}

func TestSegmentationAndRecordsDoNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range loadCaptured(t) {
		want, err := parse(c.bytes)
		if err != nil {
			t.Fatalf("Parse(%s) = %v, want a hello", c.File, err)
		}
		message := deframe(c.bytes)
		for name, b := range map[string][]byte{
			"as captured":         c.bytes,
			"one byte a record":   reframe(message, every(1)),
			"100 bytes a record":  reframe(message, every(100)),
			"random records":      reframe(message, atRandom(r)),
			"split in the header": append(record(message[:2]), record(message[2:])...),
		} {
			if got, err := parse(b); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: Parse = %+v, %v, want %+v", c.File, name, got, err, want)
			}
			if got, at, err := feed(b, 1); err != nil || at != len(b) || !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: byte by byte: %+v, %v after %d bytes, want %+v after %d", c.File, name, got, err, at, want, len(b))
			}
		}
	}
}

// feed gives b to one parser, n bytes more with each call, until there is a verdict. It returns
// that, and how many bytes it took.
func feed(b []byte, n int) (Hello, int, error) {
	var p Parser
	for at := 0; ; at = min(at+n, len(b)) {
		h, err := p.Parse(b[:at])
		if err != ErrNeedMore || at == len(b) {
			return h, at, err
		}
	}
}

// RFC 5246 appendix E.1 and RFC 8446 section 5.1: the minor version says nothing.
func TestEveryRecordVersion(t *testing.T) {
	message := draft{extensions: serverName("shop.example.com")}.message()
	for minor := range 256 {
		b := append(record(message[:20]), record(message[20:])...)
		b[2], b[2+recordHeader+20] = byte(minor), byte(255-minor)
		if h, err := parse(b); err != nil || string(h.ServerName) != "shop.example.com" {
			t.Errorf("record versions 3.%d, 3.%d: Parse = %q, %v, want shop.example.com", minor, 255-minor, h.ServerName, err)
		}
	}
}

// A TLS 1.0 hello may end after its compression methods.
func TestNoExtensions(t *testing.T) {
	h, err := parse(draft{}.bytes())
	if err != nil {
		t.Fatalf("Parse = %v, want a hello", err)
	}
	want := Hello{Versions: Versions{3, 3}, Random: testRandom, suites: []byte{0xc0, 0x2f}}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("Parse = %+v, want %+v", h, want)
	}
}

// 0-RTT data, a change_cipher_spec record, or more of the last record: not part of the hello.
func TestBytesBehindTheHelloAreNotJudged(t *testing.T) {
	message := draft{extensions: serverName("a.example")}.message()
	for name, b := range map[string][]byte{
		"garbage":              append(record(message), "garbage"...),
		"change_cipher_spec":   append(record(message), 20, 3, 3, 0, 1, 1),
		"same record":          record(append(slices.Clone(message), 20, 0, 0, 0)),
		"record not yet whole": record(append(slices.Clone(message), make([]byte, 99)...))[:5+len(message)],
	} {
		if h, err := parse(b); err != nil || string(h.ServerName) != "a.example" {
			t.Errorf("%s: Parse = %q, %v, want a.example", name, h.ServerName, err)
		}
	}
}

func TestNotTLS(t *testing.T) {
	for input, want := range map[string]error{
		"GET / HTTP/1.1\r\n":               ErrHTTP,
		"GET ":                             ErrHTTP,
		"HEAD / HTTP/1.1\r\n":              ErrHTTP,
		"POST / HTTP/1.1\r\n":              ErrHTTP,
		"PUT /x HTTP/1.1\r\n":              ErrHTTP,
		"DELETE / HTTP/1.1\r\n":            ErrHTTP,
		"CONNECT a:443 HTTP/1.1\r\n":       ErrHTTP,
		"OPTIONS * HTTP/1.1\r\n":           ErrHTTP,
		"TRACE / HTTP/1.1\r\n":             ErrHTTP,
		"PATCH / HTTP/1.1\r\n":             ErrHTTP,
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": ErrHTTP,
		"PROXY TCP4 192.0.2.1 ":            ErrProxyHeader,
		"PROXY UNKNOWN\r\n\x16\x03\x01":    ErrProxyHeader,
		"\r\n\r\n\x00\r\nQUIT\n":           ErrProxyHeader,
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11":   ErrProxyHeader,
		"SSH-2.0-OpenSSH_9.2\r\n":          ErrSSH,
		"SSH-":                             ErrSSH,
		"\x80\x2e\x01\x00\x02":             ErrSSLv2,
		"\x80\x67\x01\x03\x01":             ErrSSLv2,
		"\x80\x67\x01\x02\x00":             ErrNotTLS,
		"\x80\x67\x02\x00\x02":             ErrNotTLS,
		"\x80\x67\x01\x03":                 ErrNotTLS,
		"G":                                ErrNotTLS,
		"GET":                              ErrNotTLS,
		"GETX / HTTP/1.1\r\n":              ErrNotTLS,
		"get / HTTP/1.1\r\n":               ErrNotTLS,
		"P":                                ErrNotTLS,
		"PROXY":                            ErrNotTLS,
		"\r\n\r\n\x00\r\nQUIT":             ErrNotTLS,
		"\x05\x01\x00":                     errSOCKS,
		"\x00":                             ErrNotTLS,
		"\x13\x03":                         ErrNotTLS,
		"\x19\x03\x01\x00\x10":             ErrNotTLS,
	} {
		if _, err := parse([]byte(input)); err != want {
			t.Errorf("Parse(%q) = %v, want %v", input, err, want)
		}
		if !errors.Is(want, ErrNotTLS) {
			t.Errorf("errors.Is(%v, ErrNotTLS) = false, want true", want)
		}
		// One byte is too few to name anything by, and enough to refuse it.
		if _, at, err := feed([]byte(input), 1); err != ErrNotTLS || at != 1 {
			t.Errorf("Parse(%q) = %v after %d bytes, want %v after 1", input, err, at, ErrNotTLS)
		}
	}
}

// What proves an error is its last byte: the bytes before it say no more than that the hello is not
// complete.
func TestVerdictComesWithTheFirstByteThatProvesIt(t *testing.T) {
	start := record(draft{}.message()[:9])
	after := func(b ...byte) []byte { return append(slices.Clone(start), b...) }
	for _, c := range []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"major version 2", []byte{22, 2}, badRecordVersion},
		{"DTLS", []byte{22, 0xfe}, badRecordVersion},
		{"heartbeat first", []byte{24}, badFirstRecord},
		{"change_cipher_spec first", []byte{20}, badFirstRecord},
		{"alert first", []byte{21}, badFirstRecord},
		{"application data first", []byte{23}, badFirstRecord},
		{"record of 16640", []byte{22, 3, 1, 0x41}, longRecord},
		{"record of 16385", []byte{22, 3, 1, 0x40, 1}, longRecord},
		{"empty record", []byte{22, 3, 1, 0, 0}, emptyRecord},
		{"server_hello", []byte{22, 3, 1, 0, 9, 2}, badMessageType},
		{"alert inside", after(21), badNextRecord},
		{"garbage inside", after('G'), badNextRecord},
		{"other version inside", after(22, 2), badRecordVersion},
		{"long record inside", after(22, 3, 1, 0x80), longRecord},
		{"empty record inside", after(22, 3, 1, 0, 0), emptyRecord},
	} {
		if _, at, err := feed(c.bytes, 1); err != c.want || at != len(c.bytes) {
			t.Errorf("%s: Parse = %v after %d bytes, want %v after %d", c.name, err, at, c.want, len(c.bytes))
		}
		if _, err := parse(append(c.bytes, make([]byte, 99)...)); err != c.want {
			t.Errorf("%s, and more: Parse = %v, want %v", c.name, err, c.want)
		}
	}
}

func TestNeedMore(t *testing.T) {
	for _, input := range []string{"", "\x16", "\x16\x03", "\x16\x03\x01\x00", "\x16\x03\xff\x40", "\x16\x03\x01\x00\x50\x01\x00"} {
		if _, err := parse([]byte(input)); err != ErrNeedMore {
			t.Errorf("Parse(%q) = %v, want %v", input, err, ErrNeedMore)
		}
	}
}

func TestEnd(t *testing.T) {
	message := draft{extensions: serverName("a.example")}.message()
	for name, b := range map[string][]byte{"one record": record(message), "many records": reframe(message, every(7))} {
		var p Parser
		if _, err := p.Parse(append(slices.Clone(b), "more"...)); err != nil || p.End() != len(b) {
			t.Errorf("%s: Parse, End = %v, %d, want a hello that ends at %d", name, err, p.End(), len(b))
		}
	}
}

// A bare message, as QUIC has it, reads as it does in records.
func TestParseMessage(t *testing.T) {
	for _, c := range loadCaptured(t) {
		want, wantErr := parse(c.bytes)
		message := deframe(c.bytes)
		got, err := ParseMessage(append(slices.Clone(message), "more"...))
		if err != wantErr || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseMessage(%s) = %+v, %v, want %+v, %v", c.File, got, err, want, wantErr)
		}
		if !bytes.Equal(got.Random, message[6:38]) {
			t.Errorf("%s: Random = %x, want %x", c.File, got.Random, message[6:38])
		}
		for at := range message {
			if _, err := ParseMessage(message[:at]); err != ErrNeedMore {
				t.Fatalf("ParseMessage(%s) of %d bytes = %v, want %v", c.File, at, err, ErrNeedMore)
			}
		}
	}
	for b, want := range map[string]error{"\x02": badMessageType, "\x16\x03": badMessageType, "\x01\x00\x00\x00": shortHello} {
		if _, err := ParseMessage([]byte(b)); err != want {
			t.Errorf("ParseMessage(%q) = %v, want %v", b, err, want)
		}
	}
}

func TestLimit(t *testing.T) {
	message := draft{extensions: serverName("a.example")}.message()
	for name, b := range map[string][]byte{
		"one record":           record(message),
		"10 bytes a record":    reframe(message, every(10)),
		"one byte a record":    reframe(message, every(1)),
		"all but one, and one": append(record(message[:len(message)-1]), record(message[len(message)-1:])...),
	} {
		p := Parser{Limit: len(b)}
		if _, err := p.Parse(b); err != nil {
			t.Errorf("%s: %d bytes with that limit: Parse = %v, want a hello", name, len(b), err)
		}
		p = Parser{Limit: len(b) - 1}
		if _, err := p.Parse(b); err != ErrTooLarge {
			t.Errorf("%s: %d bytes with one less allowed: Parse = %v, want %v", name, len(b), err, ErrTooLarge)
		}
	}
}

func TestTooLargeIsToldEarly(t *testing.T) {
	header := func(length int) []byte { return []byte{1, byte(length >> 16), byte(length >> 8), byte(length)} }
	for _, c := range []struct {
		name  string
		limit int
		bytes []byte
		at    int // the byte that proves it
	}{
		{"16 MiB announced", 0, record(header(1<<24 - 1)), 9},
		// 65536 bytes in all is 65512 of message at best, for it takes four records, and 4 of those
		// are its header.
		{"one over the default", 0, append(record(header(65513))[:3], 0x40, 0, 1, 0, 0xff, 0xe9), 9},
		{"one over a small limit", 100, record(append(header(92), make([]byte, 92)...)), 9},
		{"negative limit is the default", -1, record(header(1<<24 - 1)), 9},
		// After ten records 35 bytes are missing, which just fit into one more. The eleventh brings
		// one of them.
		{"record headers eat it up", 100, reframe(draft{}.message(), every(1)), 6*10 + 5},
		{"no room for a header", 8, record(header(1)), 0},
	} {
		p := Parser{Limit: c.limit}
		for at := 0; ; at++ {
			_, err := p.Parse(c.bytes[:at])
			if err == ErrNeedMore && at < len(c.bytes) {
				continue
			}
			if err != ErrTooLarge || at != c.at {
				t.Errorf("%s: Parse = %v after %d bytes, want %v after %d", c.name, err, at, ErrTooLarge, c.at)
			}
			break
		}
	}
}

func TestDefaultLimitIsReachable(t *testing.T) {
	b := largest(t)
	if len(b) != DefaultLimit {
		t.Fatalf("test hello has %d bytes, want %d", len(b), DefaultLimit)
	}
	if _, err := parse(b); err != nil {
		t.Errorf("Parse of %d bytes = %v, want a hello", len(b), err)
	}
}

// largest returns a hello of DefaultLimit bytes: four records, filled by a padding extension.
func largest(t testing.TB) []byte {
	t.Helper()
	room := DefaultLimit - 4*recordHeader - len(draft{}.message()) - 2
	block := serverName("a.example")
	block = append(block, extension(21, make([]byte, room-len(block)-4))...)
	return reframe(draft{extensions: block}.message(), every(maxRecord))
}

// An error is final: later calls with more bytes say the same.
func TestVerdictStays(t *testing.T) {
	for name, b := range map[string][]byte{
		"not TLS":   []byte("SSH-2.0-OpenSSH"),
		"malformed": record([]byte{2, 0, 0, 1, 0}),
		"too large": record([]byte{1, 0xff, 0xff, 0xff}),
		"body":      draft{session: make([]byte, 33)}.bytes(),
	} {
		var p Parser
		_, first := p.Parse(b)
		_, second := p.Parse(append(b, draft{}.bytes()...))
		if first == nil || first == ErrNeedMore || second != first {
			t.Errorf("%s: Parse = %v, then %v, want the same error twice", name, first, second)
		}
	}
}

func TestReset(t *testing.T) {
	p := Parser{Limit: 1000}
	if _, err := p.Parse(reframe(draft{}.message(), every(3))[:40]); err != ErrNeedMore {
		t.Fatalf("Parse of a part = %v, want %v", err, ErrNeedMore)
	}
	p.Reset()
	if want := (Parser{Limit: 1000}); p != want {
		t.Errorf("after Reset: %+v, want %+v", p, want)
	}
	if _, err := p.Parse(draft{}.bytes()); err != nil {
		t.Errorf("Parse after Reset = %v, want a hello", err)
	}
}

// Against its contract, a caller passes fewer bytes than before, or others. What Parse says then
// means nothing, but it must say it and not panic.
func TestChangedInputDoesNotPanic(t *testing.T) {
	whole := reframe(draft{extensions: serverName("a.example")}.message(), every(7))
	for first := range whole {
		for second := range first {
			var p Parser
			p.Parse(whole[:first])
			if _, err := p.Parse(whole[:second]); err != ErrNeedMore {
				t.Fatalf("Parse of %d bytes after %d = %v, want %v", second, first, err, ErrNeedMore)
			}
		}
		var p Parser
		p.Parse(whole[:first])
		p.Parse(bytes.Repeat([]byte{0xff}, len(whole)))
	}
}

// Feeding a hello byte by byte is linear because a byte once seen is not looked at again. So they
// are spoilt here as soon as Parse has returned: a parser that walked the records from the start
// would trip over the first.
func TestBytesAreSeenOnce(t *testing.T) {
	whole := reframe(draft{extensions: extension(21, make([]byte, 5000))}.message(), every(1))
	spoilt, end := slices.Clone(whole), 0
	var p Parser
	for at := range len(whole) {
		if _, err := p.Parse(spoilt[:at]); err != ErrNeedMore {
			t.Fatalf("Parse = %v after %d of %d bytes, want %v", err, at, len(whole), ErrNeedMore)
		}
		for ; end < int(p.records.pos); end++ {
			spoilt[end] = 0xff
		}
		// All but a part of a record header, which is read when it is whole.
		if again := at - end; again >= recordHeader {
			t.Fatalf("after %d bytes %d of them would be read again", at, again)
		}
	}
	if _, err := p.Parse(whole); err != nil {
		t.Errorf("Parse of the whole = %v, want a hello", err)
	}
}

func TestAllocations(t *testing.T) {
	chromium := load(t, "chromium-1.hex")
	pieces := reframe(deframe(chromium), every(1))
	malformed := draft{session: make([]byte, 33)}.bytes()
	for _, c := range []struct {
		name string
		run  func()
		want float64
	}{
		{"one call", func() { parse(chromium) }, 0},
		{"byte by byte", func() { feed(chromium, 1) }, 0},
		{"crowded with extensions", runParse(crowded(16000, false)), 1}, // four records
		{"byte by byte in records of one byte", func() { feed(pieces, 1) }, 1},
		{"incomplete, in records of one byte", func() { feed(pieces[:len(pieces)-1], 1) }, 0},
		{"malformed", func() { parse(malformed) }, 0},
		{"HTTP", runParse([]byte("GET / HTTP/1.1")), 0},
	} {
		if got := testing.AllocsPerRun(10, c.run); got != c.want {
			t.Errorf("%s: %v allocations, want %v", c.name, got, c.want)
		}
	}
}

func runParse(b []byte) func() { return func() { parse(b) } }

// The hello of one record is not copied, and a caller that appends to a field does not write into
// the hello.
func TestFieldsArePartsOfTheInput(t *testing.T) {
	b := load(t, "curl.hex")
	h, err := parse(b)
	if err != nil {
		t.Fatalf("Parse = %v, want a hello", err)
	}
	for name, field := range map[string][]byte{"ServerName": h.ServerName, "ALPN": h.ALPN, "Versions": h.Versions} {
		first := uintptr(unsafe.Pointer(&field[0])) - uintptr(unsafe.Pointer(&b[0]))
		if first >= uintptr(len(b)) {
			t.Errorf("%s is not a part of the input", name)
		}
		if cap(field) != len(field) {
			t.Errorf("cap(%s) = %d, want its length, %d", name, cap(field), len(field))
		}
	}
}

// One connection holds one Parser for as long as its hello is incomplete.
func TestParserIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Parser{}); size > 24 {
		t.Errorf("a Parser has %d bytes, want 24 or fewer", size)
	}
}
