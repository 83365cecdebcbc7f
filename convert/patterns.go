package convert

import (
	"regexp"
	"slices"
	"strings"
)

// patterns is a set of patterns in the order in which they came: names, *.x, **.x, ** for any name, and
// "" for no name.
type patterns struct {
	list  []string
	has   map[string]bool // of the list, those that take all their names
	stars []star
}

// A star takes the names of a pattern whose star an expression matches as a whole.
type star struct {
	pattern, matching string
	re                *regexp.Regexp
}

// A match is what takes the names that a word of a configuration takes.
type match struct {
	patterns []string
	star     *star  // beside the patterns, if there is one
	inexact  string // what the patterns take more or less than the word; empty: nothing
}

// add adds a match, or notes why there is none. It reports whether there is one.
func (s *patterns) add(n *notes, at place, m match, err error) bool {
	if err != nil {
		n.add(at, "%v", err)
		return false
	}
	if m.inexact != "" {
		n.add(at, "%s", m.inexact)
	}
	s.join(newPatterns(m.patterns...))
	if m.star != nil {
		s.list = append(s.list, m.star.pattern)
		s.stars = append(s.stars, *m.star)
	}
	return true
}

// join adds the patterns of another set.
func (s *patterns) join(o *patterns) {
	for _, p := range o.list {
		if !s.has[p] && o.has[p] {
			s.has[p] = true
			s.list = append(s.list, p)
		}
	}
	for _, x := range o.stars {
		s.list = append(s.list, x.pattern)
		s.stars = append(s.stars, x)
	}
}

func newPatterns(all ...string) *patterns {
	s := &patterns{has: map[string]bool{}}
	for _, p := range all {
		s.has[p] = true
	}
	s.list = all
	return s
}

// take reports whether the set takes the names of a pattern, all of them or those whose star matches.
// Around are this pattern and all that contain it. It reports known false if neither can be said.
func (s *patterns) take(around []string) (takes bool, matching string, known bool) {
	if slices.ContainsFunc(around, func(p string) bool { return s.has[p] }) {
		return true, "", true
	}
	p, known := around[0], true
	var all []string
	for _, x := range s.stars {
		suffix := strings.TrimLeft(x.pattern, "*")
		switch {
		case !slices.Contains(around, x.pattern):
		case p == x.pattern || p == "*"+suffix:
			all = append(all, x.matching)
		case strings.HasPrefix(p, "*"):
			known = false
		case x.re.MatchString(strings.TrimSuffix(p, suffix)):
			return true, "", true
		}
	}
	return len(all) > 0, strings.Join(all, "|"), known
}
