package proxy

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/backend"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// served is the record of a connection that all went well for.
func served(t *testing.T) *record {
	p, err := backend.New(backend.Config{Name: "shop", Servers: []backend.ServerConfig{{Address: "10.0.0.5:443"}}})
	if err != nil {
		t.Fatal(err)
	}
	return &record{
		reason: ClientClosed, phase: relay.PhaseRelay, listener: ":443",
		client: netip.MustParseAddrPort("192.0.2.7:50123"),
		Summary: relay.Summary{
			Start: time.Date(2026, 11, 22, 10, 30, 0, 5_000_000, time.UTC),
			Hello: 250 * time.Microsecond, Dial: 1500 * time.Microsecond, Total: 2*time.Hour + time.Millisecond,
			Up: 1522, Down: 70368744177664,
		},
		sni: []byte("shop.example"), alpn: []byte("h2"), route: []byte("*.example"),
		outcome: routes.Matched, pool: p, endpoint: p.Pick(netip.Addr{}, nil), attempts: 1,
	}
}

// rejected is one of a client that was turned away before a choice was made.
func rejectedRecord() *record {
	return &record{
		reason: NotTLS, phase: relay.PhaseHello, listener: "[::1]:8443",
		client: netip.MustParseAddrPort("[2001:db8::1]:50123"),
		Summary: relay.Summary{
			Start: time.Date(2026, 11, 22, 10, 30, 0, 0, time.FixedZone("", 3600)),
			Hello: 0, Dial: -1, Total: 1500 * time.Nanosecond,
		},
		err: unix.ECONNREFUSED,
	}
}

func TestGoldenRecords(t *testing.T) {
	for _, c := range []struct {
		name   string
		record *record
		format Format
		want   string
	}{
		{"served, text", served(t), Text, `time=2026-11-22T10:30:00.005Z client=192.0.2.7:50123 listen=:443 sni=shop.example alpn=h2 route=*.example ` +
			`backend=shop server=10.0.0.5:443 attempts=1 reason=client_closed phase=relay up=1522 down=70368744177664 ` +
			`hello_ms=0.250 dial_ms=1.500 total_ms=7200001.000` + "\n"},
		{"served, JSON", served(t), JSON, `{"time":"2026-11-22T10:30:00.005Z","client":"192.0.2.7:50123","listen":":443","sni":"shop.example","alpn":"h2",` +
			`"route":"*.example","backend":"shop","server":"10.0.0.5:443","attempts":1,"reason":"client_closed","phase":"relay","up":1522,` +
			`"down":70368744177664,"hello_ms":0.250,"dial_ms":1.500,"total_ms":7200001.000}` + "\n"},
		{"rejected, text", rejectedRecord(), Text, `time=2026-11-22T09:30:00.000Z client=[2001:db8::1]:50123 listen=[::1]:8443 reason=not_tls phase=hello ` +
			`up=0 down=0 hello_ms=0.000 total_ms=0.001 error="connection refused"` + "\n"},
		{"rejected, JSON", rejectedRecord(), JSON, `{"time":"2026-11-22T09:30:00.000Z","client":"[2001:db8::1]:50123","listen":"[::1]:8443","reason":"not_tls",` +
			`"phase":"hello","up":0,"down":0,"hello_ms":0.000,"total_ms":0.001,"error":"connection refused"}` + "\n"},
	} {
		if got := string(appendRecord(nil, c.format, c.record)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// hostile are names as a client can choose them.
var hostile = []string{
	"a\nreason=client_closed phase=relay", "a reason=killed", "a\" reason=\"killed", `a\`, `a\" x=1`, "a=b", "a\r\n", "a\tb", "\x00", "\x7f", "\x1b[2J",
	"\xff\xfe", "bücher.example", "\u2028", `","reason":"killed`, "<script>", "a}", "", "null", strings.Repeat("n", 255),
}

// field is one key=value of a line of text, with or without quotes.
var field = regexp.MustCompile(`^([a-z_]+)=([^ "=\\]+|"(?:[^"\\]|\\.)*")(?: |\n$)`)

// Whatever a client calls itself, its record is one line, of printable ASCII,
// with every field once.
func TestHostileNameCannotForgeARecord(t *testing.T) {
	for _, name := range hostile {
		r := rejectedRecord()
		r.sni, r.alpn, r.route, r.listener = []byte(name), []byte(name), []byte(name), name

		line := string(appendRecord(nil, Text, r))
		seen := map[string]int{}
		rest := line
		for rest != "" {
			m := field.FindStringSubmatch(rest)
			if m == nil {
				t.Errorf("name %q: record %q cannot be read at %q", name, line, rest)
				break
			}
			seen[m[1]]++
			rest = rest[len(m[0]):]
		}
		if seen["reason"] != 1 || seen["sni"] > 1 || strings.Count(line, "\n") != 1 || !strings.Contains(line, " reason=not_tls phase=hello ") {
			t.Errorf("name %q: record %q, want each field once, on one line", name, line)
		}
		for _, b := range []byte(strings.TrimSuffix(line, "\n")) {
			if b < ' ' || b > '~' {
				t.Errorf("name %q: record %q has byte %#x", name, line, b)
			}
		}

		object := appendRecord(nil, JSON, r)
		var got jsonRecord
		if err := json.Unmarshal(object, &got); err != nil {
			t.Errorf("name %q: record %q: %v", name, object, err)
			continue
		}
		if want := strings.ToValidUTF8(name, "\ufffd"); got.Reason != "not_tls" || len(got.SNI) < len(want) && got.SNI != want || strings.Count(string(object), "\n") != 1 {
			t.Errorf("name %q: record %q, want it under sni alone", name, object)
		}
	}
}

// Escaped JSON is ASCII, and says what it said before; what is no UTF-8 becomes U+FFFD.
func TestAppendASCII(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"ASCII", "{\"a\":\"~ \\u001b\"}\n", "{\"a\":\"~ \\u001b\"}\n"},
		{"DEL", "\x7f", `\u007f`},
		{"first and last C1 control", "\u0080\u009f", `\u0080\u009f`},
		{"no-break space", "\u00a0", `\u00a0`},
		{"letter", "bücher", `b\u00fccher`},
		{"marks of direction", "\u061c\u200e\u200f\u202a\u202e\u2066\u2069", `\u061c\u200e\u200f\u202a\u202e\u2066\u2069`},
		{"line and paragraph separators", "\u2028\u2029", `\u2028\u2029`},
		{"U+FFFD itself", "\ufffd", `\ufffd`},
		{"last of 16 bits", "\uffff", `\uffff`},
		{"first beyond 16 bits", "\U00010000", `\ud800\udc00`},
		{"tag beyond 16 bits", "\U000e0001", `\udb40\udc01`},
		{"last of all", "\U0010ffff", `\udbff\udfff`},
		{"bare continuation", "a\x80b", `a\ufffdb`},
		{"cut short", "a\xf0\x9f\x98", `a\ufffd\ufffd\ufffd`},
		{"surrogate", "\xed\xa0\x80", `\ufffd\ufffd\ufffd`},
		{"overlong", "\xc0\xaf", `\ufffd\ufffd`},
		{"never in UTF-8", "\xff", `\ufffd`},
	} {
		got := string(AppendASCII([]byte("before "), []byte(c.in)))
		if want := "before " + c.want; got != want {
			t.Errorf("%s: AppendASCII(%q) = %s, want %s", c.name, c.in, got, want)
		}
		var back, same string
		if json.Unmarshal([]byte(`"`+c.in+`"`), &same) != nil {
			continue // whole JSON, or a control that no JSON has raw
		}
		if err := json.Unmarshal([]byte(`"`+strings.TrimPrefix(got, "before ")+`"`), &back); err != nil || back != same {
			t.Errorf("%s: what was %q reads as %q, %v", c.name, same, back, err)
		}
	}
}

// A record is overwritten by a later one of the same ring: nothing of the
// former may show.
func TestRecordKeepsNothingOfTheFormer(t *testing.T) {
	a := &AccessLog{}
	s := dialing(t, "192.0.2.1:443")
	s.desk.ring = a.ring(0)
	s.Closed(relay.Summary{Reason: relay.ClientClosed, Phase: relay.PhaseRelay})
	s.desk.ring.done()
	s.desk.ring.written.Store(0)
	s.desk.ring.read.Store(0)
	s.Open()
	s.Closed(relay.Summary{Reason: relay.ClientGone, Phase: relay.PhaseHello, Hello: -1, Dial: -1})
	got := string(appendRecord(nil, Text, s.desk.ring.next()))
	if want := `time=0001-01-01T00:00:00.000Z client= reason=no_bytes phase=hello up=0 down=0 total_ms=0.000` + "\n"; got != want {
		t.Errorf("second record is\n     %s\nwant %s", got, want)
	}
}
