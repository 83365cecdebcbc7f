package condition

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Parse reads a condition of up to 512 bytes and 16 terms. An empty text, or one of spaces, is the zero Condition. An
// error names the column, counted in characters from 1, and what to write instead.
func Parse(s string) (Condition, error) {
	p := parser{text: s}
	if len(s) > maxBytes {
		return Condition{}, p.fail(maxBytes, "more than %d bytes; send fewer or shorter terms", maxBytes)
	}
	if at := invalid(s); at < len(s) {
		return Condition{}, p.fail(at, "a control character, or not UTF-8; leave it out")
	}
	if p.skip(); p.ended() {
		return Condition{}, nil
	}
	terms, err := p.list()
	return Condition{terms: terms}, err
}

// invalid returns where s stops being text: a NATS header keeps it, and a line break would end that.
func invalid(s string) int {
	for at, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[at:], string(utf8.RuneError)) {
			return at
		}
		if r < ' ' && r != '\t' || r == 0x7f {
			return at
		}
	}
	return len(s)
}

// A parser stands at a byte of text.
type parser struct {
	text string
	at   int
}

func (p *parser) ended() bool { return p.at == len(p.text) }

// peek returns the byte at hand, 0 at the end.
func (p *parser) peek() byte {
	if p.ended() {
		return 0
	}
	return p.text[p.at]
}

// skip passes over spaces and tabs.
func (p *parser) skip() {
	for p.peek() == ' ' || p.peek() == '\t' {
		p.at++
	}
}

// take passes over prefix and the spaces after it, if it is at hand.
func (p *parser) take(prefix string) bool {
	if !strings.HasPrefix(p.text[p.at:], prefix) {
		return false
	}
	p.at += len(prefix)
	p.skip()
	return true
}

func (p *parser) fail(at int, format string, args ...any) error {
	column := utf8.RuneCountInString(p.text[:at]) + 1
	return fmt.Errorf("condition, column %d: %s", column, fmt.Sprintf(format, args...))
}

func (p *parser) list() ([]term, error) {
	var terms []term
	for {
		if len(terms) == maxTerms {
			return nil, p.fail(p.at, "more than %d terms; send fewer", maxTerms)
		}
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
		if p.skip(); p.ended() {
			return terms, nil
		}
		if !p.take(",") {
			return nil, p.fail(p.at, "%s after a term; write a comma between two terms%s", p.found(), p.hint(t))
		}
	}
}

// hint is what else may be meant where a term has ended too early.
func (p *parser) hint(t term) string {
	switch {
	case t.op == absent && strings.IndexByte("=<>!", p.peek()) >= 0:
		return `, and "!" only before a key alone`
	case t.op >= equal:
		return ", or quotes around the value"
	}
	return ""
}

func (p *parser) term() (term, error) {
	t := term{}
	if p.peek() == '!' {
		p.take("!")
		t.op = absent
	}
	var err error
	if t.key, err = p.key(); err != nil || t.op == absent {
		return t, err
	}
	p.skip()
	if t.op = p.operator(); t.op == present {
		return t, nil
	}
	start := p.at
	if t.value, err = p.value(signs[t.op]); err != nil {
		return t, err
	}
	if t.op.ordered() && !orderable(t.value) {
		return t, p.fail(start, "%s wants a whole number or a version, as 80 or 2.1; compare %q with = or !=", signs[t.op], t.value)
	}
	return t, nil
}

func (p *parser) key() (string, error) {
	start := p.at
	if c := p.peek(); c < 'a' || c > 'z' {
		return "", p.fail(start, "%s instead of a key; write a key of a to z, as network", p.found())
	}
	for isKeyByte(p.peek()) {
		p.at++
	}
	if p.at-start > maxKey {
		return "", p.fail(start, "a key of %d bytes; %d are the most", p.at-start, maxKey)
	}
	if c := p.peek(); c >= 'A' && c <= 'Z' {
		return "", p.fail(p.at, "%q in a key; write keys in lower case", c)
	}
	return p.text[start:p.at], nil
}

func isKeyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}

// operator passes over one, if it is at hand; it returns present if not.
func (p *parser) operator() operator {
	// Those of two characters first: "<" begins "<=".
	for _, o := range [...]operator{unequal, lessOrEqual, greaterOrEqual, equal, less, greater} {
		if p.take(signs[o]) {
			return o
		}
	}
	return present
}

// found names what is at hand, for an error.
func (p *parser) found() string {
	if p.ended() {
		return "the end"
	}
	_, size := utf8.DecodeRuneInString(p.text[p.at:])
	return fmt.Sprintf("%q", p.text[p.at:p.at+size])
}
