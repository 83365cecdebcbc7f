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
		Summary: relay.Summary{
			Reason: relay.ClientClosed, Phase: relay.PhaseRelay,
			Client: netip.MustParseAddrPort("192.0.2.7:50123"),
			Start:  time.Date(2026, 11, 22, 10, 30, 0, 5_000_000, time.UTC),
			Hello:  250 * time.Microsecond, Dial: 1500 * time.Microsecond, Total: 2*time.Hour + time.Millisecond,
			Up: 1522, Down: 70368744177664,
		},
		sni: []byte("shop.example"), alpn: []byte("h2"), route: []byte("*.example"),
		outcome: routes.Matched, pool: p, endpoint: p.Pick(netip.Addr{}, nil), attempts: 1,
	}
}

// rejected is one of a client that was turned away before a choice was made.
func rejectedRecord() *record {
	return &record{
		Summary: relay.Summary{
			Reason: relay.NotTLS, Phase: relay.PhaseHello, Listener: 1,
			Client: netip.MustParseAddrPort("[2001:db8::1]:50123"),
			Start:  time.Date(2026, 11, 22, 10, 30, 0, 0, time.FixedZone("", 3600)),
			Hello:  0, Dial: -1, Total: 1500 * time.Nanosecond,
		},
		err: unix.ECONNREFUSED,
	}
}

func TestGoldenRecords(t *testing.T) {
	listeners := []string{":443", "[::1]:8443"}
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
		if got := string(appendRecord(nil, c.format, c.record, listeners)); got != c.want {
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
		r.sni, r.alpn, r.route = []byte(name), []byte(name), []byte(name)

		line := string(appendRecord(nil, Text, r, []string{"main", name}))
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

		object := appendRecord(nil, JSON, r, []string{"main", name})
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

// A record is overwritten by a later one of the same ring: nothing of the
// former may show.
func TestRecordKeepsNothingOfTheFormer(t *testing.T) {
	a := &AccessLog{}
	s := dialing(t, "192.0.2.1:443")
	s.ring = a.ring(0)
	s.Closed(relay.Summary{Reason: relay.ClientClosed, Phase: relay.PhaseRelay})
	s.ring.done()
	s.ring.written.Store(0)
	s.ring.read.Store(0)
	s.Open()
	s.Closed(relay.Summary{Reason: relay.ClientGone, Phase: relay.PhaseHello, Hello: -1, Dial: -1})
	got := string(appendRecord(nil, Text, s.ring.next(), nil))
	if want := `time=0001-01-01T00:00:00.000Z client= reason=client_gone phase=hello up=0 down=0 total_ms=0.000` + "\n"; got != want {
		t.Errorf("second record is\n     %s\nwant %s", got, want)
	}
}
