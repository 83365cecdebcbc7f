package store

import (
	"context"
	"errors"
	"fmt"
)

func terminalKey(hash string) string { return name(hash) }

// Terminal returns what is known of the terminal behind a token, or
// ErrNotFound.
func (s *Store) Terminal(ctx context.Context, hash string) (Terminal, error) {
	var t Terminal
	_, err := s.load(ctx, terminals, terminalKey(hash), &t)
	return t, err
}

// PutTerminal replaces what is known of a terminal. With an embedded server it
// is not on disk yet when PutTerminal returns: a crash of the host costs
// messages that come twice.
func (s *Store) PutTerminal(ctx context.Context, hash string, t Terminal) error {
	_, err := s.save(ctx, terminals, terminalKey(hash), t, always, 0)
	return err
}

const ringKey = "ring"

// LoadRing returns what SaveRing stored, with its revision. It fails with
// ErrNotFound when that was nothing yet.
func (s *Store) LoadRing(ctx context.Context) (data []byte, revision uint64, err error) {
	r, err := s.get(ctx, records, ringKey)
	if err != nil {
		return nil, 0, err
	}
	data, err = s.keys.seal.Open(nil, nil, r.data, []byte(ringKey))
	if err != nil {
		return nil, 0, fmt.Errorf("key ring of %s: not sealed with this secret, or damaged: put back a back-up", s.place())
	}
	return data, r.revision, nil
}

// SaveRing stores the key ring, sealed with the secret, in the place of that
// with the given revision; zero where there is none. It fails with ErrConflict
// when another node was first.
func (s *Store) SaveRing(ctx context.Context, data []byte, revision uint64) error {
	sealed := s.keys.seal.Seal(nil, nil, data, []byte(ringKey))
	_, err := s.put(ctx, records, ringKey, sealed, revision, 0)
	if errors.Is(err, ErrExists) {
		return ErrConflict
	}
	return err
}
