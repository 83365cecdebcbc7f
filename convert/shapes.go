package convert

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"

	"keyhole/routes"
)

// matches returns the patterns that take the names which value takes by one of HAProxy's methods:
// str, end, dom or reg. Patterns that take fewer names than value are told in inexact.
func matches(method, value string) (patterns []string, inexact string, err error) {
	switch method {
	case "", "str":
		if strings.HasPrefix(value, "*") {
			return nil, "", fmt.Errorf("%s: the star is taken as it stands, and no client sends one; did you mean -m end %s?",
				value, strings.TrimLeft(value, "*"))
		}
		return parsed(value)
	case "end":
		return ending(value, "-m end "+value)
	case "dom":
		patterns, _, err = parsed(strings.Trim(value, "."), "**."+strings.Trim(value, "."))
		return patterns, fmt.Sprintf("-m dom %s takes names with it in the middle too, such as %[1]s.example.org", value), err
	case "reg":
		return shape(value)
	}
	return nil, "", fmt.Errorf("-m %s %s: no pattern says this", method, value)
}

// ending returns the patterns for names that end in value.
func ending(value, what string) (patterns []string, inexact string, err error) {
	if rest, ok := strings.CutPrefix(value, "."); ok {
		return parsed("**." + rest)
	}
	patterns, _, err = parsed(value, "**."+value)
	return patterns, fmt.Sprintf("%s takes names without a dot before it too, such as not%s, which are not carried over",
		what, value), err
}

// parsed returns patterns in their normal form.
func parsed(patterns ...string) ([]string, string, error) {
	for i, p := range patterns {
		normal, err := routes.ParsePattern(p)
		if err != nil {
			return nil, "", err
		}
		patterns[i] = normal
	}
	return patterns, "", nil
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

// shape returns the patterns for a regular expression that is a name, a suffix or a list of these.
func shape(expr string) (patterns []string, inexact string, err error) {
	odd := fmt.Errorf("regular expression %s: neither a name nor a suffix nor a list of these", expr)
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, "", odd
	}
	all, ok := spell(re)
	if !ok {
		return nil, "", odd
	}
	for _, s := range all {
		some, not, err := spelt(s, expr)
		if err != nil {
			return nil, "", odd
		}
		patterns = append(patterns, some...)
		if not != "" {
			inexact = not
		}
	}
	return patterns, inexact, nil
}

// spelt returns the patterns for one text of parts.
func spelt(s, expr string) (patterns []string, inexact string, err error) {
	s, closed := strings.CutSuffix(s, closing)
	s, opened := strings.CutPrefix(s, opening)
	if !closed && s != anything {
		return nil, "", errors.New("no end")
	}
	if rest, ok := strings.CutPrefix(s, anything); ok {
		s, opened = rest, false
	}
	switch {
	case s == "" && !opened, s == some:
		return []string{"**"}, "", nil
	case opened && strings.HasPrefix(s, oneLabel+"."):
		s = "*." + s[len(oneLabel+"."):]
	case strings.HasPrefix(s, oneLabel+"."), strings.HasPrefix(s, some+"."):
		s = "**" + s[1:]
	case !opened:
		if strings.ContainsAny(s, oneLabel+some+anything+opening+closing+"*") {
			return nil, "", errors.New("no suffix")
		}
		return ending(s, expr)
	}
	return parsed(s)
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
