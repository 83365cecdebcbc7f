package routes

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"
)

// build fills the index in two passes over the routes: the first measures, the second writes. Each
// normalises every pattern. Keeping a million of them in between would cost more, because a reload
// runs beside traffic and the collector has to find what it allocates.
func (t *Table) build() error {
	patterns := 0
	for i := range t.routes {
		patterns += len(t.routes[i].SNI)
		t.acme = t.acme || slices.Contains(t.routes[i].protocols(), acmeProtocol)
	}
	t.index = newIndex(patterns)
	if err := t.eachPattern(func(_ int, _ kind, suffix []byte) { t.index.reserve(suffix) }); err != nil {
		return err
	}
	t.index.layout()
	b := builder{Table: t, held: map[terms]int{}}
	if err := t.eachPattern(b.claim); err != nil {
		return err
	}
	if len(b.conflicts) > 0 {
		return b.conflicts
	}
	for i := range t.claims {
		t.claims[i].layout()
	}
	return nil
}

// eachPattern calls f with the index of a route and each of its patterns in normal form. f must not
// keep suffix.
func (t *Table) eachPattern(f func(i int, k kind, suffix []byte)) error {
	var buf [maxName]byte
	for i := range t.routes {
		for _, s := range t.routes[i].SNI {
			k, suffix, err := appendPattern(buf[:0], s)
			if err == nil && k == exact && t.routes[i].When.matches() {
				err = fmt.Errorf("pattern %q %w", s, errNoStar)
			}
			if err != nil {
				return fmt.Errorf("route %d: %w", i, err)
			}
			f(i, k, suffix)
		}
	}
	return nil
}

var errNoStar = errors.New("has no star, and matching is asked of what a star stands for")

// A builder gives patterns to routes and notes where two contradict each other.
type builder struct {
	*Table
	conflicts Conflicts
	held      map[terms]int // route; of patterns in Table.claims only
}

// terms are one pattern under one set of conditions, which one route may have.
type terms struct {
	pattern  uint32 // index in Table.claims
	listener int    // -1: any
	protocol string // "": any
	from     netip.Prefix
	matching string
}

// claim gives a pattern to route i, beside the routes that have it already, and notes the conflicts
// with those. Every conflict names the first route that had the terms.
func (b *builder) claim(i int, k kind, suffix []byte) {
	to, known := b.index.insert(k, suffix)
	now := target(i)
	if !known {
		b.index.depths[k].add(depth(suffix))
	} else {
		now = target(binary.LittleEndian.Uint32(to))
	}
	if known && now&isShared == 0 {
		first := int(now & targetMask)
		now = b.share()
		b.join(now, first, k, suffix)
	}
	if !known && len(b.routes[i].from()) > 0 {
		now, known = b.share(), true
	}
	if known {
		b.join(now, i, k, suffix)
	}
	binary.LittleEndian.PutUint32(to, uint32(now))
}

// share returns a target for the claims of one more pattern.
func (t *Table) share() target {
	t.claims = append(t.claims, claims{})
	return target(len(t.claims)-1) | isShared
}

// join adds route i to the claims of a pattern, and notes the conflicts with those before it.
func (b *builder) join(to target, i int, k kind, suffix []byte) {
	at := uint32(to & targetMask)
	for x := range b.routes[i].terms() {
		x.pattern = at
		first, ok := b.held[x]
		if !ok {
			b.held[x] = i
			continue
		}
		c := Conflict{Pattern: k.pattern(suffix), First: first, Second: i, ALPN: x.protocol, From: x.from, Matching: x.matching}
		if x.listener >= 0 {
			c.Listener = b.labels[x.listener]
		}
		b.conflicts = append(b.conflicts, c)
	}
	c := &b.claims[at]
	if n := len(c.all); n > 0 && c.all[n-1] == uint32(i) {
		return // the route lists the pattern twice, which is a conflict
	}
	c.all = append(c.all, uint32(i))
	for _, p := range b.routes[i].from() {
		if c.from == nil {
			c.from = new(bart.Table[[]contender])
		}
		p = p.Masked()
		list, _ := c.from.Get(p)
		c.from.Insert(p, append(list, contender{uint32(i), uint8(p.Bits())}))
	}
	if len(b.routes[i].from()) == 0 {
		c.anywhere = append(c.anywhere, uint32(i))
	}
}

// terms yields every combination of the route's conditions.
func (r *Route) terms() func(yield func(terms) bool) {
	return func(yield func(terms) bool) {
		w := cmp.Or(r.When, &Conditions{})
		matching := ""
		if w.Matching != nil {
			matching = w.Matching.String()
		}
		for _, listener := range orOne(w.Listen, -1) {
			for _, protocol := range orOne(w.ALPN, "") {
				for _, from := range orOne(w.From, netip.Prefix{}) {
					x := terms{listener: listener, protocol: protocol, from: from.Masked(), matching: matching}
					if !yield(x) {
						return
					}
				}
			}
		}
	}
}

// orOne returns the list, or one of the value that stands for any.
func orOne[T any](list []T, any T) []T {
	if len(list) == 0 {
		return []T{any}
	}
	return list
}

// layout gives each network of the claims the routes of the wider ones around it, so that a look-up
// asks for the longest prefix alone.
func (c *claims) layout() {
	if c.from == nil {
		return
	}
	all := maps.Collect(c.from.All()) // the table must not change under its iterator
	for _, p := range slices.SortedFunc(maps.Keys(all), func(a, b netip.Prefix) int { return cmp.Compare(a.Bits(), b.Bits()) }) {
		if p.Bits() == 0 {
			continue
		}
		around, _ := p.Addr().Prefix(p.Bits() - 1)
		if wider, ok := c.from.LookupPrefix(around); ok {
			c.from.Insert(p, slices.Concat(all[p], wider))
		}
	}
}

// A Conflict is a pattern that two routes claim for the same clients. The conditions that both
// have are "" or zero where neither has any.
type Conflict struct {
	Pattern  string // in normal form
	First    int    // index of the route that claimed it first
	Second   int    // index of the other; First itself when one route lists the pattern twice
	Listener string // its label
	ALPN     string
	From     netip.Prefix
	Matching string // the regular expression
}

// Terms says under which conditions both claim the pattern: ` with alpn "h2"`, or "".
func (c Conflict) Terms() string {
	var b strings.Builder
	if c.Listener != "" {
		fmt.Fprintf(&b, " on listener %s", c.Listener)
	}
	if c.Matching != "" {
		fmt.Fprintf(&b, " matching %q", c.Matching)
	}
	if c.ALPN != "" {
		fmt.Fprintf(&b, " with alpn %q", c.ALPN)
	}
	if c.From.IsValid() {
		fmt.Fprintf(&b, " from %s", c.From)
	}
	return b.String()
}

// String names the routes by index: only the caller knows what their lines are called.
func (c Conflict) String() string {
	what := fmt.Sprintf("pattern %q%s", c.Pattern, c.Terms())
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
