package keys

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// dpopType and dpopAlg are the only header that is made or taken here.
const (
	dpopType = "dpop+jwt"
	dpopAlg  = "ES256"
)

// A dpopHeader is the JOSE header of a proof (RFC 9449 section 4.2).
type dpopHeader struct {
	Type     string          `json:"typ"`
	Alg      string          `json:"alg"`
	Key      jwk             `json:"jwk"`
	Critical json.RawMessage `json:"crit,omitempty"`
}

// A jwk is a public key of P-256 (RFC 7518 section 6.2.1).
type jwk struct {
	Type    string          `json:"kty"`
	Curve   string          `json:"crv"`
	X       string          `json:"x"`
	Y       string          `json:"y"`
	Private json.RawMessage `json:"d,omitempty"`
}

type dpopClaims struct {
	ID     string   `json:"jti"`
	Method string   `json:"htm"`
	URL    string   `json:"htu"`
	Issued *float64 `json:"iat"` // seconds of Unix time
	Hash   string   `json:"ath,omitempty"`
}

// DPoP makes the proof that goes with one HTTP request (RFC 9449): a JWT
// signed with k over the method, the URL without query and fragment, the time
// in whole seconds, a random id, and the session token that authorizes the
// request, or "" for none.
func (k *Private) DPoP(method, url string, now time.Time, session string) (string, error) {
	target, err := parseTarget(url)
	if err != nil {
		return "", fmt.Errorf("DPoP: %w", err)
	}
	issued := float64(now.Unix())
	claims := dpopClaims{ID: rand.Text(), Method: method, URL: target, Issued: &issued, Hash: accessHash(session)}
	x, y := k.public.sign[1:1+scalarSize], k.public.sign[1+scalarSize:]
	key := jwk{Type: "EC", Curve: "P-256", X: encode(x), Y: encode(y)}
	header, err := json.Marshal(dpopHeader{Type: dpopType, Alg: dpopAlg, Key: key})
	if err != nil {
		return "", fmt.Errorf("DPoP: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("DPoP: %w", err)
	}
	signed := encode(header) + "." + encode(payload)
	signature, err := k.signDigest(sha256.Sum256([]byte(signed)))
	if err != nil {
		return "", fmt.Errorf("DPoP: %w", err)
	}
	return signed + "." + encode(signature), nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// accessHash is the claim "ath" for a token.
func accessHash(session string) string {
	if session == "" {
		return ""
	}
	h := sha256.Sum256([]byte(session))
	return encode(h[:])
}

// key is the public key that j describes.
func (j jwk) key() (*ecdsa.PublicKey, error) {
	if j.Type != "EC" || j.Curve != "P-256" {
		return nil, fmt.Errorf("jwk is %.20q on %.20q, want EC on P-256", j.Type, j.Curve)
	}
	if j.Private != nil {
		return nil, fmt.Errorf("jwk has a private part")
	}
	point := []byte{4}
	for _, text := range []string{j.X, j.Y} {
		raw, err := decode(text, base64.RawURLEncoding.EncodedLen(scalarSize))
		if err != nil || len(raw) != scalarSize {
			return nil, fmt.Errorf("jwk has a coordinate that is not base64url of %d bytes", scalarSize)
		}
		point = append(point, raw...)
	}
	return parsePoint(point)
}

// parseTarget is a URL as "htu" compares it: scheme and host in small letters,
// without the scheme's own port, query and fragment, with "/" for no path
// (RFC 9449 section 4.3; RFC 3986 sections 6.2.2.1 and 6.2.3).
func parseTarget(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if scheme != "https" && scheme != "http" || host == "" || u.User != nil {
		return "", fmt.Errorf("%.80q is not the URL of an HTTP request", text)
	}
	ownPort := map[string]string{"https": ":443", "http": ":80"}[scheme]
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return scheme + "://" + strings.TrimSuffix(host, ownPort) + path, nil
}
