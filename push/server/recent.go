package server

import (
	"sync"
	"time"
)

// A recent remembers what came of late. It forgets in two generations, so it
// has no timer, and its size is bounded: the last size keys are known, each for
// at least life unless more than that come within it.
type recent[K comparable, V any] struct {
	size int
	life time.Duration
	now  func() time.Time

	mu             sync.Mutex
	turned         time.Time
	latest, before map[K]V
}

func newRecent[K comparable, V any](size int, life time.Duration, now func() time.Time) *recent[K, V] {
	return &recent[K, V]{size: size, life: life, now: now, turned: now(), latest: map[K]V{}}
}

// add remembers a key and reports whether it was new. If not, its old value
// stays.
func (r *recent[K, V]) add(key K, value V) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turnLocked()
	if _, found := r.getLocked(key); found {
		return false
	}
	r.latest[key] = value
	return true
}

// set remembers a key with another value than before.
func (r *recent[K, V]) set(key K, value V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turnLocked()
	r.latest[key] = value
}

func (r *recent[K, V]) get(key K) (value V, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turnLocked()
	return r.getLocked(key)
}

func (r *recent[K, V]) getLocked(key K) (value V, found bool) {
	if value, found = r.latest[key]; !found {
		value, found = r.before[key]
	}
	return value, found
}

// turnLocked drops the older generation when the latest is full or old.
func (r *recent[K, V]) turnLocked() {
	old := r.now().Sub(r.turned)
	if len(r.latest) < r.size && old < r.life {
		return
	}
	r.before, r.latest = r.latest, map[K]V{}
	if old >= 2*r.life {
		r.before = nil
	}
	r.turned = r.now()
}
