package routes

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// build fills the index in two passes over the routes: the first measures, the second writes. Each
// normalises every pattern. Keeping a million of them in between would cost more, because a reload
// runs beside traffic and the collector has to find what it allocates.
func (t *Table) build() error {
	patterns := 0
	for i := range t.routes {
		patterns += len(t.routes[i].SNI)
	}
	t.index = newIndex(patterns)
	if err := t.eachPattern(func(_ int, _ kind, suffix []byte) { t.index.reserve(suffix) }); err != nil {
		return err
	}
	t.index.layout()
	var conflicts Conflicts
	err := t.eachPattern(func(i int, k kind, suffix []byte) { conflicts = t.claim(conflicts, i, k, suffix) })
	if err == nil && len(conflicts) > 0 {
		return conflicts
	}
	return err
}

// eachPattern calls f with the index of a route and each of its patterns in normal form. f must not
// keep suffix.
func (t *Table) eachPattern(f func(i int, k kind, suffix []byte)) error {
	var buf [maxName]byte
	for i := range t.routes {
		for _, s := range t.routes[i].SNI {
			k, suffix, err := appendPattern(buf[:0], s)
			if err != nil {
				return fmt.Errorf("route %d: %w", i, err)
			}
			f(i, k, suffix)
		}
	}
	return nil
}

// claim gives a pattern to route i, beside the routes that have it already, and appends the
// conflicts with those. Every conflict names the first route that claimed the protocol.
func (t *Table) claim(conflicts Conflicts, i int, k kind, suffix []byte) Conflicts {
	to, known := t.index.insert(k, suffix)
	if !known {
		t.index.depths[k].add(countLabels(suffix))
		binary.LittleEndian.PutUint32(to, uint32(t.single(i)))
		return conflicts
	}
	before := target(binary.LittleEndian.Uint32(to))
	conflicts = t.contradictions(conflicts, before, i, k.prefix()+string(suffix))
	binary.LittleEndian.PutUint32(to, uint32(t.share(before, i)))
	return conflicts
}

// contradictions appends the conflicts over a pattern between route i and the routes that had it
// before.
func (t *Table) contradictions(conflicts Conflicts, before target, i int, pattern string) Conflicts {
	if len(t.routes[i].ALPN) == 0 {
		return t.contradict(conflicts, before, Conflict{Pattern: pattern, Second: i})
	}
	for _, p := range t.routes[i].ALPN {
		conflicts = t.contradict(conflicts, before, Conflict{Pattern: pattern, Second: i, ALPN: p})
	}
	return conflicts
}

// contradict appends c if a route that has the pattern lists c.ALPN too, or, when c.ALPN is empty,
// lists no protocol either.
func (t *Table) contradict(conflicts Conflicts, before target, c Conflict) Conflicts {
	for i := range t.claimants(before) {
		theirs := t.routes[i].ALPN
		if c.ALPN == "" && len(theirs) == 0 || slices.Contains(theirs, c.ALPN) {
			c.First = i
			return append(conflicts, c)
		}
	}
	return conflicts
}

// single is the target of a pattern that only route i claims.
func (t *Table) single(i int) target {
	if r := &t.routes[i]; len(r.ALPN) == 0 && len(r.Allow) == 0 {
		return target(i) | isOpen
	}
	return target(i)
}

// share adds route i to the routes that have a pattern.
func (t *Table) share(before target, i int) target {
	if before&isShared != 0 {
		list := &t.shared[before&targetMask]
		*list = append(*list, uint32(i))
		return before
	}
	t.shared = append(t.shared, []uint32{uint32(before & targetMask), uint32(i)})
	return target(len(t.shared)-1) | isShared
}

// A Conflict is a pattern that two routes claim for the same clients.
type Conflict struct {
	Pattern string // in normal form
	First   int    // index of the route that claimed it first
	Second  int    // index of the other; First itself when one route lists the pattern twice
	ALPN    string // the protocol that both list; "" when neither lists any
}

// String names the routes by index: only the caller knows what their lines are called.
func (c Conflict) String() string {
	what := fmt.Sprintf("pattern %q", c.Pattern)
	if c.ALPN != "" {
		what += fmt.Sprintf(" with alpn %q", c.ALPN)
	}
	if c.First == c.Second {
		return fmt.Sprintf("%s is in route %d twice", what, c.First)
	}
	return fmt.Sprintf("%s is in route %d and in route %d", what, c.First, c.Second)
}

// Conflicts is the error of New when routes contradict each other: all of them, by Second.
type Conflicts []Conflict

func (cs Conflicts) Error() string {
	lines := make([]string, len(cs))
	for i, c := range cs {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n")
}
