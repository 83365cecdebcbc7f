package convert

import (
	"fmt"
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
	matching    string // empty: whatever the star stands for
	alpn        []string
	from        []netip.Prefix
	allow, deny []netip.Prefix
	to          target
}

// maxSteps bounds the work for one file: a file of hostile conditions would otherwise take hours.
const maxSteps = 1 << 23

// key spells what c says.
func (c choice) key() string { return fmt.Sprint(c.matching, c.alpn, c.from, c.allow, c.deny, c.to) }

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
		said[p] = choices(e.choices)
		all = append(all, e)
		if *steps > maxSteps {
			return nil, ErrTooLarge
		}
	}
	all = slices.DeleteFunc(all, func(e entry) bool {
		for _, w := range wider(e.pattern)[1:] {
			if s, ok := said[w]; ok {
				return s == said[e.pattern]
			}
		}
		return false
	})
	certificates(all)
	return all, nil
}

// certificates gives the entries within one for acme-tls/1 a choice for it of their own: Keyhole sends
// such a hello to the narrowest route that has the protocol, whatever narrower ones there are.
func certificates(all []entry) {
	ordered := map[string]bool{}
	has := func(e entry) bool {
		return slices.ContainsFunc(e.choices, func(c choice) bool { return slices.Contains(c.alpn, acme) })
	}
	for _, e := range all {
		ordered[e.pattern] = has(e)
	}
	for i, e := range all {
		if within := slices.ContainsFunc(wider(e.pattern)[1:], func(p string) bool { return ordered[p] }); within && !has(e) {
			var own []choice
			for _, c := range e.choices {
				if c.alpn == nil { // whatever its expression
					c.alpn = []string{acme}
					own = append(own, c)
				}
			}
			all[i].choices = append(own, e.choices...)
		}
	}
}

// index notes which rules name which patterns, and returns all patterns. It reports false when these
// are too many.
func (t *tabler) index() (all []string, ok bool) {
	closed := map[string]bool{} // a rule takes all names of the pattern
	seen := map[string]bool{}
	listed := map[*patterns]bool{}
	for i, r := range t.rules {
		lists := r.conditions()
		whole := true // a pattern leads to each list
		for _, list := range lists {
			lead := newPatterns() // one of these leads to the list
			for _, l := range list {
				if l.names == nil {
					continue
				}
				if !l.not {
					lead = l.names
				}
				if listed[l.names] {
					continue
				}
				listed[l.names] = true
				for _, p := range l.names.list {
					if !seen[p] {
						seen[p] = true
						all = append(all, p)
					}
				}
			}
			if *t.steps += len(lead.list); *t.steps > maxSteps {
				return nil, false
			}
			whole = whole && len(lead.list) > 0
			for _, p := range lead.list {
				if b := t.by[p]; !closed[p] && (len(b) == 0 || b[len(b)-1] != i) {
					t.by[p] = append(b, i)
				}
			}
		}
		if !whole {
			t.loose = append(t.loose, i)
		} else if len(lists) == 1 && len(lists[0]) == 1 {
			for p := range lists[0][0].names.has {
				closed[p] = true
			}
		}
	}
	for _, p := range []string{"**", ""} {
		if !seen[p] {
			all = append(all, p)
		}
	}
	return all, true
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
			c, fits, bound := t.fit(r.place, list, around)
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

// fit asks whether the names of a pattern fit a list of conditions. Around are this pattern and all that
// contain it. The conditions on other than the name are bound: they are left to the choice, with
// networks that must not fit in deny.
func (t *tabler) fit(at place, list []literal, around []string) (c choice, fits, bound bool) {
	for _, l := range list {
		switch {
		case l.alpn != nil:
			c.alpn, bound = l.alpn, true
		case l.from != nil && l.not:
			c.deny, bound = slices.Concat(c.deny, l.from), true
		case l.from != nil:
			c.from, bound = l.from, true
		default:
			*t.steps += len(l.names.stars)
			takes, matching, known := l.names.take(around)
			if !known || matching != "" && (l.not || c.matching != "") {
				t.add(at, "%s: an expression decides for a part of these names, which has no equal", told(around[0]))
				return c, false, false
			}
			if takes == l.not {
				return c, false, false
			}
			if matching != "" {
				c.matching, bound = matching, true
			}
		}
	}
	return c, true, bound
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
