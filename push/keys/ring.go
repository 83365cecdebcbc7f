package keys

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// contextServerKey is what the signature of a server key by the one before it
// is for.
const contextServerKey = "keyhole-push.v1 server key"

// A ServerKey is a key pair of the server, with the key of the MAC in the
// sessions that are sealed to it.
type ServerKey struct {
	Private   *Private
	MAC       [32]byte
	Created   time.Time
	Retired   time.Time // when the next key took over; zero while current
	Signature []byte    // by the key before it, see SignServerKey; nil for the first one
	Previous  KID       // of the key before it; zero for the first one
}

// ID is the id of the key's public half.
func (k *ServerKey) ID() KID { return k.Private.kid }

// SignServerKey signs the public key that follows k at the server. A client that
// knows k can trust next.
func (k *Private) SignServerKey(next Public) ([]byte, error) {
	return k.Sign(contextServerKey, next.Bytes())
}

// VerifyServerKey reports whether signature is one that SignServerKey made
// with the other half of p.
func (p Public) VerifyServerKey(next Public, signature []byte) bool {
	return p.Verify(signature, contextServerKey, next.Bytes())
}

// A Ring is the server's keys: the current one, and those before it for as
// long as sessions sealed to them live. A Ring is not changed once made, so
// any number of goroutines may use it; Rotated makes the next. Its JSON holds
// the private keys, and is for a store that encrypts.
type Ring struct {
	Keys   []ServerKey // oldest first; the last is current
	Rotate time.Time   // when the current key is due to be replaced, whatever restarts before
}

// NewRing makes a ring of one new key, to be replaced after period.
func NewRing(now time.Time, period time.Duration) (*Ring, error) {
	key, err := newServerKey(now)
	if err != nil {
		return nil, err
	}
	return newRing([]ServerKey{key}, now, period)
}

// Rotated makes a ring whose current key is new and signed by that of r, which
// from now on only opens. Keys that were retired longer ago than lifetime, the
// longest that a session lives, are left out. The next deadline is a whole
// period from now, even if the last one passed long ago. r stays as it is.
func (r *Ring) Rotated(now time.Time, period, lifetime time.Duration) (*Ring, error) {
	old := r.Current()
	if old == nil {
		return nil, errors.New("rotate the server key: the ring has none")
	}
	next, err := newServerKey(now)
	if err != nil {
		return nil, err
	}
	next.Previous = old.ID()
	if next.Signature, err = old.Private.SignServerKey(next.Private.Public()); err != nil {
		return nil, err
	}
	var kept []ServerKey
	for _, k := range r.Keys {
		if k.Retired.IsZero() {
			k.Retired = next.Created
		}
		if now.Sub(k.Retired) <= lifetime {
			kept = append(kept, k)
		}
	}
	return newRing(append(kept, next), now, period)
}

// newRing refuses a period in which a ring would be due as soon as it is made.
func newRing(keys []ServerKey, now time.Time, period time.Duration) (*Ring, error) {
	if period <= 0 {
		return nil, fmt.Errorf("rotate the server key every %s: want more than 0", period)
	}
	return &Ring{Keys: keys, Rotate: stamp(now.Add(period))}, nil
}

// stamp is t as it comes back from JSON, without the monotonic clock of the
// process that wrote it.
func stamp(t time.Time) time.Time { return t.UTC().Round(0) }

func newServerKey(now time.Time) (ServerKey, error) {
	private, err := Generate()
	if err != nil {
		return ServerKey{}, err
	}
	k := ServerKey{Private: private, Created: stamp(now)}
	rand.Read(k.MAC[:]) // never fails: crypto/rand ends the process instead
	return k, nil
}

// Current is the key to seal with and to prove; nil in an empty ring.
func (r *Ring) Current() *ServerKey {
	if len(r.Keys) == 0 {
		return nil
	}
	return &r.Keys[len(r.Keys)-1]
}

// Find returns the key with that id, or nil.
func (r *Ring) Find(id KID) *ServerKey {
	for i := range r.Keys {
		if r.Keys[i].ID() == id {
			return &r.Keys[i]
		}
	}
	return nil
}
