package convert

import "strings"

// A line is one of HAProxy's: the words of a statement.
type line struct {
	place
	words []string
	env   bool // a variable of the environment is in it
}

// word returns the word at i, or "" behind the last.
func (l line) word(i int) string {
	if i < len(l.words) {
		return l.words[i]
	}
	return ""
}

// lexHAProxy splits a text into its lines (HAProxy's manual, section 2.2). A line without words is
// left out.
func lexHAProxy(file, text string) []line {
	var all []line
	number := 0
	for s := range strings.Lines(text) {
		number++
		l := lexLine(strings.TrimRight(s, "\r\n"))
		l.place = place{file, number}
		if len(l.words) > 0 {
			all = append(all, l)
		}
	}
	return all
}

// lexLine splits one line at blanks. Quotes and backslashes protect what follows them, and # begins
// a comment.
func lexLine(s string) (l line) {
	var word strings.Builder
	begun := false
	end := func() {
		if begun {
			l.words = append(l.words, word.String())
		}
		word.Reset()
		begun = false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t':
			end()
			continue
		case '#':
			end()
			return l
		case '\'':
			n := strings.IndexByte(s[i+1:], '\'')
			if n < 0 {
				n = len(s) - i - 1
			}
			word.WriteString(s[i+1 : i+1+n])
			i += n + 1
		case '"':
			i = l.quoted(&word, s, i+1)
		case '\\': // is for the regular expression before other letters
			if i+1 < len(s) && strings.IndexByte(" \t#\\'\"$", s[i+1]) >= 0 {
				i++
			}
			word.WriteByte(s[i])
		default:
			word.WriteByte(c)
		}
		begun = true
	}
	end()
	return l
}

// quoted appends what stands in double quotes from i on, and returns where they end.
func (l *line) quoted(word *strings.Builder, s string, i int) int {
	for ; i < len(s) && s[i] != '"'; i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\\\"$", s[i+1]) >= 0:
			i++
		case s[i] == '$':
			l.env = true
		}
		word.WriteByte(s[i])
	}
	return i
}

// A section is a part of an HAProxy file, with the defaults that it begins with.
type section struct {
	line
	lines    []line
	last     map[string]line // by the first word, or the first two, without "no"
	defaults *section
}

// add adds a line.
func (s *section) add(l line) {
	s.lines = append(s.lines, l)
	words := l.words
	if words[0] == "no" {
		words = words[1:]
	}
	for i := range min(2, len(words)) {
		s.last[strings.Join(words[:i+1], " ")] = l
	}
}

func (s *section) kind() string { return s.words[0] }
func (s *section) name() string { return s.word(1) }

// sectionWords begin a section.
var sectionWords = words("global defaults frontend backend listen peers resolvers userlist mailers program " +
	"cache ring http-errors fcgi-app log-forward crt-store traces")

// words returns a set of the words in s.
func words(s string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(s) {
		set[w] = true
	}
	return set
}

// splitSections returns the sections of a file. A section has the defaults that it names, or the last
// ones before it.
func splitSections(lines []line, n *notes) []*section {
	var all []*section
	var last *section
	named := map[string]*section{}
	for _, l := range lines {
		if !sectionWords[l.words[0]] {
			if len(all) == 0 {
				n.add(l.place, "%s: stands before the first section", l.words[0])
				continue
			}
			if l.env {
				n.add(l.place, "%s: write the value in the place of the variable", l.words[0])
				continue
			}
			all[len(all)-1].add(l)
			continue
		}
		s := &section{line: l, last: map[string]line{}, defaults: last}
		from := 2
		if s.kind() == "defaults" {
			s.defaults = nil
			if l.word(1) == "from" { // of defaults without a name of their own
				from = 1
			}
		}
		if l.word(from) == "from" {
			s.defaults = named[l.word(from+1)]
		}
		if s.kind() == "defaults" {
			last = s
			if from == 2 {
				named[s.name()] = s
			}
		}
		all = append(all, s)
	}
	return all
}
