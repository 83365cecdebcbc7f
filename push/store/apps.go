package store

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// appSequences knows the highest sequence of each app subject.
type appSequences struct {
	mu   sync.RWMutex
	last map[string]uint64 // by filter, as AppSubjects has it
}

func (a *appSequences) saw(filter string, seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last[filter] = max(a.last[filter], seq)
}

// AppLast returns the highest sequence of a message that a filter of
// AppSubjects matches, among those that were stored when the first Subscribe
// returned or were handed over since; zero when there is none. The message may
// have expired. A terminal whose cursor has come so far needs no Backlog.
func (s *Store) AppLast(filter string) uint64 {
	s.apps.mu.RLock()
	defer s.apps.mu.RUnlock()
	return s.apps.last[filter]
}

// primeApps reads what was stored before the consumer starts, after upTo.
func (s *Store) primeApps(ctx context.Context, upTo uint64) error {
	info, err := s.streamInfoUpTo(ctx, messageStream, "m.a.>", upTo)
	if err != nil {
		return err
	}
	filters := map[string]bool{}
	for subject := range info.State.Subjects {
		filters[targetOf(subject)] = true
	}
	for filter := range filters {
		m, err := s.stored(ctx, messageStream, getRequest{Last: filter})
		if errors.Is(err, ErrNotFound) {
			continue // expired since
		}
		if err != nil {
			return err
		}
		s.apps.saw(filter, m.seq)
	}
	return nil
}

func isApp(subject string) bool { return strings.HasPrefix(subject, "m.a.") }
