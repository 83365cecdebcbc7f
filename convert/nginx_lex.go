package convert

import (
	"path"
	"strings"
)

// A directive is one of nginx's: words, and the directives of its block.
type directive struct {
	place
	words []string
	block []directive
}

func (d directive) word(i int) string {
	if i < len(d.words) {
		return d.words[i]
	}
	return ""
}

func (d directive) name() string { return d.word(0) }

// last returns the last directive of a name in the block of d.
func (d directive) last(name string) (found directive, ok bool) {
	for _, in := range d.block {
		if in.name() == name && len(in.words) > 1 {
			found, ok = in, true
		}
	}
	return found, ok
}

// maxDepth is that of blocks, and of files that include each other.
const maxDepth = 32

// An nginxLexer reads a file and the files that it includes.
type nginxLexer struct {
	*notes
	files Files
	depth int
}

// parse reads directives up to the end of the text.
func (x *nginxLexer) parse(file, text string) ([]directive, error) {
	p := &nginxParser{x: x, text: text, at: place{file, 1}}
	all, err := p.block()
	for err == nil && len(p.text) > 0 { // a brace too many
		var more []directive
		more, err = p.block()
		all = append(all, more...)
	}
	return all, err
}

// An nginxParser is at one place of a file.
type nginxParser struct {
	x    *nginxLexer
	text string // that is left
	at   place
}

// block reads directives up to a closing brace or the end.
func (p *nginxParser) block() (all []directive, err error) {
	if p.x.depth++; p.x.depth > maxDepth {
		return nil, ErrTooLarge
	}
	defer func() { p.x.depth-- }()
	var d directive
	for {
		token, quoted, ok := p.token()
		switch {
		case !ok, token == "}" && !quoted:
			if len(d.words) > 0 {
				p.x.add(d.place, "%s: has no end", d.name())
			}
			return all, nil
		case token == ";" && !quoted:
		case token == "{" && !quoted:
			if d.block, err = p.block(); err != nil {
				return nil, err
			}
		default:
			if d.words == nil {
				d.place = p.at
			}
			d.words = append(d.words, token)
			continue
		}
		if len(d.words) == 2 && d.name() == "include" {
			more, err := p.x.include(d)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		} else if len(d.words) > 0 {
			all = append(all, d)
		}
		d = directive{}
	}
}

// include reads the files that a directive names.
func (x *nginxLexer) include(d directive) (all []directive, err error) {
	if x.depth++; x.depth > maxDepth {
		return nil, ErrTooLarge
	}
	defer func() { x.depth-- }()
	names := []string{d.word(1)}
	if strings.ContainsAny(d.word(1), "*?[") {
		if names, err = x.files.Glob(d.word(1)); err != nil {
			x.add(d.place, "%v", err)
			return nil, nil
		}
	}
	for _, name := range names {
		text, err := x.files.Read(name)
		if err != nil {
			if path.Base(name) != "mime.types" { // is HTTP's
				x.add(d.place, "%v", err)
			}
			continue
		}
		more, err := x.parse(name, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// token returns the next word, brace or semicolon. It reports false at the end.
func (p *nginxParser) token() (token string, quoted, ok bool) {
	p.blanks()
	if p.text == "" {
		return "", false, false
	}
	switch c := p.text[0]; c {
	case ';', '{', '}':
		p.text = p.text[1:]
		return string(c), false, true
	case '"', '\'':
		return p.word(1, func(i int) bool { return p.text[i] == c }), true, true
	}
	return p.word(0, func(i int) bool {
		return strings.IndexByte(" \t\r\n;", p.text[i]) >= 0 || p.text[i] == '{' && p.text[i-1] != '$'
	}), false, true
}

// word returns the text from start up to where ends says, without its quotes, and without the
// backslashes before quotes and backslashes.
func (p *nginxParser) word(start int, ends func(i int) bool) string {
	var out strings.Builder
	i := start
	for ; i < len(p.text) && !ends(i); i++ {
		c := p.text[i]
		if c == '\\' && i+1 < len(p.text) {
			i++
			if next := p.text[i]; strings.IndexByte(`"'\ ;`, next) < 0 || next == '\\' {
				out.WriteByte(c)
			}
			c = p.text[i]
		}
		if c == '\n' {
			p.at.line++
		}
		out.WriteByte(c)
	}
	p.text = p.text[min(i+start, len(p.text)):]
	return out.String()
}

// blanks skips blanks and comments.
func (p *nginxParser) blanks() {
	for p.text != "" {
		switch p.text[0] {
		case '\n':
			p.at.line++
		case ' ', '\t', '\r':
		case '#':
			if i := strings.IndexByte(p.text, '\n'); i >= 0 {
				p.text = p.text[i:]
				continue
			}
			p.text = ""
			return
		default:
			return
		}
		p.text = p.text[1:]
	}
}
