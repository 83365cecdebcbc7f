package auth

import (
	"crypto/ecdh"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
)

// Values of AppPolicy.Binding and AppPolicy.VAPID.
const (
	Required = "required"
	Waived   = "waived"
	Optional = "optional"
)

// An AppPolicy is what the server demands of one app's terminals and
// publishers.
type AppPolicy struct {
	// Binding of the exchange to the TLS connection (RFC 9266): Required,
	// which is also "", or Waived for clients that cannot read the exporter,
	// such as browsers.
	Binding string

	// Encrypt has payloads and states sealed to the keys of the session, both
	// ways, inside TLS.
	Encrypt bool

	// VAPID (RFC 8292) of Web Push requests: Optional, which is also "", or
	// Required.
	VAPID string

	// VAPIDKeys are the publishers that are let in, as base64url without
	// padding of uncompressed P-256 points; empty: everybody with a key.
	VAPIDKeys []string
}

// Policy returns what holds for app: its own policy, or else that of "*", or
// else the defaults. Binding and VAPID are never empty in it.
func (a *Auth) Policy(app string) AppPolicy {
	if p, ok := a.config.Apps[app]; ok {
		return p
	}
	return a.config.Apps["*"]
}

// checkPolicies returns a copy with defaults filled in, and an entry for "*".
func checkPolicies(apps map[string]AppPolicy) (map[string]AppPolicy, error) {
	checked := map[string]AppPolicy{"*": {Binding: Required, VAPID: Optional}}
	for _, app := range slices.Sorted(maps.Keys(apps)) { // of two mistakes the same is told each time
		p, err := apps[app].check()
		if err != nil {
			return nil, fmt.Errorf("app %q: %w", app, err)
		}
		checked[app] = p
	}
	return checked, nil
}

func (p AppPolicy) check() (AppPolicy, error) {
	if p.Binding == "" {
		p.Binding = Required
	}
	if p.VAPID == "" {
		p.VAPID = Optional
	}
	if p.Binding != Required && p.Binding != Waived {
		return p, fmt.Errorf("binding is %q, want %q or %q", p.Binding, Required, Waived)
	}
	if p.VAPID != Optional && p.VAPID != Required {
		return p, fmt.Errorf("vapid is %q, want %q or %q", p.VAPID, Optional, Required)
	}
	for _, text := range p.VAPIDKeys {
		if err := checkPoint(text); err != nil {
			return p, fmt.Errorf("vapid key %q: %w", text, err)
		}
	}
	p.VAPIDKeys = slices.Clone(p.VAPIDKeys)
	return p, nil
}

func checkPoint(text string) error {
	point, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(point)
	}
	if err != nil {
		return fmt.Errorf("%w; want base64url without padding of an uncompressed P-256 point, 87 characters", err)
	}
	return nil
}
