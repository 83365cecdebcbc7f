package keys

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Private is a pair of private keys, one that signs and one that opens what
// was sealed. It has no text form, so that it cannot reach a log by accident.
// A Private is safe for use by many goroutines.
type Private struct {
	sign   *ecdsa.PrivateKey
	seal   *ecdh.PrivateKey
	open   hpke.PrivateKey // seal, as crypto/hpke takes it
	public Public
	kid    KID
}

// Generate makes a pair of keys.
func Generate() (*Private, error) {
	sign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the signing key: %w", err)
	}
	seal, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the sealing key: %w", err)
	}
	return newPrivate(sign, seal)
}

// ParsePrivate reads what Bytes returned.
func ParsePrivate(b []byte) (*Private, error) {
	if len(b) != 2*scalarSize {
		return nil, fmt.Errorf("private key: %d bytes, want %d", len(b), 2*scalarSize)
	}
	sign, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), b[:scalarSize])
	if err != nil {
		return nil, fmt.Errorf("private key: its signing half: %w", err)
	}
	seal, err := ecdh.P256().NewPrivateKey(b[scalarSize:])
	if err != nil {
		return nil, fmt.Errorf("private key: its sealing half: %w", err)
	}
	return newPrivate(sign, seal)
}

func newPrivate(sign *ecdsa.PrivateKey, seal *ecdh.PrivateKey) (*Private, error) {
	k := &Private{sign: sign, seal: seal}
	point, err := sign.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("private key: its signing half: %w", err)
	}
	if k.open, err = hpke.NewDHKEMPrivateKey(seal); err != nil {
		return nil, fmt.Errorf("private key: its sealing half: %w", err)
	}
	copy(k.public.sign[:], point)
	copy(k.public.seal[:], seal.PublicKey().Bytes())
	if k.public.sign == k.public.seal {
		return nil, errors.New("private key: the same scalar signs and seals, want two")
	}
	k.kid = k.public.KID()
	return k, nil
}

// Bytes is both scalars, the signing one first, 32 bytes each.
func (k *Private) Bytes() []byte {
	sign, err := k.sign.Bytes()
	if err != nil {
		panic("keys: a key that was checked when it was made: " + err.Error())
	}
	return append(sign, k.seal.Bytes()...)
}

// Public is the half to give away.
func (k *Private) Public() Public { return k.public }

// Sign signs Digest(context, parts...) with ECDSA and returns r || s, 64
// bytes. Two signatures of one digest differ.
func (k *Private) Sign(context string, parts ...[]byte) ([]byte, error) {
	return k.signDigest(Digest(context, parts...))
}

func (k *Private) signDigest(digest [32]byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, k.sign, digest[:])
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	signature := make([]byte, signatureSize)
	r.FillBytes(signature[:scalarSize])
	s.FillBytes(signature[scalarSize:])
	return signature, nil
}

// Open returns what was sealed to the other half of k, with the same info.
func (k *Private) Open(info string, sealed []byte) ([]byte, error) {
	plaintext, err := hpke.Open(k.open, hpke.HKDFSHA256(), hpke.AES128GCM(), []byte(info), sealed)
	if err != nil {
		return nil, fmt.Errorf("open %d sealed bytes: %w", len(sealed), err)
	}
	return plaintext, nil
}

// Digest is what every signature here is over: the SHA-256 of context, a zero
// byte and then, for each part, its length as 4 bytes big endian and itself.
// So no two lists of parts have the same bytes, and a signature made for one
// context, which has no zero byte in it, means nothing in another.
func Digest(context string, parts ...[]byte) [32]byte {
	h := sha256.New()
	h.Write([]byte(context))
	h.Write([]byte{0})
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}
