package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// SweepTokens removes the tokens that were not used for as long as idle, with
// what is stored under them, and returns how many. Revoked ones go too: until
// then they are known as revoked.
//
// A token's record is written anew on each day of its use, so that the oldest
// are the first of the stream: the sweep ends at the first that is in use. A
// record that changed for another reason comes later, and is swept when those
// before it have moved on.
func (s *Store) SweepTokens(ctx context.Context, idle time.Duration) (n int, err error) {
	before := s.cfg.Now().Add(-idle)
	for from := uint64(1); ; {
		r, err := s.nextToken(ctx, from)
		if errors.Is(err, ErrNotFound) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		var t Token
		if err := json.Unmarshal(r.data, &t); err != nil {
			return n, fmt.Errorf("record %s of %s: %w", r.subject, s.place(), err)
		}
		if !t.Used.Before(before) {
			return n, nil
		}
		t.Revision = r.seq
		if err := s.removeToken(ctx, t); err != nil {
			return n, err
		}
		n++
		from = r.seq + 1
	}
}

// nextToken returns the first token's record from a sequence on.
func (s *Store) nextToken(ctx context.Context, from uint64) (raw, error) {
	return s.stored(ctx, recordStream, getRequest{Seq: from, Next: records.prefix + "t.*"})
}

// removeToken removes the way to a token first, so that nobody is given one
// that is about to go, and its record last, so that a sweep that breaks off is
// made good by the next.
func (s *Store) removeToken(ctx context.Context, t Token) error {
	var known triple
	revision, err := s.load(ctx, records, "k."+name(t.User, t.Device, t.App), &known)
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return err
	case known.Hash == t.Hash:
		if err := s.drop(ctx, records, revision); err != nil {
			return err
		}
	}
	if err := s.forget(ctx, t.Hash); err != nil {
		return err
	}
	return s.drop(ctx, records, t.Revision)
}
