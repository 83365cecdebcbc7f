package webpush

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

const authSize = 16 // RFC 8291 section 3.2

// Decrypt reads a message (RFC 8291): key is the private key of the subscription, on P-256, and auth its authentication
// secret. An error wraps ErrDecrypt where the body is well formed and not for this key. More than one record is read
// too, though section 4 has senders write one.
func Decrypt(key *ecdh.PrivateKey, auth, body []byte) ([]byte, error) {
	if key.Curve() != ecdh.P256() {
		return nil, fmt.Errorf("key is on %v, want P-256", key.Curve())
	}
	h, records, err := parseHeader(body)
	if err != nil {
		return nil, err
	}
	sender, err := ecdh.P256().NewPublicKey(h.keyID)
	if err != nil {
		return nil, fmt.Errorf("sender's key in the header (%d bytes): %w", len(h.keyID), err)
	}
	ikm, err := keyingMaterial(key, sender, auth, key.PublicKey(), sender)
	if err != nil {
		return nil, err
	}
	c, err := newCoder(ikm, h.salt)
	if err != nil {
		return nil, err
	}
	return c.open(records, h.recordSize)
}

// Encrypt writes a message for the holder of a subscription (RFC 8291): p256dh is its public key, 65 bytes, and auth
// its authentication secret. The body is 103 bytes longer than the plaintext.
func Encrypt(p256dh, auth, plaintext []byte) ([]byte, error) {
	sender, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return encrypt(p256dh, auth, plaintext, sender, salt)
}

func encrypt(p256dh, auth, plaintext []byte, sender *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	receiver, err := ecdh.P256().NewPublicKey(p256dh)
	if err != nil {
		return nil, fmt.Errorf("p256dh of the subscription (%d bytes): %w", len(p256dh), err)
	}
	ikm, err := keyingMaterial(sender, receiver, auth, receiver, sender.PublicKey())
	if err != nil {
		return nil, err
	}
	c, err := newCoder(ikm, salt)
	if err != nil {
		return nil, err
	}
	record := append(append(make([]byte, 0, len(plaintext)+1), plaintext...), lastDelimiter)
	// Section 4 of RFC 8291 has the record size exceed what the one record needs.
	size := max(usedRecord, len(record)+tagSize+1)
	h := header{salt: salt, keyID: sender.PublicKey().Bytes(), recordSize: uint32(size)}
	return c.aead.Seal(h.append(nil), c.nonceOf(0), record, nil), nil
}

// keyingMaterial combines the shared secret of the two key pairs with that of the subscription (RFC 8291 section 3.3).
func keyingMaterial(own *ecdh.PrivateKey, other *ecdh.PublicKey, auth []byte, receiver, sender *ecdh.PublicKey) ([]byte, error) {
	if len(auth) != authSize {
		return nil, fmt.Errorf("authentication secret of %d bytes, want %d", len(auth), authSize)
	}
	secret, err := own.ECDH(other)
	if err != nil {
		return nil, err
	}
	prk, err := hkdf.Extract(sha256.New, secret, auth)
	if err != nil {
		return nil, err
	}
	info := append([]byte("WebPush: info\x00"), receiver.Bytes()...)
	return hkdf.Expand(sha256.New, prk, string(append(info, sender.Bytes()...)), sha256.Size)
}
