package keys

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

const (
	pointSize     = 65 // 0x04, x and y: SEC 1 section 2.3.3, uncompressed
	scalarSize    = 32
	signatureSize = 2 * scalarSize // r and s
	publicSize    = 2 * pointSize
)

// Public is the public half of a key pair: one point of P-256 that checks
// signatures and another that payloads are sealed to. It is a plain value, so
// two of them are the same key when == says so. The zero Public is no key: it
// verifies nothing and seals nothing.
type Public struct {
	sign, seal [pointSize]byte
}

// ParsePublic reads what Public.String wrote: base64url without padding of
// the two points, 130 bytes. Both must be on the curve, neither at infinity,
// and they must differ, since one key for both uses is what this format is
// there to avoid.
func ParsePublic(text string) (Public, error) {
	raw, err := decode(text, base64.RawURLEncoding.EncodedLen(publicSize))
	if err != nil {
		return Public{}, fmt.Errorf("public key: %w", err)
	}
	if len(raw) != publicSize {
		return Public{}, fmt.Errorf("public key: %d bytes, want %d", len(raw), publicSize)
	}
	var p Public
	copy(p.sign[:], raw)
	copy(p.seal[:], raw[pointSize:])
	if _, err := parsePoint(p.sign[:]); err != nil {
		return Public{}, fmt.Errorf("public key: its signing point: %w", err)
	}
	if _, err := ecdh.P256().NewPublicKey(p.seal[:]); err != nil {
		return Public{}, fmt.Errorf("public key: its sealing point: %w", err)
	}
	if p.sign == p.seal {
		return Public{}, errors.New("public key: the same point signs and seals, want two")
	}
	return p, nil
}

// String is the key as base64url without padding, 174 characters.
func (p Public) String() string {
	return base64.RawURLEncoding.EncodeToString(p.Bytes())
}

// Bytes is the signing point and then the sealing point, 65 bytes each.
func (p Public) Bytes() []byte {
	return append(p.sign[:], p.seal[:]...)
}

// Thumbprint is the SHA-256 of Bytes.
func (p Public) Thumbprint() [32]byte {
	return sha256.Sum256(p.Bytes())
}

// KID is the id of the key.
func (p Public) KID() KID {
	t := p.Thumbprint()
	return KID(t[:len(KID{})])
}

// SignKey is the half that checks signatures, nil for the zero Public.
func (p Public) SignKey() *ecdsa.PublicKey {
	key, err := parsePoint(p.sign[:])
	if err != nil {
		return nil
	}
	return key
}

func parsePoint(b []byte) (*ecdsa.PublicKey, error) {
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b)
}

// Verify reports whether signature is one that Private.Sign made with the
// other half of p, for the same context and parts.
func (p Public) Verify(signature []byte, context string, parts ...[]byte) bool {
	key := p.SignKey()
	return key != nil && verify(key, signature, Digest(context, parts...))
}

// verify checks r || s, as WebCrypto and RFC 7518 section 3.4 write it.
func verify(key *ecdsa.PublicKey, signature []byte, digest [32]byte) bool {
	if len(signature) != signatureSize {
		return false
	}
	r := new(big.Int).SetBytes(signature[:scalarSize])
	s := new(big.Int).SetBytes(signature[scalarSize:])
	return ecdsa.Verify(key, digest[:], r, s)
}

// Seal encrypts plaintext so that only the other half of p can read it: HPKE
// in base mode (RFC 9180), as enc || ciphertext, 81 bytes more than plaintext.
// It does not say who sealed.
func (p Public) Seal(info string, plaintext []byte) ([]byte, error) {
	point, err := ecdh.P256().NewPublicKey(p.seal[:])
	if err != nil {
		return nil, fmt.Errorf("seal: the key: %w", err)
	}
	key, err := hpke.NewDHKEMPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("seal: the key: %w", err)
	}
	sealed, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES128GCM(), []byte(info), plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// A KID is the id of a key: the first 8 bytes of its thumbprint. It finds a
// key among a few; only the key itself proves anything.
type KID [8]byte

// String is the id in hexadecimal, 16 characters.
func (k KID) String() string { return hex.EncodeToString(k[:]) }

// MarshalText is String.
func (k KID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *KID) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(k) {
		return fmt.Errorf("key id %.40q: want %d hexadecimal digits", text, 2*len(k))
	}
	*k = KID(raw)
	return nil
}

// decode reads base64url without padding (RFC 4648 section 5) of at most limit
// characters. The standard decoder skips line breaks and, unless strict, takes
// stray bits at the end: then two texts would be one key, or one token.
func decode(text string, limit int) ([]byte, error) {
	if len(text) > limit {
		return nil, fmt.Errorf("%d characters, want at most %d", len(text), limit)
	}
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("line break in base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}
