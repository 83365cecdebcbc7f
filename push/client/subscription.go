package client

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// authSize is the length of a subscription's secret (RFC 8291 section 3.2).
const authSize = 16

// webPush is what the payloads of Web Push requests are encrypted for.
type webPush struct {
	key  *ecdh.PrivateKey
	auth []byte
}

func newWebPush() (webPush, error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return webPush{}, fmt.Errorf("make a key for Web Push: %w", err)
	}
	auth := make([]byte, authSize)
	_, _ = rand.Read(auth) // never fails
	return webPush{key, auth}, nil
}

// A Subscription is what a Web Push library needs to reach this terminal: the
// fields of a PushSubscription, base64url without padding.
type Subscription struct {
	Endpoint string // "" until the first login has asked for it
	P256DH   string
	Auth     string
}

// Subscription returns this terminal's. Its holder can push to the terminal, and
// only the terminal can read what is pushed.
func (t *Terminal) Subscription() Subscription {
	return Subscription{
		Endpoint: t.identity().endpoint,
		P256DH:   base64.RawURLEncoding.EncodeToString(t.push.key.PublicKey().Bytes()),
		Auth:     base64.RawURLEncoding.EncodeToString(t.push.auth),
	}
}
