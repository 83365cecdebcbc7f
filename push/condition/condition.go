// Package condition reads the condition that a message may carry, and measures it against the state that a terminal
// reports.
//
//	c, err := condition.Parse(`network=wifi, app_version>=2.1`)
//	c.Match(map[string]string{"network": "wifi", "app_version": "2.10"}) // true
//
// A condition is a list of terms with commas between them, all of which have to hold; there is no "or" and there are no
// parentheses. A term is one of
//
//	key               the terminal reports the key, whatever its value
//	!key              it does not
//	key=value         the value is this one, byte for byte
//	key!=value        the key is reported, and its value is another
//	key<value         and <=, >, >=: the value is less, as a number or a version
//
// A key is a letter of a to z and up to 63 of a to z, 0 to 9, "_", "." and "-". A value of up to 128 bytes is written
// bare, or in quotes when it is empty or has spaces or any of , " \ = < > ! in it; inside quotes \" and \\ stand for a
// quote and a backslash. Spaces and tabs around keys, operators, values and commas mean nothing.
//
// Of a key that the terminal does not report nothing is known, and only !key holds: key!=value does not.
//
// The operators <, <=, > and >= compare whole numbers, with or without a sign, as numbers. Everything with a dot in it
// is a version, as 2.10 is the tenth minor version of 2 and not 2.1: its parts are compared one by one, a missing part
// is 0, a leading "v" and what follows a "+" do not count, and a pre-release such as 2.1-rc1 comes before 2.1 (Semantic
// Versioning 2.0.0 section 11). A state value that is neither holds for none of the four.
//
// The package keeps no state and knows no key by name.
package condition

import "strings"

// Limits of a condition.
const (
	maxBytes = 512
	maxTerms = 16
	maxKey   = 64  // bytes
	maxValue = 128 // bytes, without the quotes and backslashes it was written with
)

// A Condition says of which terminals a message is. The zero value is of every one. It does not change, and may be used
// by several goroutines.
type Condition struct {
	terms []term
}

type term struct {
	key, value string
	op         operator
}

type operator uint8

const (
	present operator = iota
	absent
	equal
	unequal
	less
	lessOrEqual
	greater
	greaterOrEqual
)

// signs are the operators as they are written.
var signs = [...]string{
	equal: "=", unequal: "!=", less: "<", lessOrEqual: "<=", greater: ">", greaterOrEqual: ">=",
}

// ordered tells the operators that compare from those that ask for the same text.
func (o operator) ordered() bool { return o >= less }

// IsZero reports whether c has no terms, and so holds for every state.
func (c Condition) IsZero() bool { return len(c.terms) == 0 }

// Match reports whether every term of c holds for state. It does not allocate: it runs once a message and terminal.
func (c Condition) Match(state map[string]string) bool {
	for i := range c.terms {
		if !c.terms[i].match(state) {
			return false
		}
	}
	return true
}

func (t *term) match(state map[string]string) bool {
	value, known := state[t.key]
	if !known || t.op == absent {
		return known == (t.op != absent)
	}
	switch t.op {
	case present:
		return true
	case equal:
		return value == t.value
	case unequal:
		return value != t.value
	}
	order, ok := compare(value, t.value)
	return ok && t.op.holds(order)
}

// holds reports whether an ordered operator accepts a value that compares so to its own.
func (o operator) holds(order int) bool {
	switch o {
	case less:
		return order < 0
	case lessOrEqual:
		return order <= 0
	case greater:
		return order > 0
	default:
		return order >= 0
	}
}

// String returns c as Parse reads it, without spaces and with quotes only where they are needed: two conditions with
// the same terms in the same order have the same text. It is no longer than what was parsed.
func (c Condition) String() string {
	var b strings.Builder
	for i, t := range c.terms {
		if i > 0 {
			b.WriteByte(',')
		}
		if t.op == absent {
			b.WriteByte('!')
		}
		b.WriteString(t.key)
		b.WriteString(signs[t.op])
		if t.op >= equal {
			writeValue(&b, t.value)
		}
	}
	return b.String()
}

func writeValue(b *strings.Builder, value string) {
	if value != "" && bareLength(value) == len(value) {
		b.WriteString(value)
		return
	}
	b.WriteByte('"')
	quoted.WriteString(b, value)
	b.WriteByte('"')
}

var quoted = strings.NewReplacer(`"`, `\"`, `\`, `\\`)
