package store

import (
	"context"
	"errors"
	"strings"
	"time"
)

func sessionKey(id string) string { return "s." + name(id) }

// Below this prefix are the keys of a user's sessions, without records.
func sessionsKey(user string) string { return "i." + name(user) }

// sessionLinger is for how long an expired session is still known, so that its
// client is told that it expired.
const sessionLinger = 24 * time.Hour

func (s *Store) sessionTTL(n Session) time.Duration {
	return max(time.UnixMilli(n.Expires).Sub(s.cfg.Now()), 0) + sessionLinger
}

// Session returns a session, or ErrNotFound when there is none or it expired
// more than a day ago.
func (s *Store) Session(ctx context.Context, id string) (Session, error) {
	var n Session
	revision, err := s.load(ctx, records, sessionKey(id), &n)
	n.Revision = revision
	return n, err
}

// CreateSession stores a new session and returns it with its revision. It fails
// with ErrExists.
func (s *Store) CreateSession(ctx context.Context, n Session) (Session, error) {
	return s.saveSession(ctx, n, create)
}

// UpdateSession replaces the session of n's revision and returns it with the
// new one. It fails with ErrConflict, and leaves the session as it is.
func (s *Store) UpdateSession(ctx context.Context, n Session) (Session, error) {
	return s.saveSession(ctx, n, n.Revision)
}

// saveSession writes the index first, or RevokeSessions could miss the session:
// an entry without one, or for longer than one lasts, does no harm.
func (s *Store) saveSession(ctx context.Context, n Session, expected uint64) (Session, error) {
	ttl := s.sessionTTL(n)
	if _, err := s.put(ctx, records, sessionsKey(n.User)+"."+name(n.ID), nil, always, ttl); err != nil {
		return n, err
	}
	revision, err := s.save(ctx, records, sessionKey(n.ID), n, expected, ttl)
	if err == nil {
		n.Revision = revision
	}
	return n, err
}

// RevokeSession ends a session and tells all nodes. It fails with ErrNotFound.
func (s *Store) RevokeSession(ctx context.Context, id string) error {
	return s.revokeSession(ctx, sessionKey(id))
}

func (s *Store) revokeSession(ctx context.Context, key string) error {
	for {
		var n Session
		revision, err := s.load(ctx, records, key, &n)
		if err != nil {
			return err
		}
		n.Revision = revision
		if !n.Revoked {
			n.Revoked = true
			_, err = s.UpdateSession(ctx, n)
		}
		if errors.Is(err, ErrConflict) {
			continue // renewed at the same moment
		}
		if err != nil {
			return err
		}
		// Again for one that is revoked already: the first attempt may have failed here.
		return s.Announce(ctx, Event{Kind: SessionRevoked, Key: n.ID})
	}
}

// RevokeSessions ends all sessions of a user, and tells all nodes.
func (s *Store) RevokeSessions(ctx context.Context, user string) error {
	keys, err := s.under(ctx, records, sessionsKey(user))
	if err != nil {
		return err
	}
	for _, key := range keys {
		err := s.revokeSession(ctx, "s."+key[strings.LastIndexByte(key, '.')+1:])
		if err != nil && !errors.Is(err, ErrNotFound) { // not made, after its index
			return err
		}
	}
	return nil
}
