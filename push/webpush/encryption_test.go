package webpush

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
)

// The example of RFC 8291 section 5, with the values of its appendix A.
const (
	rfc8291Plain    = "When I grow up, I want to be a watermelon"
	rfc8291Sender   = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
	rfc8291Receiver = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
	rfc8291Public   = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
	rfc8291Auth     = "BTBZMqHH6r4Tts7J_aSIgg"
	rfc8291Salt     = "DGv6ra1nlYgDCS1FRnbzlw"
	rfc8291Body     = `DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml
		mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT
		pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN`
)

func privateKey(t testing.TB, text string) *ecdh.PrivateKey {
	t.Helper()
	key, err := ecdh.P256().NewPrivateKey(bytes64(t, text))
	if err != nil {
		t.Fatalf("NewPrivateKey(%q): %v", text, err)
	}
	return key
}

func TestTheExampleOfRFC8291IsWrittenAndRead(t *testing.T) {
	receiver, auth, body := privateKey(t, rfc8291Receiver), bytes64(t, rfc8291Auth), bytes64(t, rfc8291Body)
	if got := receiver.PublicKey().Bytes(); !bytes.Equal(got, bytes64(t, rfc8291Public)) {
		t.Fatalf("public key is %x, want %s", got, rfc8291Public)
	}
	plain, err := Decrypt(receiver, auth, body)
	if err != nil || string(plain) != rfc8291Plain {
		t.Errorf("Decrypt = %q, %v, want %q", plain, err, rfc8291Plain)
	}
	got, err := encrypt(bytes64(t, rfc8291Public), auth, []byte(rfc8291Plain), privateKey(t, rfc8291Sender), bytes64(t, rfc8291Salt))
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("encrypt = %x, %v, want %x", got, err, body)
	}
}

// subscription is what a terminal makes for itself.
func subscription(t testing.TB) (key *ecdh.PrivateKey, auth []byte) {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	auth = make([]byte, authSize)
	rand.Read(auth)
	return key, auth
}

func TestWhatIsEncryptedIsReadByItsReceiverAlone(t *testing.T) {
	key, auth := subscription(t)
	otherKey, otherAuth := subscription(t)
	for _, length := range []int{0, 1, 15, 16, 17, 4095, 4096, 100_000} {
		plain := bytes.Repeat([]byte{'p'}, length)
		body, err := Encrypt(key.PublicKey().Bytes(), auth, plain)
		if err != nil || len(body) != length+103 {
			t.Fatalf("Encrypt of %d bytes = %d bytes, %v, want %d", length, len(body), err, length+103)
		}
		if got, err := Decrypt(key, auth, body); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("Decrypt of %d bytes = %d bytes, %v, want them back", length, len(got), err)
		}
		if got, err := Decrypt(otherKey, auth, body); !errors.Is(err, ErrDecrypt) {
			t.Errorf("Decrypt with another key = %q, %v, want %v", got, err, ErrDecrypt)
		}
		if got, err := Decrypt(key, otherAuth, body); !errors.Is(err, ErrDecrypt) {
			t.Errorf("Decrypt with another secret = %q, %v, want %v", got, err, ErrDecrypt)
		}
	}
}

func TestAChangedOrTruncatedMessageIsRefused(t *testing.T) {
	key, auth, body := privateKey(t, rfc8291Receiver), bytes64(t, rfc8291Auth), bytes64(t, rfc8291Body)
	// The record size is no part of what is sealed; a larger one means the same.
	recordSize := func(i int) bool { return i >= saltSize && i < saltSize+4 }
	for i := range body {
		if recordSize(i) {
			continue
		}
		changed := bytes.Clone(body)
		changed[i] ^= 0x40
		if got, err := Decrypt(key, auth, changed); err == nil {
			t.Errorf("Decrypt with byte %d changed = %q, want an error", i, got)
		}
	}
	for length := range body {
		if got, err := Decrypt(key, auth, body[:length]); err == nil {
			t.Errorf("Decrypt of the first %d bytes = %q, want an error", length, got)
		}
	}
}

func TestKeysThatCannotBeAreRefused(t *testing.T) {
	key, auth := subscription(t)
	public, body := key.PublicKey().Bytes(), bytes64(t, rfc8291Body)
	other, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	offCurve := bytes.Clone(body)
	offCurve[fixedSize+1] ^= 1
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"curve", second(Decrypt(other, auth, body)), "key is on X25519, want P-256"},
		{"secret", second(Decrypt(key, auth[1:], body)), "authentication secret of 15 bytes, want 16"},
		{"sender", second(Decrypt(key, auth, offCurve)), "sender's key in the header (65 bytes): "},
		{"no sender", second(Decrypt(key, auth, seal(t, 100, "\x02"))), "sender's key in the header (0 bytes): "},
		{"p256dh", second(Encrypt(public[1:], auth, nil)), "p256dh of the subscription (64 bytes): "},
		{"auth", second(Encrypt(public, nil, nil)), "authentication secret of 0 bytes, want 16"},
	} {
		if c.err == nil || !strings.HasPrefix(c.err.Error(), c.want) {
			t.Errorf("%s: %v, want an error that begins %q", c.name, c.err, c.want)
		}
	}
}

func second(_ []byte, err error) error { return err }

// FuzzDecrypt checks that no body does harm, and that one which opens was made for the key: it has its 16 bytes of tag.
func FuzzDecrypt(f *testing.F) {
	key, auth := privateKey(f, rfc8291Receiver), bytes64(f, rfc8291Auth)
	body := bytes64(f, rfc8291Body)
	for _, b := range [][]byte{
		body, body[:fixedSize], body[:fixedSize+65], body[:len(body)-1], bytes64(f, coded[0].body), bytes64(f, coded[1].body),
		seal(f, 18, "a\x01", "b\x02"), nil,
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if plain, err := Decrypt(key, auth, b); err == nil && len(plain) >= len(b)-fixedSize-65-tagSize {
			t.Errorf("Decrypt of %d bytes = %d bytes, want fewer", len(b), len(plain))
		}
		// The same bytes as records under known keying material, so that the fuzzer reaches what an unknown key hides.
		h, records, err := parseHeader(b)
		if err != nil {
			return
		}
		c, err := newCoder(ikm, h.salt)
		if err != nil {
			t.Fatalf("newCoder: %v", err)
		}
		sealed := c.aead.Seal(nil, c.nonceOf(0), records, nil)
		content, err := c.open(sealed, h.recordSize)
		if err == nil && !bytes.HasPrefix(records, content) {
			t.Errorf("open = %q, want the start of %q", content, records)
		}
	})
}
