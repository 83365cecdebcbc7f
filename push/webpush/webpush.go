// Package webpush is what a push service and its terminals need of Web Push: the headers of a request (RFC 8030), who
// sent it (VAPID, RFC 8292), and the encryption of its body (RFC 8291).
//
//	push, err := webpush.ParseRequest(r.Header)
//	sender, err := webpush.VerifyVAPID(r.Header.Get("Authorization"), "https://push.example.com", time.Now())
//
// and at the terminal, which made the key pair and the 16 random bytes of the subscription:
//
//	plaintext, err := webpush.Decrypt(key, auth, body)
//
// It does not speak HTTP, keeps no state, and knows nothing of subscriptions: which keys and senders are allowed is the
// caller's to decide. The drafts before the RFCs ("Authorization: WebPush", "Content-Encoding: aesgcm") are refused by
// their names.
package webpush

import (
	"encoding/base64"
	"errors"
	"strings"
)

// decode64 reads base64url without padding (RFC 4648 section 5), as every field here is written. Strictly, so that no
// two texts stand for the same bytes.
func decode64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break in base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}
