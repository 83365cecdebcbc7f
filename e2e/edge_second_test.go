package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keyhole/internal/testkit"
)

// An origin that takes P-384 only answers the hello of nearly every client with a
// HelloRetryRequest, and goes by the server name of the second hello. The two names are equally
// long, so that one can take the other's place.
const (
	openName   = "open.p384.example"
	secretName = "kept.p384.example"
)

// retrying is an s_server that takes P-384 only, and an edge with a route to it that is open and
// one that is not.
type retrying struct {
	*opensslOrigin
	*edge
	first, second []byte // the hellos of a client for openName, a record each
}

func retryingFor(t *testing.T, args ...string) retrying {
	t.Helper()
	o, err := shared.startOpenSSL("p384", append([]string{"-groups", "P-384", "-tls1_3"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	r := retrying{opensslOrigin: o, edge: planFor(t, plan{
		backends: "backends:\n  p384: {servers: [\"" + o.address + "\"]}\n",
		routes: route(openName, "p384") + route("*.p384.example", "p384") +
			"  - {sni: " + secretName + ", backend: p384, allow: [192.0.2.0/24]}\n",
	})}
	r.first, r.second = r.hellos(t)
	return r
}

// hellos are those of a Go client that talks to the origin itself.
func (r retrying) hellos(t *testing.T) (first, second []byte) {
	t.Helper()
	plain, err := net.Dial("tcp", r.origin.address)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	c := &recorder{Conn: plain}
	if err := tls.Client(c, r.client(openName)).Handshake(); err != nil {
		t.Fatal(err)
	}
	sent := bytes.NewReader(c.wrote.Bytes())
	for second == nil {
		record, err := readRecord(sent)
		if err != nil {
			t.Fatalf("the client sent no second hello: %v", err)
		}
		switch {
		case record[0] == 22 && first == nil:
			first = record
		case record[0] == 22:
			second = record
		}
	}
	return first, second
}

// client offers a share of X25519, and could do P-384.
func (r retrying) client(name string) *tls.Config {
	return &tls.Config{
		RootCAs: shared.ca.pool, ServerName: name, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384},
	}
}

// renamed is a hello that names the secret host.
func renamed(hello []byte) []byte {
	return bytes.Replace(hello, []byte(openName), []byte(secretName), 1)
}

var changeCipherSpec = []byte{20, 3, 3, 0, 1, 1}

// inRecords cuts a record's payload into records of n bytes.
func inRecords(record []byte, n int) (cut []byte) {
	for part := range slices.Chunk(record[5:], n) {
		cut = append(cut, record[0], 3, 3)
		cut = binary.BigEndian.AppendUint16(cut, uint16(len(part)))
		cut = append(cut, part...)
	}
	return cut
}

// The ways in which a second hello can follow a first. Early data comes between them from a client
// that resumes, and a dummy change_cipher_spec from nearly all (RFC 8446 appendix D.4).
var ways = []struct {
	name   string
	waits  bool // for the HelloRetryRequest
	refuse bool // OpenSSL does not take it
	behind func(second []byte) []byte
}{
	{"as-it-is", true, false, func(b []byte) []byte { return b }},
	{"behind-change-cipher-spec", true, false, func(b []byte) []byte { return slices.Concat(changeCipherSpec, b) }},
	{"records-of-1", true, false, func(b []byte) []byte { return inRecords(b, 1) }},
	{"records-of-100", true, false, func(b []byte) []byte { return inRecords(b, 100) }},
	{"one-segment", false, false, func(b []byte) []byte { return b }},
	{"one-segment-behind-change-cipher-spec", false, false, func(b []byte) []byte { return slices.Concat(changeCipherSpec, b) }},
	{"one-segment-records-of-1", false, false, func(b []byte) []byte { return inRecords(b, 1) }},
	{"behind-early-data", true, true, func(b []byte) []byte {
		return slices.Concat([]byte{23, 3, 3, 0, 4, 1, 2, 3, 4}, b)
	}},
	{"behind-an-alert", true, true, func(b []byte) []byte {
		return slices.Concat([]byte{21, 3, 3, 0, 2, 1, 90}, b) // a warning, user_canceled
	}},
}

// say sends both hellos and returns what comes back: until the origin's ServerHello is there, or to
// the end.
func (r retrying) say(t *testing.T, way int, second []byte) (answers []byte) {
	t.Helper()
	c := testkit.Dial(t, r.edge.address)
	defer c.Close()
	w := ways[way]
	if !w.waits {
		c.SendBytes(append(bytes.Clone(r.first), w.behind(second)...))
	} else {
		c.SendBytes(r.first)
		retry, err := readRecord(c)
		if err != nil || !isRetry(retry) {
			t.Fatalf("%s: got %x (%v), want a HelloRetryRequest", w.name, retry, err)
		}
		c.SendBytes(w.behind(second))
	}
	for {
		record, err := readRecord(c)
		if errors.Is(err, io.EOF) {
			return answers
		}
		if err != nil {
			t.Fatalf("%s: %v after %x", w.name, err, answers)
		}
		answers = append(answers, record...)
		if isServerHello(record) {
			return answers
		}
	}
}

// A ServerHello and a HelloRetryRequest differ in their random: the SHA-256 of "HelloRetryRequest".
var retryRandom = []byte{0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11}

func isRetry(record []byte) bool {
	return record[0] == 22 && record[5] == 2 && bytes.HasPrefix(record[11:], retryRandom)
}

func isServerHello(record []byte) bool { return record[0] == 22 && record[5] == 2 && !isRetry(record) }

// A client cannot get past `allow` by naming an open host first: its second hello goes nowhere.
func TestSecondHelloForAnotherName(t *testing.T) {
	r := retryingFor(t)
	illegalParameter := []byte{21, 3, 3, 0, 2, 2, 47}
	for i, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			if !w.refuse {
				// The way is one that the origin takes, when the name stays.
				if got := r.say(t, i, r.second); len(got) == 0 || got[len(got)-1] == 47 {
					t.Errorf("a second hello with the same name: got %x, want a ServerHello", got)
				}
				r.edge.expectRelayed(t, r.origin, openName, 1)
			}
			got := r.say(t, i, renamed(r.second))
			for len(got) > 0 && !bytes.Equal(got, illegalParameter) {
				record, err := readRecord(bytes.NewReader(got))
				if err != nil || isServerHello(record) {
					break
				}
				got = got[len(record):]
			}
			if !bytes.Equal(got, illegalParameter) {
				t.Errorf("got %x in the end, want illegal_parameter", got)
			}
			r.edge.only(t, openName, "name_changed")
		})
	}
	if found, _, _ := r.records.take(secretName, 0); len(found) > 0 {
		t.Errorf("records %+v, want none for %s", found, secretName)
	}
}

// The first hello's record may hold the second too.
func TestSecondHelloInTheSameRecord(t *testing.T) {
	r := retryingFor(t)
	record := slices.Concat(r.first, renamed(r.second)[5:])
	binary.BigEndian.PutUint16(record[3:], uint16(len(record)-5))
	for _, size := range []int{1, 100, 1 << 14} {
		c := testkit.Dial(t, r.edge.address)
		c.SendBytes(inRecords(record, size))
		all, err := io.ReadAll(c)
		if !bytes.HasSuffix(all, []byte{2, 47}) || bytes.Contains(all, []byte{22, 3, 3, 0, 155, 2}) {
			t.Errorf("records of %d: got %x (%v), want illegal_parameter", size, all, err)
		}
		c.Close()
		r.edge.only(t, openName, "name_changed")
	}
}

// Ordinary clients go through a HelloRetryRequest as they do without the edge.
func TestClientsGoThroughARetry(t *testing.T) {
	r := retryingFor(t, "-WWW")
	t.Run("openssl", func(t *testing.T) {
		host := r.host(t)
		text := getGreeting(t, r.edge, r.origin, host, "-trace")
		if n := strings.Count(text, "ClientHello, Length="); n != 2 {
			t.Errorf("s_client sent %d hellos, want 2:\n%s", n, text)
		}
		r.edge.expectRelayed(t, r.origin, host, 1)
	})
	t.Run("gnutls", func(t *testing.T) {
		host := r.host(t)
		p := testkit.LaunchFor(t, exec.Command("gnutls-cli", "--x509cafile", shared.ca.file, "--sni-hostname", host,
			"--verify-hostname", host, "--port", r.edge.port, "127.0.0.1",
			"--priority", "NORMAL:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP384R1"))
		p.Say(t, "GET /greeting HTTP/1.0\r\n\r\n")
		p.Expect(t, greeting)
		p.Status(t)
		r.edge.expectRelayed(t, r.origin, host, 1)
	})
	t.Run("curl", func(t *testing.T) {
		host := r.host(t)
		expectBlob(t, curl(t, r.edge, r.origin, "https://"+host+"/blob"))
		r.edge.expectRelayed(t, r.origin, host, 1)
	})
	for _, f := range framings {
		t.Run("go-"+f.name, func(t *testing.T) {
			host := r.host(t)
			transport := &http.Transport{DialContext: dialer(r.edge, f.wrap), TLSClientConfig: r.client(host)}
			answer, body := get(t, transport, "https://"+host+"/blob")
			if answer.TLS.CurveID != tls.CurveP384 || hexSum(body) != hexSum(shared.blob) {
				t.Errorf("the client agreed on %v and got %d bytes, want P-384 and the %d of the blob",
					answer.TLS.CurveID, len(body), len(shared.blob))
			}
			transport.CloseIdleConnections()
			r.edge.expectRelayed(t, r.origin, host, 1)
		})
	}
}

// Early data that the origin's HelloRetryRequest refuses lies between the two hellos.
func TestEarlyDataBeforeARetry(t *testing.T) {
	r := retryingFor(t, "-early_data")
	host := r.host(t)
	dir := t.TempDir()
	session, early := filepath.Join(dir, "session"), filepath.Join(dir, "early")
	if err := os.WriteFile(early, bytes.Repeat([]byte("said too early\n"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	first := sClient(t, r.edge, host, "-sess_out", session)
	first.Say(t, "hello\n")
	r.opensslOrigin.Expect(t, "hello")
	r.opensslOrigin.Say(t, "welcome\n")
	first.Expect(t, "welcome") // the ticket went before it, and is in the file
	first.Say(t, "Q\n")
	first.Status(t)

	second := sClient(t, r.edge, host, "-sess_in", session, "-early_data", early)
	second.Expect(t, "Early data was rejected")
	second.Say(t, "and said again\n")
	r.opensslOrigin.Expect(t, "and said again")
	second.Say(t, "Q\n")
	second.Status(t)
	r.edge.expectRelayed(t, r.origin, host, 2)
}
