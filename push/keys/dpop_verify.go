package keys

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// dpopLimit is the most characters of a proof. Those of DPoP have about 500.
const dpopLimit = 4096

// The least and most characters of a proof's id: RFC 9449 section 4.2 asks for
// 96 random bits, which are 16 characters of base64url, and the checker of a
// proof must remember the id for a while.
const (
	jtiMin = 16
	jtiMax = 128
)

// VerifyDPoP checks a proof by the rules of RFC 9449 section 4.3 for a request
// with that method and URL, received now, and authorized by that session token
// ("" for none). The time in the proof may differ from now by skew, either
// way.
//
// Two rules are the caller's: key must be the one that the session is bound
// to, and jti must not have been seen within the last twice skew.
func VerifyDPoP(proof, method, url string, now time.Time, skew time.Duration, session string) (key *ecdsa.PublicKey, jti string, err error) {
	key, payload, err := openProof(proof)
	if err != nil {
		return nil, "", fmt.Errorf("DPoP proof: %w", err)
	}
	var c dpopClaims
	if err := unmarshalPart(payload, &c); err != nil {
		return nil, "", fmt.Errorf("DPoP proof: payload: %w", err)
	}
	if err := c.check(method, url, now, skew, session); err != nil {
		return nil, "", fmt.Errorf("DPoP proof: %w", err)
	}
	return key, c.ID, nil
}

// openProof checks the header and the signature of a proof.
func openProof(proof string) (key *ecdsa.PublicKey, payload string, err error) {
	if len(proof) > dpopLimit {
		return nil, "", fmt.Errorf("%d characters, want at most %d", len(proof), dpopLimit)
	}
	parts := strings.Split(proof, ".")
	if len(parts) != 3 {
		return nil, "", errors.New("want three parts with dots between them")
	}
	var h dpopHeader
	if err := unmarshalPart(parts[0], &h); err != nil {
		return nil, "", fmt.Errorf("header: %w", err)
	}
	if h.Type != dpopType || h.Alg != dpopAlg {
		return nil, "", fmt.Errorf("header has typ %.20q and alg %.20q, want %q and %q", h.Type, h.Alg, dpopType, dpopAlg)
	}
	if h.Critical != nil {
		return nil, "", errors.New(`header has "crit", and none is known here`)
	}
	if key, err = h.Key.key(); err != nil {
		return nil, "", err
	}
	signature, err := decode(parts[2], dpopLimit)
	if err != nil || !verify(key, signature, sha256.Sum256([]byte(parts[0]+"."+parts[1]))) {
		return nil, "", errors.New("the signature is not by the key in its header")
	}
	return key, parts[1], nil
}

func (c *dpopClaims) check(method, url string, now time.Time, skew time.Duration, session string) error {
	want, err := parseTarget(url)
	if err != nil {
		return err
	}
	got, err := parseTarget(c.URL)
	switch {
	case err != nil:
		return fmt.Errorf("htu: %w", err)
	case got != want:
		return fmt.Errorf("htu is %.80q, want %.80q", got, want)
	case c.Method != method:
		return fmt.Errorf("htm is %.20q, want %.20q", c.Method, method)
	case len(c.ID) < jtiMin || len(c.ID) > jtiMax:
		return fmt.Errorf("jti has %d characters, want %d to %d", len(c.ID), jtiMin, jtiMax)
	case c.Issued == nil:
		return errors.New("iat is missing")
	case subtle.ConstantTimeCompare([]byte(c.Hash), []byte(accessHash(session))) != 1:
		return errors.New("ath is not of the session token that came with it")
	}
	return checkIssued(*c.Issued, now, skew)
}

// checkIssued takes a float, since NumericDate may have a fraction (RFC 7519
// section 2) and a client may send any number.
func checkIssued(issued float64, now time.Time, skew time.Duration) error {
	ahead := issued - float64(now.UnixMilli())/1000
	if math.Abs(ahead) > skew.Seconds() {
		return fmt.Errorf("iat is %.0f s from the server's time, want at most %.0f; set the clock", ahead, skew.Seconds())
	}
	return nil
}

func unmarshalPart(part string, into any) error {
	raw, err := decode(part, dpopLimit)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
