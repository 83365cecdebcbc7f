package keys

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// generate makes a key pair for a test.
func generate(t testing.TB) *Private {
	t.Helper()
	k, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPublicComesBackFromItsText(t *testing.T) {
	p := generate(t).Public()
	got, err := ParsePublic(p.String())
	if err != nil || got != p {
		t.Errorf("ParsePublic(%q) = %v, %v, want the key", p, got, err)
	}
	if len(p.Bytes()) != 130 || len(p.String()) != 174 {
		t.Errorf("a public key has %d bytes and %d characters, want 130 and 174", len(p.Bytes()), len(p.String()))
	}
	if want, err := p.SignKey().Bytes(); err != nil || !bytes.Equal(p.Bytes()[:65], want) {
		t.Errorf("Bytes starts with %x, want the signing point %x", p.Bytes()[:65], want)
	}
}

func TestParsePublicRefuses(t *testing.T) {
	p, other := generate(t).Public(), generate(t).Public()
	sign, seal := p.sign[:], p.seal[:]
	const (
		x      = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" // of the generator, SEC 2 section 2.4.2
		yWrong = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f6" // its y plus 1
		prime  = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"
		zero   = "0000000000000000000000000000000000000000000000000000000000000000"
	)
	text := func(points ...[]byte) string {
		return base64.RawURLEncoding.EncodeToString(bytes.Join(points, nil))
	}
	edited := func(i int, b byte) []byte {
		edit := bytes.Clone(sign)
		edit[i] = b
		return edit
	}
	for _, c := range []struct{ name, text string }{
		{"empty", ""},
		{"one point", text(sign)},
		{"129 bytes", text(sign, seal[:64])},
		{"131 bytes", text(sign, seal, []byte{0})},
		{"three points", text(sign, seal, other.sign[:])},
		{"padded", text(sign, seal) + "=="},
		{"stray bits at the end", stray(t, text(sign, seal))},
		{"line break", text(sign, seal)[:173] + "\n"},
		{"line break more", text(sign, seal) + "\n"},
		{"hexadecimal", strings.Repeat("04", 130)},
		{"alphabet of RFC 4648 section 4", "+/" + text(sign, seal)[2:]},
		{"signing point off the curve", text(unhex(t, "04"+x+yWrong), seal)},
		{"sealing point off the curve", text(sign, unhex(t, "04"+x+yWrong))},
		{"x is the prime", text(unhex(t, "04"+prime+yWrong), seal)},
		{"sealing x is the prime", text(sign, unhex(t, "04"+prime+yWrong))},
		{"signing point at infinity", text(make([]byte, 65), seal)},
		{"sealing point at infinity", text(sign, make([]byte, 65))},
		{"zero coordinates", text(unhex(t, "04"+zero+zero), seal)},
		{"compressed", text(edited(0, 2), seal)},
		{"hybrid", text(edited(0, 6), seal)},
		{"one bit of y", text(edited(64, sign[64]^1), seal)},
		{"the same point twice", text(sign, sign)},
	} {
		if got, err := ParsePublic(c.text); err == nil || got != (Public{}) {
			t.Errorf("%s: ParsePublic(%q) = %v, %v, want no key and an error", c.name, c.text, got, err)
		}
	}
}

// stray sets a bit in the last character of base64url that is in no byte.
func stray(t testing.TB, text string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(text) - 1
	edited := text[:last] + string(alphabet[strings.IndexByte(alphabet, text[last])|1])
	want, _ := base64.RawURLEncoding.DecodeString(text)
	if got, err := base64.RawURLEncoding.DecodeString(edited); edited == text || err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%q is not another text of the bytes of %q", edited, text)
	}
	return edited
}

func TestZeroPublicIsNoKey(t *testing.T) {
	var p Public
	if p.SignKey() != nil {
		t.Errorf("SignKey() of the zero Public = %v, want nil", p.SignKey())
	}
	if p.Verify(make([]byte, 64), "c") {
		t.Error("the zero Public verifies zeros")
	}
	if _, err := p.Seal("i", nil); err == nil {
		t.Error("the zero Public seals")
	}
	if _, err := ParsePublic(p.String()); err == nil {
		t.Error("ParsePublic takes the text of the zero Public")
	}
}

func TestKIDIsHexadecimal(t *testing.T) {
	p := generate(t).Public()
	thumbprint := p.Thumbprint()
	kid := p.KID()
	if !bytes.Equal(kid[:], thumbprint[:8]) {
		t.Errorf("KID() = %s, want the start of %x", kid, thumbprint)
	}
	var got KID
	if err := got.UnmarshalText([]byte(kid.String())); err != nil || got != kid {
		t.Errorf("UnmarshalText(%q) = %s, %v, want the id", kid, got, err)
	}
	for _, text := range []string{"", "00", "0011223344556677 ", "001122334455667g", "001122334455667788", strings.Repeat("0", 1<<16)} {
		if err := got.UnmarshalText([]byte(text)); err == nil || len(err.Error()) > 200 {
			t.Errorf("UnmarshalText(%.40q) = %v, want a short error", text, err)
		}
		if got != kid {
			t.Fatalf("UnmarshalText(%.40q) set the id to %s, want it left alone", text, got)
		}
	}
}

func FuzzParsePublic(f *testing.F) {
	k := generate(f)
	valid := k.Public().String()
	f.Add(valid)
	f.Add(valid[:173])
	f.Add(valid + "=")
	f.Add(stray(f, valid))
	f.Add("")
	f.Add(base64.RawURLEncoding.EncodeToString(append(k.public.seal[:], k.public.sign[:]...)))
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, 130)))
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePublic(text)
		if err != nil {
			return
		}
		if p.String() != text {
			t.Fatalf("ParsePublic(%q) is the key %q: two texts of one key", text, p)
		}
		if p.SignKey() == nil {
			t.Fatalf("SignKey() of %q = nil, want a key", text)
		}
		if _, err := p.Seal("i", nil); err != nil {
			t.Fatalf("Seal to %q: %v", text, err)
		}
	})
}
