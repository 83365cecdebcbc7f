package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"
)

// TokenHash is what a message token is stored under: the SHA-256 of its text in
// hexadecimal. It takes any text.
func TokenHash(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func tokenKey(hash string) string { return "t." + name(hash) }

// Token returns a token, or ErrNotFound.
func (s *Store) Token(ctx context.Context, hash string) (Token, error) {
	var t Token
	revision, err := s.load(ctx, records, tokenKey(hash), &t)
	t.Revision = revision
	return t, err
}

// A triple leads from who a token is for to the token. The token itself is
// made again each time it is asked for, from Salt and the secret: it is not
// stored anywhere.
type triple struct {
	Salt []byte `json:"salt"` // 32 random bytes
	Hash string `json:"hash"`
}

func (s *Store) tokenText(salt []byte, user, device, app string) string {
	mac := hmac.New(sha256.New, s.keys.token)
	mac.Write(salt)
	for _, part := range []string{user, device, app} {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// TokenOf returns the token of one app of one user on one device, as text and
// record: the same each time, until it is revoked or swept; then another. The
// text has 256 random bits.
func (s *Store) TokenOf(ctx context.Context, user, device, app string) (text string, t Token, err error) {
	key := "k." + name(user, device, app)
	for ctx.Err() == nil {
		var known triple
		revision, err := s.load(ctx, records, key, &known)
		if errors.Is(err, ErrNotFound) {
			revision, known, err = s.saltTriple(ctx, key, create, user, device, app)
		}
		if err != nil && !lostRace(err) {
			return "", Token{}, err
		}
		if err != nil {
			continue // somebody else was first: take what that is
		}
		text = s.tokenText(known.Salt, user, device, app)
		if t, err = s.tokenRecord(ctx, known.Hash, user, device, app); err != nil {
			return "", Token{}, err
		}
		if !t.Revoked {
			return text, t, nil
		}
		if _, _, err := s.saltTriple(ctx, key, revision, user, device, app); err != nil && !lostRace(err) {
			return "", Token{}, err
		}
	}
	return "", Token{}, s.ended(ctx)
}

func lostRace(err error) bool { return errors.Is(err, ErrExists) || errors.Is(err, ErrConflict) }

// saltTriple stores a new salt in the place of that of revision.
func (s *Store) saltTriple(ctx context.Context, key string, revision uint64, user, device, app string) (uint64, triple, error) {
	salt := make([]byte, 32)
	text := "-"
	for text[0] == '-' { // a command line would take it for an option
		rand.Read(salt)
		text = s.tokenText(salt, user, device, app)
	}
	n := triple{Salt: salt, Hash: TokenHash(text)}
	revision, err := s.save(ctx, records, key, n, revision, 0)
	return revision, n, err
}

// tokenRecord returns the record of a token, which it makes when it is missing.
func (s *Store) tokenRecord(ctx context.Context, hash, user, device, app string) (Token, error) {
	for {
		t, err := s.Token(ctx, hash)
		if !errors.Is(err, ErrNotFound) {
			return t, err
		}
		now := s.cfg.Now().UTC().Truncate(time.Millisecond)
		t = Token{Hash: hash, User: user, Device: device, App: app, Created: now, Used: day(now)}
		t.Revision, err = s.save(ctx, records, tokenKey(hash), t, create, 0)
		if !errors.Is(err, ErrExists) {
			return t, err
		}
	}
}

func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// UpdateToken replaces the token of t's revision and returns it with the new
// one. It fails with ErrConflict.
func (s *Store) UpdateToken(ctx context.Context, t Token) (Token, error) {
	revision, err := s.save(ctx, records, tokenKey(t.Hash), t, t.Revision, 0)
	if err == nil {
		t.Revision = revision
	}
	return t, err
}

// TouchToken notes that t was used now, unless it is known to have been used on
// the same day.
func (s *Store) TouchToken(ctx context.Context, t Token, now time.Time) error {
	if !t.Used.Before(day(now)) {
		return nil
	}
	return change(ctx, s, tokenKey(t.Hash), func(t *Token) bool {
		if !t.Used.Before(day(now)) {
			return false
		}
		t.Used = day(now)
		return true
	})
}

// RevokeToken ends a token, tells all nodes and deletes the messages under it.
// It fails with ErrNotFound.
func (s *Store) RevokeToken(ctx context.Context, hash string) error {
	err := change(ctx, s, tokenKey(hash), func(t *Token) bool {
		was := t.Revoked
		t.Revoked = true
		return !was
	})
	if err != nil {
		return err
	}
	if err := s.Announce(ctx, Event{Kind: TokenRevoked, Key: hash}); err != nil {
		return err
	}
	return s.forget(ctx, hash)
}

// forget deletes what is stored under a token, but for its record.
func (s *Store) forget(ctx context.Context, hash string) error {
	if err := s.eraseAll(ctx, messageStream, TokenFilter(hash)); err != nil {
		return err
	}
	return s.eraseAll(ctx, terminalStream, terminals.prefix+terminalKey(hash))
}
