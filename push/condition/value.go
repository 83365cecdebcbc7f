package condition

import "strings"

// value reads a bare or a quoted value; sign is the operator before it.
func (p *parser) value(sign string) (string, error) {
	start := p.at
	if p.peek() != '"' && bareLength(p.text[p.at:]) == 0 {
		return "", p.fail(start, `%s instead of a value after %q; write a value, in quotes if it is empty or has any of , " \ = < > ! in it`,
			p.found(), sign)
	}
	value, err := p.bareOrQuoted()
	if err == nil && len(value) > maxValue {
		return "", p.fail(start, "a value of %d bytes; %d are the most", len(value), maxValue)
	}
	return value, err
}

func (p *parser) bareOrQuoted() (string, error) {
	if p.peek() == '"' {
		return p.quoted()
	}
	start := p.at
	p.at += bareLength(p.text[start:])
	return p.text[start:p.at], nil
}

// bareLength returns how many bytes s begins with that need no quotes.
func bareLength(s string) int {
	if at := strings.IndexAny(s, " \t,\"\\=<>!"); at >= 0 {
		return at
	}
	return len(s)
}

func (p *parser) quoted() (string, error) {
	open := p.at
	var value strings.Builder
	for p.at++; ; p.at++ {
		switch c := p.peek(); {
		case p.ended():
			return "", p.fail(open, "a quote that is not closed; end the value with another")
		case c == '"':
			p.at++
			return value.String(), nil
		case c == '\\':
			p.at++
			if c = p.peek(); c != '"' && c != '\\' {
				return "", p.fail(p.at, `%s after a backslash; write \\ for a backslash and \" for a quote`, p.found())
			}
		}
		value.WriteByte(p.text[p.at])
	}
}
