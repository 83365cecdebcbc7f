package strict

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// A Decoder walks the nodes of a file, or of several, one after the other. A method that reads a
// value reports what is wrong with it and returns false; the caller goes on with the rest, so that
// one run finds every problem.
type Decoder struct {
	File   string // the file that the nodes are of, as problems name it
	Wanted string // what an empty file lacks: "at least `listen` and `routes`"; "": nothing

	// LookupEnv returns the text of ${NAME} in a value; nil: ${ means nothing.
	LookupEnv func(name string) (string, bool)

	files    map[string]int // where each stands in the order of reading
	problems Problems
	silenced int                   // problems that were not reported, see Fail
	origins  map[*yaml.Node]origin // of the values with ${
	warnings Problems
}

// In calls read with another file for File.
func (d *Decoder) In(file string, read func()) {
	before := d.File
	d.File = file
	d.enter()
	read()
	d.File = before
}

// enter gives File its place in the order of the files.
func (d *Decoder) enter() {
	if d.files == nil {
		d.files = map[string]int{}
	}
	if _, ok := d.files[d.File]; !ok {
		d.files[d.File] = len(d.files)
	}
}

// Place says where a line is: "on line 12" of File, "in conf.d/a.yaml:12" of another.
func (d *Decoder) Place(file string, line int) string {
	if file == d.File {
		return fmt.Sprintf("on line %d", line)
	}
	return fmt.Sprintf("in %s:%d", file, line)
}

// Problems returns the problems found so far, or nil. They are sorted by position, and the files are
// in the order in which they were read.
func (d *Decoder) Problems() Problems { return d.problems.sorted(d.files) }

// Warnings returns what is no problem, but hardly meant, sorted by position, or nil.
func (d *Decoder) Warnings() Problems { return d.warnings.sorted(d.files) }

// Warn reports a warning at a node.
func (d *Decoder) Warn(n *yaml.Node, format string, args ...any) {
	before, silenced := len(d.problems), d.silenced
	d.Fail(n, "warning: "+format, args...)
	d.warnings = append(d.warnings, d.problems[before:]...)
	d.problems, d.silenced = d.problems[:before], silenced
}

// Count is the number of problems found so far.
func (d *Decoder) Count() int { return len(d.problems) + d.silenced }

// Fail reports a problem at a node. A value whose ${NAME} could not be replaced has its problem
// already.
func (d *Decoder) Fail(n *yaml.Node, format string, args ...any) {
	o, ok := d.origins[n]
	switch {
	case !ok:
		d.FailAt(n.Line, n.Column, format, args...)
	case o.unread:
		d.silenced++
	default:
		d.FailAt(n.Line, n.Column, "%s", o.byName(fmt.Sprintf(format, args...), n.Value))
	}
}

// FailedBefore counts a problem that is reported elsewhere.
func (d *Decoder) FailedBefore() { d.silenced++ }

// FailAt reports a problem at a line and a column, both from 1.
func (d *Decoder) FailAt(line, col int, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.File, line, col, fmt.Sprintf(format, args...)})
}

// WrongType reports a value of another kind than it must be. It is silent about an alias, which vet
// has refused already.
func (d *Decoder) WrongType(n *yaml.Node, subject, want string) {
	if n.Kind != yaml.AliasNode {
		d.Fail(n, "%s must be %s, got %s", subject, want, Describe(n))
	}
}

// Describe says what a value is, for a message.
func Describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case IsNull(n):
		return "nothing"
	case n.Style != 0:
		return "the quoted text " + Quote(n.Value)
	}
	return Quote(n.Value)
}

// IsNull reports whether a value is left out, or written as null.
func IsNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Style == 0 && n.Tag == "!!null" }

// A Schema names the keys of one kind of mapping.
type Schema struct {
	What     string // "a route", for messages
	Want     string // "a mapping such as {...}"
	Keys     []string
	Refused  []string // of Keys: those that the caller refuses, which no message suggests
	Required []string
	Either   []string // of these one at least must be there, unless there are none

	// Hints say what to write instead of the keys that other programs have. A key of this schema in
	// such a hint is not missing as well.
	Hints map[string]string
}

// maxKeys is more keys than any schema has.
const maxKeys = 24

// Fields yields the key and the value of each known key of a mapping once. It reports unknown,
// duplicate and missing keys itself.
func (d *Decoder) Fields(n *yaml.Node, s *Schema) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(k, v *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			d.WrongType(n, s.What, s.Want)
			return
		}
		var lines [maxKeys]int // of each key of the schema; an array, since a route may not cost a map
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			switch at := d.knownKey(k, s); {
			case at < 0:
			case lines[at] > 0:
				d.Fail(k, "duplicate key %s, first on line %d", Key(k.Value), lines[at])
			default:
				lines[at] = k.Line
				if !yield(k, n.Content[i+1]) {
					return
				}
			}
		}
		missing := func(name string) bool { return lines[slices.Index(s.Keys, name)] == 0 && !Misspelt(n, s, name) }
		for _, name := range s.Required {
			if missing(name) {
				d.Fail(n, "missing key %s", Key(name))
			}
		}
		if len(s.Either) > 0 && every(s.Either, missing) {
			d.Fail(n, "missing key %s", oneOf(s.Either, Key))
		}
	}
}

func every(words []string, is func(string) bool) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !is(w) })
}

// knownKey returns the index of a key in its schema, -1 if it is not there.
func (d *Decoder) knownKey(k *yaml.Node, s *Schema) int {
	switch {
	case k.Kind == yaml.AliasNode || k.Tag == "!!merge":
		return -1 // vet has refused it
	case k.Kind != yaml.ScalarNode:
		d.Fail(k, "a key must be a word, got %s", Describe(k))
		return -1
	}
	at := slices.Index(s.Keys, k.Value)
	if hint := s.Hints[k.Value]; hint != "" && at < 0 {
		d.Fail(k, "unknown key %s: %s", Key(k.Value), hint)
	} else if at < 0 {
		d.Fail(k, "unknown key %s%s", Key(k.Value), didYouMean(k.Value, s.usable(), Key))
	}
	return at
}

// usable returns the keys that are not refused.
func (s *Schema) usable() []string {
	refused := func(k string) bool { return slices.Contains(s.Refused, k) }
	return slices.DeleteFunc(slices.Clone(s.Keys), refused)
}

// Misspelt reports whether the name is there under an unknown key that was probably meant to be it,
// or that has it in its hint.
// One slip is one problem.
func Misspelt(n *yaml.Node, s *Schema, name string) bool {
	for i := 0; i < len(n.Content); i += 2 {
		k := n.Content[i].Value
		switch hint := s.Hints[k]; {
		case slices.Contains(s.Keys, k):
		case hint != "" && strings.Contains(hint, Key(name)), hint == "" && Nearest(k, s.usable()) == name:
			return true
		}
	}
	return false
}

// List returns the elements of a list with at least one.
func (d *Decoder) List(n *yaml.Node, name string) []*yaml.Node {
	switch {
	case n.Kind != yaml.SequenceNode:
		d.WrongType(n, Key(name), "a list")
	case len(n.Content) == 0:
		d.Fail(n, "%s is an empty list", Key(name))
	}
	if n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// Text returns a scalar as it is written. YAML's own idea of its type does not matter: `no` and
// 1.10 are names like any other where a name is wanted.
func (d *Decoder) Text(n *yaml.Node, name string) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.WrongType(n, Key(name), "a single value")
	case IsNull(n):
		d.Fail(n, "%s has no value", Key(name))
	case n.Value == "":
		d.Fail(n, "%s is empty", Key(name))
	default:
		return n.Value, true
	}
	return "", false
}

// Texts yields the scalars of `name: x` or `name: [x, y]`.
func (d *Decoder) Texts(n *yaml.Node, name string) iter.Seq2[*yaml.Node, string] {
	return func(yield func(*yaml.Node, string) bool) {
		if n.Kind == yaml.ScalarNode {
			if s, ok := d.Text(n, name); ok {
				yield(n, s)
			}
			return
		}
		for _, e := range d.List(n, name) {
			if s, ok := d.Text(e, name); ok && !yield(e, s) {
				return
			}
		}
	}
}

// Choice reads one of a few words.
func (d *Decoder) Choice(n *yaml.Node, name string, words ...string) (string, bool) {
	i, ok := d.ChoiceIndex(n, name, words)
	if !ok {
		return "", false
	}
	return words[i], true
}

// ChoiceIndex reads one of a few words and returns its index.
func (d *Decoder) ChoiceIndex(n *yaml.Node, name string, words []string) (int, bool) {
	s, ok := d.Text(n, name)
	if !ok {
		return 0, false
	}
	i := slices.Index(words, s)
	if i < 0 {
		d.Fail(n, "unknown value %s for %s%s", Quote(s), Key(name), didYouMean(s, words, Quote))
	}
	return i, i >= 0
}

// Integer reads a whole number within bounds, both included.
func (d *Decoder) Integer(n *yaml.Node, name string, low, high int) (int, bool) {
	v, ok := Number(n, low, high)
	if !ok {
		d.WrongType(n, Key(name), fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	return v, ok
}

// Number returns a whole number in its usual decimal form. Other forms are refused since YAML
// versions differ about them: 010 is 8 in one, 10 in another.
func Number(n *yaml.Node, low, high int) (int, bool) {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Style != 0 || err != nil || strconv.Itoa(v) != n.Value || v < low || v > high {
		return 0, false
	}
	return v, true
}

// Boolean reads true or false; anything else is reported, and false.
func (d *Decoder) Boolean(n *yaml.Node, name string) bool {
	if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Value != "true" && n.Value != "false" {
		d.WrongType(n, Key(name), "true or false")
	}
	return n.Value == "true"
}

// MaxDuration is a bound of sanity: more than it is a slip of the unit.
const MaxDuration = 30 * 24 * time.Hour

// Duration reads a duration above zero, up to MaxDuration, into dst, which keeps its value when
// there is a problem.
func (d *Decoder) Duration(n *yaml.Node, name string, dst *time.Duration) {
	d.DurationUpTo(n, name, MaxDuration, dst)
}

// DurationUpTo is Duration with another bound, in whole hours.
func (d *Decoder) DurationUpTo(n *yaml.Node, name string, most time.Duration, dst *time.Duration) {
	s, ok := d.Text(n, name)
	if !ok {
		return
	}
	within := func(v time.Duration) bool { return v > 0 && v <= most }
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		hint := cmp.Or(suggestDuration(s, within), ", write a number and a unit such as 5s, 10m or 1h")
		d.Fail(n, "bad duration %s for %s%s", Quote(s), Key(name), hint)
	case !within(v):
		d.Fail(n, "%s must be above 0s and at most %dh, got %s", Key(name), most/time.Hour, Quote(s))
	default:
		*dst = v
	}
}

// SecondsOrOff reads a duration in whole seconds, from 1s to most, or the word off, which is 0.
func (d *Decoder) SecondsOrOff(n *yaml.Node, name string, most time.Duration) (time.Duration, bool) {
	s, ok := d.Text(n, name)
	if !ok || s == "off" {
		return 0, ok
	}
	whole := func(v time.Duration) bool { return v >= time.Second && v <= most && v%time.Second == 0 }
	v, err := time.ParseDuration(s)
	if err == nil && whole(v) {
		return v, true
	}
	hint := ""
	if near := Nearest(s, []string{"off"}); near != "" {
		hint = ", did you mean " + Quote(near) + "?"
	} else if err != nil {
		hint = suggestDuration(s, whole)
	}
	d.Fail(n, "%s must be off or whole seconds from 1s to %dh, got %s%s", Key(name), most/time.Hour, Quote(s), hint)
	return 0, false
}
