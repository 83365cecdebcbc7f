package convert

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// An entry says what becomes of the names that its pattern is the narrowest for. The last choice has
// no condition.
type entry struct {
	pattern string // "" for hellos without a name
	choices []choice
}

// A choice is where an entry sends the clients that fit its conditions.
type choice struct {
	place
	alpn        []string
	from        []netip.Prefix
	allow, deny []netip.Prefix
	to          target
}

// maxSteps bounds the work for one file: a file of hostile conditions would otherwise take hours.
const maxSteps = 1 << 24

// key spells what c says.
func (c choice) key() string { return fmt.Sprint(c.alpn, c.from, c.allow, c.deny, c.to) }

// A tabler makes the table of one listener.
type tabler struct {
	*notes
	rules []rule
	by    map[string][]int // the rules that have a pattern, by it
	loose []int            // the rules that no pattern leads to
	steps *int
}

// table returns the entries of a listener in the order in which its rules name their patterns. The
// pattern of each entry decides alone, as it does in Keyhole; an entry that says what the next wider
// one does is left out. The entries "**" and "" are always there.
//
// Patterns either contain each other or have no name in common. So a rule takes all the names of an
// entry or none, and the first rule that takes them can be found for each entry alone.
func (l *listener) table(n *notes, steps *int) ([]entry, error) {
	t := &tabler{notes: n, rules: l.rules, by: map[string][]int{}, steps: steps}
	patterns, ok := t.index()
	if !ok {
		return nil, ErrTooLarge
	}
	said := map[string]string{}
	var all []entry
	for _, p := range patterns {
		e := entry{pattern: p, choices: t.choices(p)}
		for _, c := range e.choices {
			said[p] += c.key() + "\n"
		}
		all = append(all, e)
		if *steps > maxSteps {
			return nil, ErrTooLarge
		}
	}
	return slices.DeleteFunc(all, func(e entry) bool {
		wider := wider(e.pattern)
		for _, w := range wider[min(1, len(wider)):] {
			if s, ok := said[w]; ok {
				return s == said[e.pattern]
			}
		}
		return false
	}), nil
}

// index notes which rules name which patterns, and returns all patterns. It reports false when these
// are too many.
func (t *tabler) index() (patterns []string, ok bool) {
	closed := map[string]bool{} // a rule takes all names of the pattern
	seen := map[string]bool{}
	for i, r := range t.rules {
		lists := r.conditions()
		whole := true // a pattern leads to each list
		for _, list := range lists {
			var lead map[string]bool
			for _, l := range list {
				if *t.steps += len(l.names); *t.steps > maxSteps {
					return nil, false
				}
				for _, p := range sorted(l.names) {
					if !seen[p] {
						seen[p] = true
						patterns = append(patterns, p)
					}
				}
				if l.names != nil && !l.not {
					lead = l.names
				}
			}
			whole = whole && lead != nil
			for p := range lead {
				if b := t.by[p]; !closed[p] && (len(b) == 0 || b[len(b)-1] != i) {
					t.by[p] = append(b, i)
				}
			}
		}
		if !whole {
			t.loose = append(t.loose, i)
		} else if len(lists) == 1 && len(lists[0]) == 1 {
			for p := range lists[0][0].names {
				closed[p] = true
			}
		}
	}
	for _, p := range []string{"**", ""} {
		if !seen[p] {
			patterns = append(patterns, p)
		}
	}
	return patterns, true
}

// sorted returns the patterns of a set, a name before what it is the suffix of.
func sorted(set map[string]bool) []string {
	suffix := func(p string) string { return strings.TrimLeft(p, "*.") }
	return slices.SortedFunc(maps.Keys(set), func(a, b string) int {
		return cmp.Or(strings.Compare(suffix(a), suffix(b)), len(a)-len(b))
	})
}

// wider returns a pattern and all that contain it, the narrowest first.
func wider(p string) []string {
	all := []string{p}
	if p == "" || p == "**" {
		return all
	}
	stars, rest, _ := strings.Cut(p, ".")
	switch stars {
	case "*":
		all = append(all, "**."+rest)
	case "**":
	default:
		if rest != "" {
			all = append(all, "*."+rest, "**."+rest)
		}
	}
	for _, after, ok := strings.Cut(rest, "."); ok; _, after, ok = strings.Cut(after, ".") {
		all = append(all, "**."+after)
	}
	return append(all, "**")
}

// choices asks the rules, in their order, for the names of an entry.
func (t *tabler) choices(pattern string) []choice {
	around := wider(pattern)
	candidates := slices.Clone(t.loose)
	for _, p := range around {
		candidates = append(candidates, t.by[p]...)
	}
	slices.Sort(candidates)
	*t.steps += len(candidates) + len(around)
	var found []choice
	for _, i := range slices.Compact(candidates) {
		r := t.rules[i]
		for _, list := range r.conditions() {
			*t.steps += len(list)
			c, fits, bound := fit(list, around)
			if !fits {
				continue
			}
			c.place, c.to = r.place, r.to
			found = append(found, c)
			if !bound {
				return t.order(pattern, found)
			}
		}
	}
	return t.order(pattern, append(found, choice{}))
}

// fit asks whether the names within patterns fit a list of conditions. The conditions on other than
// the name are bound: they are left to the choice, with networks that must not fit in deny.
func fit(list []literal, patterns []string) (c choice, fits, bound bool) {
	for _, l := range list {
		switch {
		case l.alpn != nil:
			c.alpn, bound = l.alpn, true
		case l.from != nil && l.not:
			c.deny, bound = l.from, true
		case l.from != nil:
			c.from, bound = l.from, true
		case slices.ContainsFunc(patterns, func(p string) bool { return l.names[p] }) == l.not:
			return c, false, false
		}
	}
	return c, true, bound
}

// order makes choices that mean in any order what they meant in theirs. Keyhole asks the longest
// network first, and for protocols in the client's order.
func (t *tabler) order(pattern string, found []choice) []choice {
	var out []choice
	var allow, deny []netip.Prefix
	for i, c := range found {
		switch {
		case c.to.backend == nil && c.alpn == nil && c.deny != nil: // reject all but these
			if allow == nil {
				allow = c.deny
			} else if !slices.Equal(allow, c.deny) {
				t.add(c.place, "%s has an allow list already, and this one would have to hold as well", told(pattern))
			}
			continue
		case c.to.backend == nil && c.alpn == nil && c.from != nil:
			deny = append(deny, c.from...)
			continue
		case c.deny != nil && c.alpn == nil && c.from == nil && i == len(found)-2: // all others go to the last
			rest := found[i+1]
			rest.from, c.deny = c.deny, nil
			c, found[i+1] = rest, c
		case c.deny != nil:
			t.add(c.place, "%s: to all but a network there is no route", told(pattern))
			continue
		}
		if t.misplaced(pattern, out, &c) {
			continue
		}
		if c.to.backend != nil {
			c.allow, c.deny = allow, deny
			if slices.ContainsFunc(allow, func(p netip.Prefix) bool { return within(p, deny) }) {
				t.add(c.place, "%s: a network is both allowed and denied", told(pattern))
				c.allow, c.deny, c.to = nil, nil, target{}
			}
		}
		out = append(out, c)
	}
	return out
}

// misplaced reports whether Keyhole would ask c in another order than after the choices before it.
// It takes from c the networks that an earlier choice has.
func (t *tabler) misplaced(pattern string, before []choice, c *choice) bool {
	for _, b := range before {
		switch {
		case c.alpn == nil && c.from == nil:
		case b.alpn == nil && c.alpn == nil:
			c.from = slices.DeleteFunc(slices.Clone(c.from), func(p netip.Prefix) bool {
				return within(p, b.from)
			})
			if len(c.from) == 0 {
				return true // no client is left for it
			}
		case b.alpn != nil && c.alpn != nil && b.from == nil && c.from == nil:
			if alone(b.alpn) || alone(c.alpn) {
				continue
			}
			t.add(c.place, "%s: of several protocols, the client's first decides, not the first line", told(pattern))
		default:
			t.add(c.place, "%s: conditions on protocols and networks would be asked in another order", told(pattern))
			return true
		}
	}
	return false
}

// within reports whether a network is a part of one of others.
func within(p netip.Prefix, others []netip.Prefix) bool {
	return slices.ContainsFunc(others, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) })
}

func alone(alpn []string) bool { return len(alpn) == 1 && alpn[0] == acme }

// told names an entry in a note.
func told(pattern string) string {
	switch pattern {
	case "":
		return "hellos without a name"
	case "**":
		return "any other name"
	}
	return pattern
}
