package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// maxVAPID is of the Authorization header, in bytes. Those of the libraries have about 300.
const maxVAPID = 4096

// maxLife is how far ahead a token may expire (RFC 8292 section 2).
const maxLife = 24 * time.Hour

// VAPID says who sent a request.
type VAPID struct {
	Subject string    // where to reach the sender, "mailto:..." or "https://..." as it says itself; empty: it does not
	Key     []byte    // the sender's public key, an uncompressed point of P-256: 65 bytes
	Expires time.Time // of the token: it can be sent again until then
}

// VerifyVAPID reads the Authorization header of a request (RFC 8292): the token in it must be signed by the key beside
// it with ES256, be for origin, "https://host" or "https://host:port", and expire within the next 24 hours. What it
// proves is possession of the key; whether that key may send is the caller's to decide.
func VerifyVAPID(header, origin string, now time.Time) (VAPID, error) {
	token, key, err := parameters(header)
	if err != nil {
		return VAPID{}, err
	}
	point, err := decode64(key)
	if err != nil {
		return VAPID{}, fmt.Errorf("VAPID key k: %w", err)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return VAPID{}, fmt.Errorf("VAPID key k (%d bytes): %w; send an uncompressed point of P-256", len(point), err)
	}
	payload, err := openJWT(token, public)
	if err != nil {
		return VAPID{}, fmt.Errorf("VAPID token t: %w", err)
	}
	v, err := readClaims(payload, origin, now)
	if err != nil {
		return VAPID{}, fmt.Errorf("VAPID token t: %w", err)
	}
	v.Key = point
	return v, nil
}

// parameters returns t and k of "vapid t=..., k=..." (RFC 8292 section 3). Others are passed over, as they may come to
// have a meaning.
func parameters(header string) (token, key string, err error) {
	if len(header) > maxVAPID {
		return "", "", fmt.Errorf("header Authorization of %d bytes, want %d at most", len(header), maxVAPID)
	}
	scheme, rest, _ := strings.Cut(strings.TrimLeft(header, " "), " ")
	switch {
	case scheme == "":
		return "", "", errors.New("header Authorization is missing; send \"vapid t=..., k=...\" (RFC 8292)")
	case strings.EqualFold(scheme, "WebPush") || strings.EqualFold(scheme, "Bearer"):
		return "", "", fmt.Errorf("authorization scheme %q with a Crypto-Key header is of a draft; send \"vapid t=..., k=...\" (RFC 8292)", scheme)
	case !strings.EqualFold(scheme, "vapid"):
		return "", "", fmt.Errorf("authorization scheme is %.40q, want \"vapid t=..., k=...\" (RFC 8292)", scheme)
	}
	for parameter := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.Trim(parameter, " \t"), "=")
		if err := assign(strings.ToLower(strings.TrimRight(name, " \t")), unquote(value), &token, &key); err != nil {
			return "", "", err
		}
	}
	if token == "" || key == "" {
		return "", "", errors.New("VAPID token t or key k is missing; send \"vapid t=..., k=...\" (RFC 8292)")
	}
	return token, key, nil
}

func assign(name, value string, token, key *string) error {
	to := map[string]*string{"t": token, "k": key}[name]
	switch {
	case to == nil:
		return nil
	case *to != "":
		return fmt.Errorf("VAPID parameter %s is there twice", name)
	}
	*to = value
	return nil
}

// unquote takes the quotes off, which are allowed around a parameter (RFC 9110 section 11.2). Nothing inside these
// needs a backslash.
func unquote(value string) string {
	value = strings.Trim(value, " \t")
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

// verify checks an ES256 signature: both numbers, 32 bytes each (RFC 7518 section 3.4).
func verify(key *ecdsa.PublicKey, signed string, signature []byte) bool {
	if len(signature) != 64 {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	hash := sha256.Sum256([]byte(signed))
	return ecdsa.Verify(key, hash[:], r, s)
}
