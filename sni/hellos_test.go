package sni

import (
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const helloDir = "../testdata/hellos"

// captured is one hello of testdata/hellos and what crypto/tls reads in it.
type captured struct {
	File       string
	Client     string
	ServerName string `json:"server_name"`
	ALPN       []string
	Versions   []string
	ECH        bool
	JA4        string

	bytes []byte
}

// loadCaptured returns every hello of the index. It fails the test when there is none, so that
// nothing that is seeded with them passes by testing nothing.
func loadCaptured(t testing.TB) []captured {
	t.Helper()
	index, err := os.ReadFile(filepath.Join(helloDir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []captured
	if err := json.Unmarshal(index, &all); err != nil {
		t.Fatalf("%s: %v", helloDir, err)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no hellos", helloDir)
	}
	for i := range all {
		text, err := os.ReadFile(filepath.Join(helloDir, all[i].File))
		if err != nil {
			t.Fatal(err)
		}
		all[i].bytes, err = hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
		if err != nil {
			t.Fatalf("%s: %v", all[i].File, err)
		}
	}
	return all
}

// load returns the bytes of one captured hello.
func load(t testing.TB, file string) []byte {
	t.Helper()
	for _, c := range loadCaptured(t) {
		if c.File == file {
			return c.bytes
		}
	}
	t.Fatalf("%s has no %s", helloDir, file)
	return nil
}

// draft is a ClientHello to be. Its zero value is the least that is valid: TLS 1.2, one suite, no
// extensions block.
type draft struct {
	session     []byte
	suites      []byte // nil: one suite
	compression []byte // nil: none but null
	extensions  []byte // nil: no block; else without its length
	trailer     []byte // behind all else
}

// testRandom is the random of every draft.
var testRandom = []byte("0123456789abcdef0123456789ABCDEF")

func (d draft) body() []byte {
	if d.suites == nil {
		d.suites = []byte{0xc0, 0x2f}
	}
	if d.compression == nil {
		d.compression = []byte{0}
	}
	b := append([]byte{3, 3}, testRandom...)
	b = append(b, prefixed(1, d.session)...)
	b = append(b, prefixed(2, d.suites)...)
	b = append(b, prefixed(1, d.compression)...)
	if d.extensions != nil {
		b = append(b, prefixed(2, d.extensions)...)
	}
	return append(b, d.trailer...)
}

// message returns the handshake message.
func (d draft) message() []byte { return append([]byte{1}, prefixed(3, d.body())...) }

// bytes returns the message in one record.
func (d draft) bytes() []byte { return record(d.message()) }

// prefixed returns data behind its length in size bytes.
func prefixed(size int, data []byte) []byte {
	var b []byte
	for shift := 8 * (size - 1); shift >= 0; shift -= 8 {
		b = append(b, byte(len(data)>>shift))
	}
	return append(b, data...)
}

func record(payload []byte) []byte {
	return append([]byte{22, 3, 1}, prefixed(2, payload)...)
}

func extension(typ uint16, data []byte) []byte {
	return append([]byte{byte(typ >> 8), byte(typ)}, prefixed(2, data)...)
}

// serverName returns the extension with one host_name.
func serverName(name string) []byte { return extension(extServerName, prefixed(2, hostName(name))) }

func hostName(name string) []byte { return append([]byte{0}, prefixed(2, []byte(name))...) }

// reframe cuts a message into records whose payloads size says, which gets the number of bytes
// left.
func reframe(message []byte, size func(left int) int) []byte {
	var b []byte
	for len(message) > 0 {
		n := min(size(len(message)), len(message), maxRecord)
		b = append(b, record(message[:n])...)
		message = message[n:]
	}
	return b
}

func every(n int) func(int) int { return func(int) int { return n } }

// atRandom returns small sizes as often as large ones.
func atRandom(r *rand.Rand) func(int) int {
	return func(left int) int { return 1 + r.IntN(1<<r.IntN(15)) }
}

// deframe is the plain way to take a handshake message out of its records. It returns nil when b
// does not hold a whole message in handshake records.
func deframe(b []byte) []byte {
	var message []byte
	for len(b) >= 5 && b[0] == typeHandshake {
		n := int(b[3])<<8 | int(b[4])
		message = append(message, b[5:min(5+n, len(b))]...)
		if len(message) >= 4 {
			want := 4 + int(message[1])<<16 + int(message[2])<<8 + int(message[3])
			if len(message) >= want {
				return message[:want]
			}
		}
		b = b[min(5+n, len(b)):]
	}
	return nil
}
