package webpush

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// openJWT returns the payload of a token that key has signed with ES256 (RFC 7519, RFC 7515). The algorithm is not the
// token's to choose: any other is refused, "none" first of all.
func openJWT(token string, key *ecdsa.PublicKey) (fields, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%d parts between dots, want 3", len(parts))
	}
	head, err := readFields(parts[0])
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if alg, err := head.text("alg"); err != nil || alg != "ES256" {
		return nil, fmt.Errorf("algorithm is %.40q, want \"ES256\"", alg)
	}
	if head["crit"] != nil {
		return nil, errors.New("header has critical extensions, and none is known here")
	}
	signature, err := decode64(parts[2])
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	if !verify(key, parts[0]+"."+parts[1], signature) {
		return nil, errors.New("signature is not by the key k")
	}
	payload, err := readFields(parts[1])
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	return payload, nil
}

// fields are those of one JSON object. Not a struct: encoding/json would take "AUD" for "aud".
type fields map[string]json.RawMessage

func readFields(part string) (fields, error) {
	raw, err := decode64(part)
	if err != nil {
		return nil, err
	}
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil || f == nil {
		return nil, errors.New("not a JSON object")
	}
	return f, nil
}

// text returns a field that is a string, and "" where there is none.
func (f fields) text(name string) (string, error) {
	if f[name] == nil {
		return "", nil
	}
	var s *string
	if err := json.Unmarshal(f[name], &s); err != nil || s == nil {
		return "", fmt.Errorf("%q is not a string", name)
	}
	return *s, nil
}

func readClaims(payload fields, origin string, now time.Time) (VAPID, error) {
	audience, err := payload.audience()
	if err != nil {
		return VAPID{}, err
	}
	if !slices.ContainsFunc(audience, func(a string) bool { return normalOrigin(a) == normalOrigin(origin) }) {
		return VAPID{}, fmt.Errorf("\"aud\" is %.200q, want %q", audience, origin)
	}
	expires, err := payload.expiry()
	if err != nil {
		return VAPID{}, err
	}
	switch {
	case !expires.After(now):
		return VAPID{}, fmt.Errorf("expired at %s, and it is %s", stamp(expires), stamp(now))
	case expires.After(now.Add(maxLife)):
		return VAPID{}, fmt.Errorf("expires at %s, more than 24 hours after %s", stamp(expires), stamp(now))
	}
	subject, err := payload.text("sub")
	return VAPID{Subject: subject, Expires: expires}, err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// audience returns "aud", which is a string or a list of them (RFC 7519 section 4.1.3).
func (f fields) audience() ([]string, error) {
	var list []string
	if json.Unmarshal(f["aud"], &list) == nil {
		return list, nil
	}
	one, err := f.text("aud")
	if err != nil {
		return nil, errors.New("\"aud\" is neither a string nor a list of strings")
	}
	return []string{one}, nil
}

// expiry returns "exp", in seconds that may have a fraction (RFC 7519 section 2).
func (f fields) expiry() (time.Time, error) {
	var seconds *float64
	if err := json.Unmarshal(f["exp"], &seconds); err != nil || seconds == nil {
		return time.Time{}, errors.New("\"exp\" is missing or not a number")
	}
	// Beyond these a time.Time wraps around; they are out of range either way.
	const most = 1 << 40
	return time.Unix(int64(min(max(*seconds, -most), most)), 0), nil
}

// normalOrigin undoes what two texts of one origin may differ in (RFC 6454 section 6.1): case and the default port.
func normalOrigin(origin string) string {
	return strings.TrimSuffix(strings.ToLower(origin), ":443")
}
