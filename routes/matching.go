package routes

import (
	"fmt"
	"regexp"
	"sync"
)

// Matching is a regular expression for what the stars of a pattern stand for: all of it, without
// the dot before the suffix, in lower case. The expression has RE2's syntax, and case does not
// count.
type Matching struct {
	expression string
	re         *regexp.Regexp
}

// ParseMatching compiles an expression.
func ParseMatching(expression string) (*Matching, error) {
	if _, err := regexp.Compile(expression); err != nil { // alone, so that it closes no group of ours
		return nil, err
	}
	re, err := regexp.Compile(`\A(?i:` + expression + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("%q cannot stand in a group: %w", expression, err)
	}
	return &Matching{expression, re}, nil
}

// String returns the expression as it was written.
func (m *Matching) String() string { return m.expression }

// stars are copies for package regexp, to which a name would escape from its caller's stack.
var stars = sync.Pool{New: func() any { return new([maxName]byte) }}

func (m *Matching) takes(star []byte) bool {
	b := stars.Get().(*[maxName]byte)
	defer stars.Put(b)
	return m.re.Match(b[:copy(b[:], star)])
}
