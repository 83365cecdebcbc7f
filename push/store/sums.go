package store

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// sums remember what was said under the ids of late. JetStream knows the id of
// a message that was acknowledged, but not its content any more, and another
// one with that id would be taken for stored.
type sums struct {
	mu    sync.Mutex
	byKey *simplelru.LRU[string, string] // Message.sum by Message.key
}

// knownSums are kept in mind: about 6 MB.
const knownSums = 1 << 15

func newSums() *sums {
	byKey, err := simplelru.NewLRU[string, string](knownSums, nil)
	if err != nil {
		panic(err) // of a size below one only
	}
	return &sums{byKey: byKey}
}

// saw notes a message that was stored.
func (s *sums) saw(key, sum string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byKey.Add(key, sum)
}

// another reports whether the id is known to be that of a message other than m.
func (s *sums) another(m *Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, known := s.byKey.Get(m.key())
	return known && sum != m.sum()
}
