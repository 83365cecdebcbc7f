package keys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPrivateComesBackFromItsBytes(t *testing.T) {
	k := generate(t)
	got, err := ParsePrivate(k.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got.Public() != k.Public() || !bytes.Equal(got.Bytes(), k.Bytes()) {
		t.Errorf("ParsePrivate(k.Bytes()) is the key %s, want %s", got.Public().KID(), k.Public().KID())
	}
	if n := len(k.Bytes()); n != 64 {
		t.Errorf("a private key has %d bytes, want 64", n)
	}
}

func TestParsePrivateRefuses(t *testing.T) {
	const order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
	b := generate(t).Bytes()
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"nothing", nil},
		{"63 bytes", b[:63]},
		{"65 bytes", append(bytes.Clone(b), 0)},
		{"a signing scalar of 0", append(make([]byte, 32), b[32:]...)},
		{"a sealing scalar of 0", append(bytes.Clone(b[:32]), make([]byte, 32)...)},
		{"a signing scalar of the order", append(unhex(t, order), b[32:]...)},
		{"a sealing scalar of the order", append(bytes.Clone(b[:32]), unhex(t, order)...)},
		{"one scalar for both", append(bytes.Clone(b[:32]), b[:32]...)},
	} {
		if k, err := ParsePrivate(c.bytes); err == nil || k != nil {
			t.Errorf("%s: ParsePrivate = %v, %v, want no key and an error", c.name, k, err)
		}
	}
}

// TestSignatureByteByByte checks a signature without the code under test: the
// digest from its description, and r and s as WebCrypto has them.
func TestSignatureByteByByte(t *testing.T) {
	k := generate(t)
	signature, err := k.Sign("keyhole test", []byte("one"), nil, []byte("three"))
	if err != nil || len(signature) != 64 {
		t.Fatalf("Sign = %d bytes, %v, want 64", len(signature), err)
	}
	digest := sha256.Sum256([]byte("keyhole test\x00" + "\x00\x00\x00\x03one" + "\x00\x00\x00\x00" + "\x00\x00\x00\x05three"))
	if !ecdsa.VerifyASN1(k.Public().SignKey(), digest[:], der(t, signature)) {
		t.Errorf("signature %x is not one of r || s over %x", signature, digest)
	}
}

// der writes r || s as ASN.1 (RFC 3279 section 2.2.3).
func der(t *testing.T, signature []byte) []byte {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(signature[:32]))
		b.AddASN1BigInt(new(big.Int).SetBytes(signature[32:]))
	})
	return b.BytesOrPanic()
}

func TestSignatureHoldsForItsContextAndPartsAlone(t *testing.T) {
	k := generate(t)
	signature, err := k.Sign("context", []byte("ab"), []byte("c"))
	if err != nil {
		t.Fatal(err)
	}
	if !k.Public().Verify(signature, "context", []byte("ab"), []byte("c")) {
		t.Fatal("Verify = false for what was signed, want true")
	}
	parts := func(all ...string) (b [][]byte) {
		for _, part := range all {
			b = append(b, []byte(part))
		}
		return b
	}
	for _, c := range []struct {
		name, context string
		parts         [][]byte
	}{
		{"no parts", "context", nil},
		{"another context", "contexts", parts("ab", "c")},
		{"a part more", "context", parts("ab", "c", "")},
		{"a part less", "context", parts("ab")},
		{"parts in another order", "context", parts("c", "ab")},
		{"a byte in another part", "context", parts("a", "bc")},
		{"parts in one", "context", parts("abc")},
		{"a part in the context", "context\x00\x00\x00\x00\x02ab", parts("c")},
	} {
		if k.Public().Verify(signature, c.context, c.parts...) {
			t.Errorf("%s: Verify = true, want false", c.name)
		}
	}
	if generate(t).Public().Verify(signature, "context", []byte("ab"), []byte("c")) {
		t.Error("another key: Verify = true, want false")
	}
}

func TestVerifyRefusesWhatIsNoSignature(t *testing.T) {
	k := generate(t)
	signature, err := k.Sign("context")
	if err != nil {
		t.Fatal(err)
	}
	zero, ones := make([]byte, 32), bytes.Repeat([]byte{255}, 32)
	r, s := signature[:32], signature[32:]
	for _, c := range []struct {
		name      string
		signature []byte
	}{
		{"nothing", nil},
		{"63 bytes", signature[:63]},
		{"65 bytes", append(bytes.Clone(signature), 0)},
		{"ASN.1", der(t, signature)},
		{"zeros", make([]byte, 64)},
		{"r is 0", append(bytes.Clone(zero), s...)},
		{"s is 0", append(bytes.Clone(r), zero...)},
		{"r past the order", append(bytes.Clone(ones), s...)},
		{"s past the order", append(bytes.Clone(r), ones...)},
		{"s before r", append(bytes.Clone(s), r...)},
	} {
		if k.Public().Verify(c.signature, "context") {
			t.Errorf("%s: Verify = true, want false", c.name)
		}
	}
	for i := range signature {
		edit := bytes.Clone(signature)
		edit[i] ^= 1 << (i % 8)
		if k.Public().Verify(edit, "context") {
			t.Errorf("one bit of byte %d: Verify = true, want false", i)
		}
	}
}

func TestK7PayloadIsSealedToOneKeyAndUse(t *testing.T) {
	k := generate(t)
	sealed, err := k.Public().Seal("use", []byte("payload"))
	if err != nil || len(sealed) != len("payload")+81 {
		t.Fatalf("Seal = %d bytes, %v, want %d", len(sealed), err, len("payload")+81)
	}
	if got, err := k.Open("use", sealed); err != nil || string(got) != "payload" {
		t.Errorf("Open = %q, %v, want the payload", got, err)
	}
	if got, err := k.Open("another use", sealed); err == nil {
		t.Errorf("Open for another use = %q, want an error", got)
	}
	if got, err := generate(t).Open("use", sealed); err == nil {
		t.Errorf("Open with another key = %q, want an error", got)
	}
	for n := range sealed {
		if got, err := k.Open("use", sealed[:n]); err == nil {
			t.Errorf("Open of the first %d bytes = %q, want an error", n, got)
		}
		edit := bytes.Clone(sealed)
		edit[n] ^= 1 << (n % 8)
		if got, err := k.Open("use", edit); err == nil {
			t.Errorf("Open with one bit of byte %d changed = %q, want an error", n, got)
		}
	}
}

// TestSealIsHPKEOfRFC9180 opens with a recipient of another's making: the
// sealing half must be the second 32 bytes, and the suite DHKEM(P-256,
// HKDF-SHA256) 0x0010, HKDF-SHA256 0x0001, AES-128-GCM 0x0001.
func TestSealIsHPKEOfRFC9180(t *testing.T) {
	k := generate(t)
	sealed, err := k.Public().Seal("use", []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	kem, err := hpke.NewKEM(0x0010)
	if err != nil {
		t.Fatal(err)
	}
	kdf, err := hpke.NewKDF(0x0001)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := hpke.NewAEAD(0x0001)
	if err != nil {
		t.Fatal(err)
	}
	key, err := kem.NewPrivateKey(k.Bytes()[32:])
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := hpke.NewRecipient(sealed[:65], key, kdf, aead, []byte("use"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := recipient.Open(nil, sealed[65:]); err != nil || string(got) != "payload" {
		t.Errorf("a recipient of RFC 9180 reads %q, %v, want the payload", got, err)
	}
	if _, err := ecdh.P256().NewPublicKey(sealed[:65]); err != nil {
		t.Errorf("the payload starts with %x, want a point: %v", sealed[:65], err)
	}
}
