package store

import (
	"context"
	"errors"
	"slices"
	"strings"
)

func userKey(n string) string { return "u." + name(n) }

// User returns an account, or ErrNotFound.
func (s *Store) User(ctx context.Context, name string) (User, error) {
	var u User
	_, err := s.load(ctx, records, userKey(name), &u)
	return u, err
}

// CreateUser stores a new account. It fails with ErrExists.
func (s *Store) CreateUser(ctx context.Context, u User) error {
	_, err := s.save(ctx, records, userKey(u.Name), u, create, 0)
	return err
}

// UpdateUser replaces an account, and tells all nodes when u is disabled. It
// fails with ErrNotFound, and with ErrConflict when somebody else does so at
// the same moment.
func (s *Store) UpdateUser(ctx context.Context, u User) error {
	r, err := s.get(ctx, records, userKey(u.Name))
	if err != nil {
		return err
	}
	if _, err := s.save(ctx, records, userKey(u.Name), u, r.revision, 0); err != nil {
		return err
	}
	if !u.Disabled {
		return nil
	}
	return s.Announce(ctx, Event{Kind: UserDisabled, Key: u.Name})
}

// Users returns all accounts by name.
func (s *Store) Users(ctx context.Context) ([]User, error) {
	users, err := all[User](ctx, s, "u")
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	return users, err
}

// all reads the records whose keys start with prefix and a dot, one by one: for
// those that people made.
func all[T any](ctx context.Context, s *Store, prefix string) ([]T, error) {
	keys, err := s.under(ctx, records, prefix)
	if err != nil {
		return nil, err
	}
	list := make([]T, 0, len(keys))
	for _, key := range keys {
		var v T
		_, err := s.load(ctx, records, key, &v)
		if errors.Is(err, ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func publisherKey(hash string) string { return "p." + name(hash) }

// Publisher returns the publisher whose key has this hash, or ErrNotFound.
func (s *Store) Publisher(ctx context.Context, hash string) (Publisher, error) {
	var p Publisher
	_, err := s.load(ctx, records, publisherKey(hash), &p)
	return p, err
}

// CreatePublisher stores a new publisher. It fails with ErrExists when there is
// one of that name that was not revoked.
func (s *Store) CreatePublisher(ctx context.Context, p Publisher) error {
	nameKey := "n." + name(p.Name)
	holder, err := s.get(ctx, records, nameKey)
	if err == nil {
		old, err := s.Publisher(ctx, string(holder.data))
		if err == nil && !old.Revoked {
			return ErrExists
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	// The name first: it refers to no publisher if the second write fails, and
	// can be taken again, while a key that works under no name could not be
	// revoked.
	if _, err := s.put(ctx, records, nameKey, []byte(p.Hash), holder.revision, 0); err != nil {
		if errors.Is(err, ErrConflict) {
			return ErrExists
		}
		return err
	}
	_, err = s.save(ctx, records, publisherKey(p.Hash), p, create, 0)
	return err
}

// RevokePublisher ends what the key of a publisher is good for. It fails with
// ErrNotFound.
func (s *Store) RevokePublisher(ctx context.Context, publisher string) error {
	holder, err := s.get(ctx, records, "n."+name(publisher))
	if err != nil {
		return err
	}
	return change(ctx, s, publisherKey(string(holder.data)), func(p *Publisher) bool {
		was := p.Revoked
		p.Revoked = true
		return !was
	})
}

// Publishers returns all publishers by name, revoked ones too.
func (s *Store) Publishers(ctx context.Context) ([]Publisher, error) {
	list, err := all[Publisher](ctx, s, "p")
	slices.SortFunc(list, func(a, b Publisher) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// change applies edit to a record, anew when somebody else changed it
// meanwhile. Nothing is written when edit returns false.
func change[T any](ctx context.Context, s *Store, key string, edit func(*T) bool) error {
	for {
		var v T
		revision, err := s.load(ctx, records, key, &v)
		if err != nil || !edit(&v) {
			return err
		}
		_, err = s.save(ctx, records, key, v, revision, 0)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if ctx.Err() != nil {
			return s.ended(ctx)
		}
	}
}
