package strict

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces each ${NAME} in the values below n. It comes after the YAML reader, so that the
// text of a variable stays one value whatever it holds. Keys stay as they are.
func (d *Decoder) expand(n *yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		d.substitute(n)
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			d.expand(n.Content[i])
		}
	default:
		for _, c := range n.Content {
			d.expand(c)
		}
	}
}

// substitute replaces each ${NAME} in a value, and each $${ by ${. A value that it cannot replace
// stays as it is, and no later problem is reported there.
func (d *Decoder) substitute(n *yaml.Node) {
	if !strings.Contains(n.Value, "${") {
		return
	}
	var b strings.Builder
	written := origin{text: n.Value}
	for rest := n.Value; ; {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			b.WriteString(rest)
			break
		}
		if literal, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(literal + "${")
			rest = after
			continue
		}
		name, after, closed := strings.Cut(after, "}")
		value, err := d.lookUp(name, closed)
		if err != "" {
			d.Fail(n, "%s", err)
			written.unread = true
			break
		}
		b.WriteString(before + value)
		written.variable = true
		rest = after
	}
	if !written.unread {
		n.Value = b.String()
		n.Style = 0 // inside braces it must be quoted, also as a number
	}
	if d.origins == nil {
		d.origins = map[*yaml.Node]origin{}
	}
	d.origins[n] = written
}

// lookUp returns the text of a variable, or what is wrong with it.
func (d *Decoder) lookUp(name string, closed bool) (value, wrong string) {
	switch {
	case !closed:
		return "", "${ has no }, write ${NAME} for a variable of the environment, or $${ for the text ${"
	case variable.MatchString(name):
		value, ok := d.LookupEnv(name)
		if !ok {
			return "", fmt.Sprintf("the environment has no variable %s; set it for `check` and `run` alike, or write $${ for the text ${", name)
		}
		return value, ""
	}
	if plain, _, ok := strings.Cut(name, ":"); ok && variable.MatchString(plain) {
		return "", fmt.Sprintf("%s: a variable has no default here, write ${%s} and set it in the environment", Quote("${"+name+"}"), plain)
	}
	return "", fmt.Sprintf("%s is no variable, its name may hold only letters, digits and underscores; write $${ for the text ${", Quote("${"+name+"}"))
}

// An origin is a value as the file has it, before the environment.
type origin struct {
	text     string
	variable bool // text holds one
	unread   bool // a problem is reported already
}

// byName puts what the file says in place of a variable's text in a message: a log may not get what
// the environment holds.
func (o origin) byName(message, value string) string {
	if !o.variable {
		return message
	}
	if named := strings.ReplaceAll(message, Quote(value), Quote(o.text)); named != message {
		return named
	}
	return message + " (written as " + Quote(o.text) + ")"
}

// variableInFlow reports a value with ${NAME} that is not quoted inside [ ] or { }, where YAML takes
// its brace for a mapping. The line is that of the list or mapping.
func (d *Decoder) variableInFlow(data []byte, line int, message string) bool {
	if d.LookupEnv == nil || !slices.Contains([]string{unclosedList, unclosedMapping, noContent}, message) {
		return false
	}
	for ; ; line++ {
		text := strings.TrimRight(lineText(data, line), " \t")
		if word, col := mark(text, func(word string) bool { return strings.Contains(word, "${") }); word != "" {
			d.FailAt(line, col, "a value with ${NAME} must be quoted inside [ ] and { }")
			return true
		}
		if text == "" || !strings.ContainsAny(text[len(text)-1:], "[{,") {
			return false
		}
	}
}
