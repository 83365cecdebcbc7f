package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Backlog returns the stored messages that a filter of TokenFilter or
// AppSubjects matches and whose sequence is above after and not above upTo: in
// order, and at most max. Messages that have expired may be among them. The
// server that answers has come to upTo: where it has not, Backlog asks again
// until ctx ends.
func (s *Store) Backlog(ctx context.Context, filter string, after, upTo uint64, max int) ([]Message, error) {
	if upTo <= after || max <= 0 {
		return nil, nil
	}
	found, err := s.newest(ctx, []string{filter}, after+1, upTo, max)
	if errors.Is(err, errTooMany) {
		found, err = s.newestOfMany(ctx, filter, after+1, upTo, max)
	}
	if err != nil {
		return nil, err
	}
	messages := make([]Message, 0, len(found))
	for _, r := range found {
		m, _, err := decode(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.place(), err)
		}
		messages = append(messages, *m)
	}
	return messages, nil
}

// Last returns the sequence of the last message or event that was stored, by any
// node: every publish that was answered before has one at or below it. It asks
// the leader.
func (s *Store) Last(ctx context.Context) (uint64, error) {
	var info struct { // a part of what streamInfo reads, in half the time
		State struct {
			Last uint64 `json:"last_seq"`
		} `json:"state"`
		Cluster *struct { // nil: a server alone
			Leader string `json:"leader"`
		} `json:"cluster"`
	}
	err := s.retry(ctx, func(ctx context.Context) error {
		err := s.call(ctx, "STREAM.INFO."+messageStream, struct{}{}, &info)
		if err == nil && info.Cluster != nil && info.Cluster.Leader == "" {
			// While there is no leader any server answers, and it may lag.
			err = fmt.Errorf("%w: the stream has no leader", errAgain)
		}
		return err
	})
	return info.State.Last, err
}

// newest returns the first max messages of subjects that filters match, from
// one sequence to another. It fails with errTooMany where they match more than
// maxLast subjects.
func (s *Store) newest(ctx context.Context, filters []string, from, upTo uint64, max int) (found []raw, err error) {
	r := lastRequest{Filters: filters, From: from, Batch: min(max, maxLast)}
	if s.local == nil {
		r.Filters = append(slices.Clip(filters), markSubject)
		r.Batch++
	}
	err = s.retry(ctx, func(ctx context.Context) error {
		a, err := s.lastOf(ctx, r)
		if errors.Is(err, errNoMatch) {
			err = s.nothing(ctx)
		} else if err == nil && s.local == nil {
			err = behind(a.seen, upTo)
		}
		found = a.messages
		return err
	})
	found = slices.DeleteFunc(found, func(m raw) bool { return m.seq > upTo || m.subject == markSubject })
	return found[:min(len(found), max)], err
}

// nothing decides what no answer at all means: that there is no message. In a
// cluster the mark was asked for too, and somebody has purged it.
func (s *Store) nothing(ctx context.Context) error {
	if s.local != nil {
		return nil
	}
	if err := s.mark(ctx); err != nil {
		return err
	}
	return errAgain
}

// newestOfMany is newest for any number of subjects, named one by one. Each
// group's first max are read, since the first of all may be in any.
func (s *Store) newestOfMany(ctx context.Context, filter string, from, upTo uint64, max int) ([]raw, error) {
	limit := upTo
	if s.local != nil {
		limit = 0 // the only server has come as far as there is
	}
	info, err := s.streamInfoUpTo(ctx, messageStream, filter, limit)
	if err != nil {
		return nil, err
	}
	var all []raw
	subjects := slices.Collect(maps.Keys(info.State.Subjects))
	for group := range slices.Chunk(subjects, maxLast-1) { // and the mark
		found, err := s.newest(ctx, group, from, upTo, max)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b raw) int { return cmp.Compare(a.seq, b.seq) })
	return all[:min(len(all), max)], nil
}

// Message returns one stored message, or ErrNotFound when it has expired or was
// deleted or replaced.
func (s *Store) Message(ctx context.Context, seq uint64) (Message, error) {
	r, err := s.stored(ctx, messageStream, getRequest{Seq: seq})
	if err != nil {
		return Message{}, err
	}
	m, _, err := decode(r)
	if err != nil {
		return Message{}, fmt.Errorf("%s: %w", s.place(), err)
	}
	return *m, nil
}
