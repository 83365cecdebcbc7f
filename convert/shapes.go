package convert

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"keyhole/routes"
)

// matches returns what takes the names that value takes by one of HAProxy's methods.
func matches(method, value string) (m match, err error) {
	switch method {
	case "", "str":
		if strings.HasPrefix(value, "*") {
			return m, fmt.Errorf("%s: the star is taken as it stands, and no client sends one; did you mean -m end %s?",
				value, strings.TrimLeft(value, "*"))
		}
		return parsed(value)
	case "end":
		return ending(value, "-m end "+value)
	case "dom":
		m, err = parsed(strings.Trim(value, "."), "**."+strings.Trim(value, "."))
		m.inexact = fmt.Sprintf("-m dom %s takes names with it in the middle too, such as %[1]s.example.org", value)
		return m, err
	case "beg":
		return starred("**", regexp.QuoteMeta(value)+".*")
	case "sub":
		return starred("**", ".*"+regexp.QuoteMeta(value)+".*")
	case "reg":
		return shape(value)
	}
	return m, fmt.Errorf("-m %s %s: no pattern says this", method, value)
}

// ending returns the patterns for names that end in value.
func ending(value, what string) (m match, err error) {
	if rest, ok := strings.CutPrefix(value, "."); ok {
		return parsed("**." + rest)
	}
	m, err = parsed(value, "**."+value)
	m.inexact = fmt.Sprintf("%s takes names without a dot before it too, such as not%s, which are not carried over", what, value)
	return m, err
}

// parsed returns patterns in their normal form.
func parsed(patterns ...string) (match, error) {
	for i, p := range patterns {
		normal, err := routes.ParsePattern(p)
		if err != nil {
			return match{}, err
		}
		patterns[i] = normal
	}
	return match{patterns: patterns}, nil
}

// starred returns the names of a pattern whose star an expression matches as a whole.
func starred(pattern, matching string) (match, error) {
	if _, err := routes.ParseMatching(matching); err != nil {
		return match{}, fmt.Errorf("regular expression %s: %w", matching, err)
	}
	re, err := regexp.Compile(`\A(?i:` + matching + `)\z`)
	return match{star: &star{pattern, matching, re}}, err
}

// The parts of a regular expression that a pattern can say.
const (
	opening  = "^"
	closing  = "$"
	oneLabel = "\x00" // [^.]+
	some     = "\x01" // .+
	anything = "\x02" // .*
)

// maxShapes bounds the names that one regular expression lists.
const maxShapes = 128

// shape returns what a regular expression takes: a name, a suffix, a list of these, or another
// expression for a star.
func shape(expr string) (m match, err error) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return m, fmt.Errorf("regular expression %s: %w", expr, err)
	}
	all, ok := spell(re)
	for _, s := range all {
		one, err := spelt(s, expr)
		m.patterns, ok = append(m.patterns, one.patterns...), ok && err == nil
		m.inexact = cmp.Or(m.inexact, one.inexact)
	}
	if !ok {
		return starredBy(re)
	}
	return m, nil
}

// spelt returns the patterns for one text of parts.
func spelt(s, expr string) (match, error) {
	s, closed := strings.CutSuffix(s, closing)
	s, opened := strings.CutPrefix(s, opening)
	if !closed && s != anything {
		return match{}, errShape
	}
	if rest, ok := strings.CutPrefix(s, anything); ok {
		s, opened = rest, false
	}
	switch {
	case s == "" && !opened, s == some:
		return match{patterns: []string{"**"}}, nil
	case opened && strings.HasPrefix(s, oneLabel+"."):
		s = "*." + s[len(oneLabel+"."):]
	case strings.HasPrefix(s, oneLabel+"."), strings.HasPrefix(s, some+"."):
		s = "**" + s[1:]
	case strings.ContainsAny(s, oneLabel+some+anything+opening+closing+"*"):
		return match{}, errShape
	case !opened:
		return ending(s, expr)
	}
	return parsed(s)
}

var errShape = errors.New("neither a name nor a suffix")

// starredBy cuts the suffix from an expression, if it has one, and leaves the rest to the star.
func starredBy(re *syntax.Regexp) (match, error) {
	subs := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		subs = slices.Clone(re.Sub)
	}
	before, behind, pattern := ".*", ".*", "**"
	if subs[0].Op == syntax.OpBeginText {
		before, subs = "", subs[1:]
	}
	if n := len(subs); n > 0 && subs[n-1].Op == syntax.OpEndText {
		behind, subs = "", subs[:n-1]
	}
	if n := len(subs); n > 1 && behind == "" && subs[n-1].Op == syntax.OpLiteral {
		head, suffix, dot := strings.Cut(string(subs[n-1].Rune), ".")
		if p, err := routes.ParsePattern("**." + suffix); err == nil && dot {
			behind, pattern, subs = regexp.QuoteMeta(head), p, subs[:n-1]
		}
	}
	return starred(pattern, before+(&syntax.Regexp{Op: syntax.OpConcat, Sub: subs}).String()+behind)
}

// spell returns the texts that a regular expression lists, with parts among their letters. It
// reports false for another expression.
func spell(re *syntax.Regexp) ([]string, bool) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpLiteral:
		s := string(re.Rune)
		return []string{s}, !strings.ContainsAny(s, oneLabel+some+anything+opening+closing+"*")
	case syntax.OpBeginText, syntax.OpBeginLine:
		return []string{opening}, true
	case syntax.OpEndText, syntax.OpEndLine:
		return []string{closing}, true
	case syntax.OpCapture:
		return spell(re.Sub[0])
	case syntax.OpQuest:
		all, ok := spell(re.Sub[0])
		return append(all, ""), ok
	case syntax.OpPlus, syntax.OpStar:
		return spellRepeated(re)
	case syntax.OpCharClass:
		return spellClass(re)
	case syntax.OpAlternate:
		return spellEach(re.Sub, nil, func(all, more []string) []string { return append(all, more...) })
	case syntax.OpConcat:
		return spellEach(re.Sub, []string{""}, product)
	}
	return nil, false
}

// spellEach combines the texts of several expressions.
func spellEach(subs []*syntax.Regexp, all []string, combine func(all, more []string) []string) ([]string, bool) {
	for _, sub := range subs {
		more, ok := spell(sub)
		if !ok || len(all)*len(more) > maxShapes*maxShapes {
			return nil, false
		}
		if all = combine(all, more); len(all) > maxShapes {
			return nil, false
		}
	}
	return all, true
}

func product(all, more []string) []string {
	var out []string
	for _, a := range all {
		for _, m := range more {
			out = append(out, a+m)
		}
	}
	return out
}

// spellRepeated knows the repeated parts: .+, .* and [^.]+.
func spellRepeated(re *syntax.Regexp) ([]string, bool) {
	sub := re.Sub[0]
	for sub.Op == syntax.OpCapture {
		sub = sub.Sub[0]
	}
	whole := sub.Op == syntax.OpAnyChar || sub.Op == syntax.OpAnyCharNotNL
	switch {
	case whole && re.Op == syntax.OpStar:
		return []string{anything}, true
	case whole:
		return []string{some}, true
	case sub.Op == syntax.OpCharClass && allButDot(sub.Rune):
		return []string{oneLabel}, true // no name has an empty label
	}
	return nil, false
}

// allButDot reports whether a class, a list of ranges, is [^.].
func allButDot(ranges []rune) bool {
	return len(ranges) == 4 && ranges[0] == 0 && ranges[1] == '.'-1 && ranges[2] == '.'+1
}

// spellClass lists the characters of a small class.
func spellClass(re *syntax.Regexp) (all []string, ok bool) {
	for i := 0; i+1 < len(re.Rune); i += 2 {
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			if len(all) == 16 || r < '-' || r > 'z' {
				return nil, false
			}
			all = append(all, string(r))
		}
	}
	return all, true
}
