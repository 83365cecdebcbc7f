package strict

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Root turns the text of File into the root node of its only document, without the parts of YAML
// that are refused. It returns nil, with a problem reported unless Wanted is "", when there is none.
func (d *Decoder) Root(data []byte) *yaml.Node {
	d.enter()
	root := d.syntax(data)
	if root != nil {
		d.vet(root)
		if d.LookupEnv != nil && bytes.Contains(data, []byte("${")) {
			d.expand(root)
		}
	}
	return root
}

func (d *Decoder) syntax(data []byte) *yaml.Node {
	if !d.readable(data) {
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if err == nil {
		if err = dec.Decode(&second); err == nil {
			d.Fail(&second, "a second YAML document, want one in a file")
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		d.empty(1, 1)
		return nil
	case err != nil:
		d.syntaxError(data, err)
		return nil
	}
	root := doc.Content[0]
	if IsNull(root) {
		d.empty(root.Line, root.Column)
		return nil
	}
	return root
}

func (d *Decoder) empty(line, col int) {
	if d.Wanted != "" {
		d.FailAt(line, col, "the configuration is empty, want %s", d.Wanted)
	}
}

// readable reports whether the text is UTF-8 without control characters, the only text that the
// positions of the YAML reader are right for.
func (d *Decoder) readable(data []byte) bool {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		d.FailAt(1, 1, "the file is UTF-16, save it as UTF-8")
		return false
	}
	for i := 0; i < len(data); {
		if c := data[i]; c >= ' ' && c < 0x7f || c == '\n' || c == '\r' || c == '\t' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		line, col := position(data, i)
		switch {
		case r == utf8.RuneError && size == 1:
			d.FailAt(line, col, "byte 0x%02x is not UTF-8, save the file as UTF-8", data[i])
			return false
		case r == '\ufeff' && i == 0: // some editors begin every file with it
		case r < ' ' || r >= 0x7f && r < 0xa0 && r != 0x85 || r == '\ufeff' || r == '\ufffe' || r == '\uffff':
			d.FailAt(line, col, "character %U is not allowed in YAML", r)
			return false
		}
		i += size
	}
	return true
}

// position returns the line and the column, in characters, of a byte.
func position(data []byte, offset int) (line, col int) {
	before := data[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	anyHost    = regexp.MustCompile(`^\*:\d+$`)                               // nginx and HAProxy write *:443
	braced     = regexp.MustCompile(`(?:- |: |\[|, )(\{\w+\}[.:][^\s,\]}]*)`) // {sni}:443
	yamlAnchor = regexp.MustCompile(`^yaml: unknown anchor '(.*)' referenced`)
)

// parserMessages are the errors for which yaml.v3 gives the line counted from zero; its others are
// counted from one.
var parserMessages = []string{
	"did not find expected <stream-start>", "did not find expected <document start>",
	noContent, "did not find expected '-' indicator",
	"did not find expected key", unclosedList, unclosedMapping,
	"found undefined tag handle", "found duplicate %YAML directive", "found incompatible YAML document",
	"found duplicate %TAG directive",
}

// syntaxHints say where errors of the YAML reader mostly come from.
var syntaxHints = map[string]string{
	"did not find expected key":                      "; is this line indented as its neighbours are?",
	"did not find expected '-' indicator":            "; is this line indented as its neighbours are?",
	"mapping values are not allowed in this context": "; a value with a colon is quoted",
	unstartable: "; a value that begins with a sign is quoted",
}

// syntaxError reports an error of the YAML reader.
func (d *Decoder) syntaxError(data []byte, err error) {
	if m := yamlAnchor.FindStringSubmatch(err.Error()); m != nil {
		first, _ := position(data, max(0, bytes.Index(data, []byte("*"+m[1]))))
		line := blockError(data, err, first)
		_, col := mark(lineText(data, line), func(word string) bool { return word == "*"+m[1] })
		d.FailAt(line, col, "YAML aliases are not supported, write the value out")
		return
	}
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		d.FailAt(1, 1, "YAML syntax: %v", err)
		return
	}
	line, message := 1, m[2]
	if m[1] != "" {
		line, _ = strconv.Atoi(m[1])
		if slices.Contains(parserMessages, message) {
			line++
		}
	}
	if message == "did not find expected key" || message == "did not find expected '-' indicator" {
		line = blockError(data, err, line)
	}
	if d.withoutQuotes(lineText(data, line), line, message) || d.variableInFlow(data, line, message) {
		return
	}
	if tab := tabIndent(data, line); tab > 0 {
		d.FailAt(line, tab, "a tab in the indentation, YAML wants spaces")
		return
	}
	text := lineText(data, line)
	if at := braced.FindStringSubmatchIndex(text); at != nil {
		d.FailAt(line, utf8.RuneCountInString(text[:at[2]])+1, "a value that begins with { must be quoted, did you mean %s?", Quote(text[at[2]:at[3]]))
		return
	}
	d.FailAt(line, indent(text)+1, "YAML syntax: %s%s", message, syntaxHints[message])
}

// withoutQuotes reports the first value of a line that the message of the YAML reader can be about,
// if there is one.
func (d *Decoder) withoutQuotes(text string, line int, message string) bool {
	wanted, ok := map[string]func(string) bool{unquoted: isUnquoted, unstartable: isReserved}[message]
	if !ok {
		return false
	}
	word, col := mark(text, wanted)
	switch {
	case word == "":
		return false
	case anyHost.MatchString(word):
		d.FailAt(line, col, "%s is no address, write %s for every address", Quote(word), Quote(word[1:]))
	default:
		d.FailAt(line, col, "a value that begins with %s must be quoted, did you mean %s?", word[:1], Quote(word))
	}
	return true
}

// blockError finds the line of an error inside a block. The YAML reader says where the block
// begins, which may be the top of the file, or nothing at all, so this looks for the shortest
// beginning of the file that fails in the same way. A file too large for reading it some twenty
// times over keeps the reader's line.
func blockError(data []byte, err error, line int) int {
	if len(data) > 1<<20 {
		return line
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	n := sort.Search(len(lines), func(i int) bool {
		var doc yaml.Node
		e := yaml.Unmarshal(bytes.Join(lines[:i+1], nil), &doc)
		return e != nil && e.Error() == err.Error()
	})
	if n == len(lines) {
		return line
	}
	return n + 1
}

// tabIndent returns the column of a tab in a line's indentation, or 0.
func tabIndent(data []byte, line int) int {
	text := lineText(data, line)
	return strings.IndexByte(text[:indent(text)], '\t') + 1
}

func indent(text string) int { return len(text) - len(strings.TrimLeft(text, " \t")) }

func lineText(data []byte, line int) string {
	for range line - 1 {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	text, _, _ := bytes.Cut(data, []byte("\n"))
	return string(bytes.TrimRight(text, "\r"))
}

// vet refuses the parts of YAML that would put a value elsewhere than where it is used, or change
// its type: a problem could not be shown at its place, and aliases of aliases can make a short file
// endless.
func (d *Decoder) vet(n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		d.Fail(n, "YAML aliases are not supported, write the value out")
	case n.Tag == "!!merge":
		d.Fail(n, "YAML merge keys are not supported, write the keys out")
	case n.Anchor != "":
		d.Fail(n, "YAML anchors are not supported, write the value out where it is used")
	case n.Style&yaml.TaggedStyle != 0:
		d.Fail(n, "YAML tags are not supported, leave out %s", Quote(n.Tag))
		n.Style &^= yaml.TaggedStyle
	}
	for _, c := range n.Content {
		d.vet(c)
	}
}
