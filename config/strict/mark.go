package strict

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// What the YAML reader says of a list or a mapping that does not go on as it should.
const (
	unclosedList    = "did not find expected ',' or ']'"
	unclosedMapping = "did not find expected ',' or '}'"
	noContent       = "did not find expected node content"
)

// What the YAML reader says of values that must be quoted. It takes one that begins with * for an
// alias, and one that begins with & for an anchor; @, ` and % begin none.
const (
	unquoted    = "did not find expected alphabetic or numeric character"
	unstartable = "found character that cannot start any token"
)

var reference = regexp.MustCompile(`^[*&][0-9A-Za-z_-]+$`)

// isUnquoted reports whether a word is one that the YAML reader answers with unquoted.
func isUnquoted(word string) bool {
	return strings.ContainsAny(word[:1], "*&") && !reference.MatchString(word)
}

// isReserved reports whether a word is one that the YAML reader answers with unstartable.
func isReserved(word string) bool { return strings.ContainsAny(word[:1], "@`%") }

// mark returns the first value of a line that is wanted, and its column in characters. A value is
// cut to its first word, and is not empty. Without one the column is that of the line's first
// character. Quoted text and comments have none.
func mark(line string, wanted func(word string) bool) (word string, col int) {
	start := indent(line)
	for i := start; i < len(line); i++ {
		switch c := line[i]; {
		case c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return "", start + 1
		case c == ' ' || c == '\t' || !beginsValue(line[:i]):
		case c == '"' || c == '\'':
			i += closing(line[i:])
		default:
			if word := firstWord(line[i:]); wanted(word) {
				return word, utf8.RuneCountInString(line[:i]) + 1
			}
		}
	}
	return "", start + 1
}

// firstWord returns the word that begins with the first byte of text: that byte, and what follows
// up to the end of the value or the key.
func firstWord(text string) string {
	end := 1 + strings.IndexAny(text[1:], " \t,]}")
	if end == 0 {
		end = len(text)
	}
	if end > 1 {
		return strings.TrimSuffix(text[:end], ":")
	}
	return text[:end]
}

// beginsValue reports whether a value or a key begins after the first part of a line.
func beginsValue(before string) bool {
	word := strings.TrimRight(before, " \t")
	if word == "" {
		return true
	}
	switch word[len(word)-1] {
	case '[', '{', ',':
		return true
	case ':', '-', '?':
		return len(word) < len(before) || strings.HasSuffix(word, `":`) || strings.HasSuffix(word, `':`)
	}
	return false
}

// closing returns the index of the quote that ends a quoted text, or of the last byte if none does.
func closing(text string) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[0] == '"' && text[i] == '\\':
			i++
		case text[i] == text[0]:
			return i
		}
	}
	return len(text) - 1
}
