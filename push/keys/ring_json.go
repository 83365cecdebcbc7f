package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// storedRing and storedKey are the JSON of a Ring. Bytes are base64.
type storedRing struct {
	Keys   []storedKey `json:"keys"`
	Rotate time.Time   `json:"rotate"`
}

type storedKey struct {
	Private   []byte    `json:"private"`
	MAC       []byte    `json:"mac"`
	Created   time.Time `json:"created"`
	Retired   time.Time `json:"retired,omitzero"`
	Signature []byte    `json:"signature,omitempty"`
	Previous  KID       `json:"previous,omitzero"`
}

// MarshalJSON writes the ring with its private keys.
func (r Ring) MarshalJSON() ([]byte, error) {
	s := storedRing{Rotate: r.Rotate}
	for _, k := range r.Keys {
		s.Keys = append(s.Keys, storedKey{k.Private.Bytes(), k.MAC[:], k.Created, k.Retired, k.Signature, k.Previous})
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON wrote. It refuses a ring without a key,
// without a deadline, or whose keys are not each signed by the one before.
func (r *Ring) UnmarshalJSON(b []byte) error {
	var s storedRing
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	read := Ring{Rotate: s.Rotate}
	for i, stored := range s.Keys {
		k, err := stored.key()
		if err != nil {
			return fmt.Errorf("key ring: key %d of %d: %w", i+1, len(s.Keys), err)
		}
		read.Keys = append(read.Keys, k)
	}
	if err := read.check(); err != nil {
		return fmt.Errorf("key ring: %w", err)
	}
	*r = read
	return nil
}

func (s storedKey) key() (ServerKey, error) {
	private, err := ParsePrivate(s.Private)
	if err != nil {
		return ServerKey{}, err
	}
	k := ServerKey{private, [32]byte{}, s.Created, s.Retired, s.Signature, s.Previous}
	if len(s.MAC) != len(k.MAC) {
		return ServerKey{}, fmt.Errorf("MAC key of %d bytes, want %d", len(s.MAC), len(k.MAC))
	}
	copy(k.MAC[:], s.MAC)
	return k, nil
}

// check follows the chain of signatures. The key that the oldest one names may
// be gone by now.
func (r *Ring) check() error {
	if len(r.Keys) == 0 {
		return errors.New("no keys")
	}
	if r.Rotate.IsZero() {
		return errors.New("no deadline for the next key")
	}
	for i := range r.Keys {
		k := &r.Keys[i]
		if last := i == len(r.Keys)-1; last != k.Retired.IsZero() {
			return fmt.Errorf("key %s: want the last one current and all others retired", k.ID())
		}
		if i == 0 {
			continue
		}
		before := &r.Keys[i-1]
		if k.Previous != before.ID() || !before.Private.Public().VerifyServerKey(k.Private.Public(), k.Signature) {
			return fmt.Errorf("key %s is not signed by %s, the one before it", k.ID(), before.ID())
		}
	}
	return nil
}
