package sni

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
)

// seeds returns the captured hellos, some of them in other records, and the ways to be refused.
func seeds(f *testing.F) [][]byte {
	f.Helper()
	var all [][]byte
	for _, c := range loadCaptured(f) {
		all = append(all, c.bytes, c.bytes[:len(c.bytes)/2], reframe(deframe(c.bytes), every(200)))
	}
	return append(all,
		[]byte("GET / HTTP/1.1\r\n\r\n"),
		[]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
		[]byte("SSH-2.0-x\r\n"),
		[]byte("\x80\x2e\x01\x00\x02"),
		[]byte("\x15\x03\x01\x00\x02\x01\x00"),
		draft{}.bytes(),
		reframe(draft{}.message(), every(1)),
		draft{extensions: serverName("a.example.")}.bytes(),
		draft{extensions: extension(extServerName, prefixed(2, append(hostName("a"), hostName("b")...)))}.bytes(),
		crowded(40, false),
		crowded(40, true),
	)
}

// FuzzParse checks what holds for any bytes: the verdict does not depend on segmentation, records
// or what was passed before, comes once, and stays.
func FuzzParse(f *testing.F) {
	for i, b := range seeds(f) {
		f.Add(b, uint64(i), 0)
		f.Add(b, uint64(i), 300)
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, limit int) {
		r := rand.New(rand.NewPCG(seed, 0))
		whole := Parser{Limit: limit}
		want, wantErr := whole.Parse(b)
		if wantErr == ErrNeedMore && len(b) >= whole.limit() {
			t.Errorf("Parse of %d bytes = %v, want a verdict: the limit is %d", len(b), wantErr, whole.limit())
		}
		checkPrefixes(t, b, limit, want, wantErr)
		// A prefix on its own, and then the rest at once.
		p := Parser{Limit: limit}
		if _, err := p.Parse(b[:r.IntN(len(b)+1)]); err != ErrNeedMore && !alike(err, wantErr) {
			t.Errorf("Parse of a prefix = %v, want %v or %v", err, ErrNeedMore, wantErr)
		}
		if got, err := p.Parse(b); err != wantErr || !reflect.DeepEqual(got, want) {
			t.Errorf("Parse in two steps = %+v, %v, want %+v, %v", got, err, want, wantErr)
		}
		checkReframed(t, b, r)
	})
}

// alike reports whether two verdicts are the same. What is not TLS may be named only by the longer
// of two readings.
func alike(a, b error) bool { return a == b || errors.Is(a, ErrNotTLS) && errors.Is(b, ErrNotTLS) }

// checkPrefixes feeds b byte by byte: ErrNeedMore until the verdict, which is that on the whole and
// stays.
func checkPrefixes(t *testing.T, b []byte, limit int, want Hello, wantErr error) {
	t.Helper()
	p := Parser{Limit: limit}
	final := false
	for at := range len(b) + 1 {
		got, err := p.Parse(b[:at])
		if err == ErrNeedMore && !final && (at < len(b) || wantErr == ErrNeedMore) {
			continue
		}
		final = true
		if !alike(err, wantErr) || !reflect.DeepEqual(got, want) {
			t.Fatalf("Parse after %d of %d bytes = %+v, %v, want %+v, %v", at, len(b), got, err, want, wantErr)
		}
	}
}

// checkReframed puts the message of b, if it has one that Parse would come to read, into other
// records.
func checkReframed(t *testing.T, b []byte, r *rand.Rand) {
	t.Helper()
	const noLimit = 1 << 30 // new headers take room
	one := Parser{Limit: noLimit}
	whole, err := one.Parse(b)
	message := deframe(b)
	if message == nil || message[0] != typeClientHello {
		if err == nil {
			t.Errorf("Parse = %+v, but there is no ClientHello in %x", whole, b)
		}
		return
	}
	want, wantErr := ParseMessage(message)
	if err == nil && (wantErr != nil || !reflect.DeepEqual(whole, want)) {
		t.Errorf("Parse = %+v, but the message alone reads %+v, %v", whole, want, wantErr)
	}
	for _, size := range []func(int) int{every(1), every(maxRecord), atRandom(r)} {
		p := Parser{Limit: noLimit}
		if got, err := p.Parse(reframe(message, size)); err != wantErr || !reflect.DeepEqual(got, want) {
			t.Errorf("in other records: Parse = %+v, %v, want %+v, %v", got, err, want, wantErr)
		}
	}
}

// FuzzAgainstCryptoTLS checks that crypto/tls reads the same in the same bytes.
func FuzzAgainstCryptoTLS(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { compare(t, "input", b) })
}
