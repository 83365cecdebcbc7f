package keys

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// infoSession separates sealed sessions from whatever else is sealed to a
// server's key.
const infoSession = "keyhole-push.v1 session"

// sessionLimit is the most characters of a session token. Names of a few
// hundred bytes fit; what is longer is refused before it costs anything.
const sessionLimit = 4096

// The refusals of Open. ErrForged is the one to look at: somebody sealed claims
// to the public key without being a server.
var (
	ErrMalformed  = errors.New("session token is malformed")
	ErrUnknownKey = errors.New("session token is of a key that is not kept")
	ErrForged     = errors.New("session token was not made by a server")
)

// Claims are what a session token says of its holder.
type Claims struct {
	User       string
	STime      int64 // the server's time when it was made, in milliseconds of Unix time
	Device     string
	App        string
	ID         string // of the session, the same in every token of it
	Epoch      uint64 // 0 at login, one more with each renewal of the client's key
	Expires    int64  // in milliseconds of Unix time
	Thumbprint [32]byte
}

// sealedClaims is the JSON inside the seal. "exp" and "cnf" are named as in
// RFC 7519 and RFC 7800, but not written as there: a session is not a JWT.
type sealedClaims struct {
	User    string `json:"user"`
	STime   int64  `json:"s_time"`
	Device  string `json:"device"`
	App     string `json:"app"`
	ID      string `json:"id"`
	Epoch   uint64 `json:"epoch"`
	Expires int64  `json:"exp"`
	Confirm string `json:"cnf"` // thumbprint of the client's key, base64url
}

// MarshalJSON refuses names that are not UTF-8: encoding/json would replace
// the bytes, and the token would be of another user.
func (c Claims) MarshalJSON() ([]byte, error) {
	for _, name := range []string{c.User, c.Device, c.App, c.ID} {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("claim %.40q is not UTF-8", name)
		}
	}
	return json.Marshal(sealedClaims{c.User, c.STime, c.Device, c.App, c.ID, c.Epoch, c.Expires,
		base64.RawURLEncoding.EncodeToString(c.Thumbprint[:])})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Claims) UnmarshalJSON(b []byte) error {
	var s sealedClaims
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	thumbprint, err := decode(s.Confirm, base64.RawURLEncoding.EncodedLen(len(c.Thumbprint)))
	if err != nil || len(thumbprint) != len(c.Thumbprint) {
		return errors.New(`claim "cnf" is not a thumbprint`)
	}
	*c = Claims{s.User, s.STime, s.Device, s.App, s.ID, s.Epoch, s.Expires, [32]byte(thumbprint)}
	return nil
}

// Seal makes a session token under the current key of the ring: base64url
// without padding of
//
//	kid || HPKE(public key, claims || HMAC-SHA256(MAC key, kid || claims))
//
// where claims are JSON. Anybody can seal to a public key; the MAC says that
// a server did.
func (r *Ring) Seal(c Claims) (string, error) {
	current := r.Current()
	if current == nil {
		return "", errors.New("seal a session: the ring has no key")
	}
	claims, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("seal a session: %w", err)
	}
	kid := current.ID()
	sealed, err := current.Private.Public().Seal(infoSession, append(claims, current.mac(kid, claims)...))
	if err != nil {
		return "", fmt.Errorf("seal a session: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(append(kid[:], sealed...))
	if len(text) > sessionLimit {
		return "", fmt.Errorf("seal a session: %d characters, want at most %d; shorten the names in it", len(text), sessionLimit)
	}
	return text, nil
}

// Open returns the claims of a session token and the key that it is sealed
// to. An error wraps ErrMalformed, ErrUnknownKey or ErrForged. Open does not
// look at Expires, nor whether the session was revoked: it has no clock and
// no store.
func (r *Ring) Open(session string) (Claims, *ServerKey, error) {
	kid, sealed, err := splitSession(session)
	if err != nil {
		return Claims{}, nil, err
	}
	key := r.Find(kid)
	if key == nil {
		return Claims{}, nil, fmt.Errorf("%w: %s", ErrUnknownKey, kid)
	}
	plaintext, err := key.Private.Open(infoSession, sealed)
	if err != nil {
		return Claims{}, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	c, err := key.claims(kid, plaintext)
	if err != nil {
		return Claims{}, nil, err
	}
	return c, key, nil
}

// SessionKey is the id of the server key that a session token is sealed to:
// the key that the server proves in an exchange. It does not open the token.
func SessionKey(session string) (KID, error) {
	kid, _, err := splitSession(session)
	return kid, err
}

func splitSession(session string) (kid KID, sealed []byte, err error) {
	raw, err := decode(session, sessionLimit)
	if err != nil {
		return kid, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(raw) <= len(kid) {
		return kid, nil, fmt.Errorf("%w: %d bytes, want more than a key id", ErrMalformed, len(raw))
	}
	return KID(raw[:len(kid)]), raw[len(kid):], nil
}

// claims checks the MAC before anything reads what it is over.
func (k *ServerKey) claims(kid KID, plaintext []byte) (c Claims, err error) {
	n := len(plaintext) - sha256.Size
	if n < 0 {
		return c, fmt.Errorf("%w: too short for a MAC", ErrForged)
	}
	if !hmac.Equal(k.mac(kid, plaintext[:n]), plaintext[n:]) {
		return c, ErrForged
	}
	if err := json.Unmarshal(plaintext[:n], &c); err != nil {
		return Claims{}, fmt.Errorf("%w: claims: %w", ErrMalformed, err)
	}
	return c, nil
}

func (k *ServerKey) mac(kid KID, claims []byte) []byte {
	h := hmac.New(sha256.New, k.MAC[:])
	h.Write(kid[:])
	h.Write(claims)
	return h.Sum(nil)
}
