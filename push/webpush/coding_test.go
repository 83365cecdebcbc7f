package webpush

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// bytes64 is what base64url text stands for; spaces and line breaks are the test's.
func bytes64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := decode64(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatalf("decode64(%q): %v", text, err)
	}
	return b
}

// coded are the examples of RFC 8188 section 3.
var coded = []struct{ name, ikm, body, keyID, want string }{
	{
		"3.1 one record", "yqdlZ-tYemfogSmv7Ws5PQ",
		"I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg", "", "I am the walrus",
	},
	{
		"3.2 two records of 25 bytes, padded", "BO3ZVPxUlnLORbVGMpbT1Q",
		"uNCkWiNYzKTnBN9ji3-qWAAAABkCYTHOG8chz_gnvgOqdGYovxyjuqRyJFjEDyoF1Fvkj6hQPdPHI51OEUKEpgz3SsLWIqS_uA", "a1", "I am the walrus",
	},
}

// openCoded reads a body with known keying material.
func openCoded(t testing.TB, ikm, body []byte) (keyID, content []byte, err error) {
	t.Helper()
	h, records, err := parseHeader(body)
	if err != nil {
		return nil, nil, err
	}
	c, err := newCoder(ikm, h.salt)
	if err != nil {
		t.Fatalf("newCoder: %v", err)
	}
	content, err = c.open(records, h.recordSize)
	return h.keyID, content, err
}

func TestTheExamplesOfRFC8188AreRead(t *testing.T) {
	for _, c := range coded {
		keyID, content, err := openCoded(t, bytes64(t, c.ikm), bytes64(t, c.body))
		if err != nil || string(content) != c.want || string(keyID) != c.keyID {
			t.Errorf("%s: key id %q, content %q, %v, want %q, %q", c.name, keyID, content, err, c.keyID, c.want)
		}
	}
}

func TestABodyCutOffAnywhereIsRefused(t *testing.T) {
	for _, c := range coded {
		body := bytes64(t, c.body)
		for length := range len(body) {
			if _, content, err := openCoded(t, bytes64(t, c.ikm), body[:length]); err == nil {
				t.Errorf("%s: the first %d of %d bytes open as %q, want an error", c.name, length, len(body), content)
			}
		}
	}
}

// seal writes a body of records, each of them content, delimiter and padding.
func seal(t testing.TB, size uint32, records ...string) []byte {
	t.Helper()
	h := header{salt: make([]byte, saltSize), recordSize: size}
	c, err := newCoder(ikm, h.salt)
	if err != nil {
		t.Fatalf("newCoder: %v", err)
	}
	body := h.append(nil)
	for i, r := range records {
		body = c.aead.Seal(body, c.nonceOf(uint32(i)), []byte(r), nil)
	}
	return body
}

var ikm = make([]byte, 16)

func TestPaddingEndsAtItsDelimiter(t *testing.T) {
	for _, c := range []struct {
		name    string
		size    uint32
		records []string
		want    string // of the content, or of the error after "error: "
	}{
		{"no padding", 100, []string{"abc\x02"}, "abc"},
		{"padding", 100, []string{"abc\x02\x00\x00\x00"}, "abc"},
		{"empty", 100, []string{"\x02"}, ""},
		{"zeros in front of the delimiter are content", 100, []string{"\x00\x00\x02\x00"}, "\x00\x00"},
		{"content that looks like a delimiter", 100, []string{"\x02\x02"}, "\x02"},
		{"a record as large as it may be", 20, []string{"abc\x02"}, "abc"},
		{"the smallest records", 18, []string{"a\x01", "b\x01", "c\x02"}, "abc"},
		{"a record of padding only", 18, []string{"a\x01", "\x01\x00", "\x02"}, "a"},
		{"no delimiter", 100, []string{"\x00\x00"}, "error: record 0: no delimiter in front of the padding"},
		{"nothing sealed", 100, []string{""}, "error: record 0: no delimiter in front of the padding"},
		{"another delimiter", 100, []string{"abc\x03"}, "error: record 0: delimiter is 3, want 1 or 2"},
		{"another in the middle", 18, []string{"a\x07", "b\x02"}, "error: record 0: delimiter is 7, want 1 or 2"},
		{"the end is missing", 18, []string{"a\x01", "b\x01"}, "error: record 1: last record says that more follow: the body is cut off"},
		{"more after the end", 18, []string{"a\x02", "b\x02"}, "error: record 0: bytes after the record that says it is the last"},
		{"no record", 18, nil, "error: body ends before its first record"},
	} {
		_, content, err := openCoded(t, ikm, seal(t, c.size, c.records...))
		got := string(content)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%s: open = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestRecordsInAnotherOrderAreRefused(t *testing.T) {
	body := seal(t, 18, "a\x01", "b\x01", "c\x02")
	records := body[fixedSize:]
	swapped := bytes.Join([][]byte{body[:fixedSize], records[18:36], records[:18], records[36:]}, nil)
	if _, content, err := openCoded(t, ikm, swapped); !errors.Is(err, ErrDecrypt) {
		t.Errorf("open with two records swapped = %q, %v, want %v", content, err, ErrDecrypt)
	}
}

func TestAHeaderThatCannotBeIsRefused(t *testing.T) {
	withSize := func(size uint32) []byte {
		return append(binary.BigEndian.AppendUint32(make([]byte, saltSize), size), 0)
	}
	for _, c := range []struct {
		name string
		body []byte
		want string
	}{
		{"nothing", nil, "body of 0 bytes ends in its header of 21 or more"},
		{"20 bytes", make([]byte, 20), "body of 20 bytes ends in its header of 21 or more"},
		{"key id cut off", append(withSize(4096)[:20], 3, 'a', 'b'), "body of 23 bytes ends in its header of 24"},
		{"record size 0", withSize(0), "record size is 0, want 18 or more"},
		{"record size 17", withSize(17), "record size is 17, want 18 or more"},
	} {
		if _, _, err := parseHeader(c.body); err == nil || err.Error() != c.want {
			t.Errorf("%s: parseHeader = %v, want %q", c.name, err, c.want)
		}
	}
}
