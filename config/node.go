package config

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"
)

// decoder walks the nodes of one file. A method that reads a value reports
// what is wrong with it and returns false; the caller goes on with the rest,
// so that one run finds every problem.
type decoder struct {
	file        string
	problems    Problems
	config      *Config
	listeners   []listener
	backends    map[string]int // name or inline address -> index in config.Backends
	names       []string       // of the backends in the file, for suggestions
	comparisons int            // spent on suggestions for backend names
}

func (d *decoder) fail(n *yaml.Node, format string, args ...any) {
	d.failAt(n.Line, n.Column, format, args...)
}

func (d *decoder) failAt(line, col int, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.file, line, col, fmt.Sprintf(format, args...)})
}

// wrongType reports a value that is not what it must be. An alias is silent:
// vet has refused it already.
func (d *decoder) wrongType(n *yaml.Node, subject, want string) {
	if n.Kind != yaml.AliasNode {
		d.fail(n, "%s must be %s, got %s", subject, want, describe(n))
	}
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case isNull(n):
		return "nothing"
	case n.Style != 0:
		return "the quoted text " + quote(n.Value)
	}
	return quote(n.Value)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Style == 0 && n.Tag == "!!null" }

// A schema names the keys of one kind of mapping.
type schema struct {
	what     string // "a route", for messages
	want     string // "a mapping such as {...}"
	keys     []string
	required []string
}

// maxKeys is more keys than any schema has.
const maxKeys = 16

// fields yields the key and the value of each known key of a mapping once. It
// reports unknown, duplicate and missing keys itself.
func (d *decoder) fields(n *yaml.Node, s *schema) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(k, v *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			d.wrongType(n, s.what, s.want)
			return
		}
		var lines [maxKeys]int // of each key of the schema; an array, since a route may not cost a map
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			switch at := d.knownKey(k, s); {
			case at < 0:
			case lines[at] > 0:
				d.fail(k, "duplicate key %s, first on line %d", key(k.Value), lines[at])
			default:
				lines[at] = k.Line
				if !yield(k, n.Content[i+1]) {
					return
				}
			}
		}
		for _, name := range s.required {
			if lines[slices.Index(s.keys, name)] == 0 && !misspelt(n, s, name) {
				d.fail(n, "missing key %s", key(name))
			}
		}
	}
}

// knownKey returns the index of a key in its schema, -1 if it is not there.
func (d *decoder) knownKey(k *yaml.Node, s *schema) int {
	switch {
	case k.Kind == yaml.AliasNode || k.Tag == "!!merge":
		return -1 // vet has refused it
	case k.Kind != yaml.ScalarNode:
		d.fail(k, "a key must be a word, got %s", describe(k))
		return -1
	}
	at := slices.Index(s.keys, k.Value)
	if at < 0 {
		d.fail(k, "unknown key %s%s", key(k.Value), didYouMean(k.Value, s.keys, key))
	}
	return at
}

// misspelt reports whether the name is there under an unknown key that was
// probably meant to be it. One slip is one problem.
func misspelt(n *yaml.Node, s *schema, name string) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if k := n.Content[i].Value; !slices.Contains(s.keys, k) && nearest(k, s.keys) == name {
			return true
		}
	}
	return false
}

// unsupported refuses a key, or a value, that the design has and the edge has
// not yet.
func (d *decoder) unsupported(at *yaml.Node, what string) {
	d.fail(at, "%s: not supported yet", key(what))
}

// list returns the elements of a list with at least one.
func (d *decoder) list(n *yaml.Node, name string) []*yaml.Node {
	switch {
	case n.Kind != yaml.SequenceNode:
		d.wrongType(n, key(name), "a list")
	case len(n.Content) == 0:
		d.fail(n, "%s is an empty list", key(name))
	}
	if n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// text returns a scalar as it is written. YAML's own idea of its type does not
// matter: `no` and 1.10 are names like any other where a name is wanted.
func (d *decoder) text(n *yaml.Node, name string) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.wrongType(n, key(name), "a single value")
	case isNull(n):
		d.fail(n, "%s has no value", key(name))
	case n.Value == "":
		d.fail(n, "%s is empty", key(name))
	default:
		return n.Value, true
	}
	return "", false
}

// texts yields the scalars of `name: x` or `name: [x, y]`.
func (d *decoder) texts(n *yaml.Node, name string) iter.Seq2[*yaml.Node, string] {
	return func(yield func(*yaml.Node, string) bool) {
		if n.Kind == yaml.ScalarNode {
			if s, ok := d.text(n, name); ok {
				yield(n, s)
			}
			return
		}
		for _, e := range d.list(n, name) {
			if s, ok := d.text(e, name); ok && !yield(e, s) {
				return
			}
		}
	}
}

// choice reads one of a few words.
func (d *decoder) choice(n *yaml.Node, name string, words ...string) (string, bool) {
	s, ok := d.text(n, name)
	if ok && !slices.Contains(words, s) {
		d.fail(n, "unknown value %s for %s%s", quote(s), key(name), didYouMean(s, words, quote))
		return "", false
	}
	return s, ok
}

func (d *decoder) integer(n *yaml.Node, name string, low, high int) (int, bool) {
	v, ok := number(n, low, high)
	if !ok {
		d.wrongType(n, key(name), fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	return v, ok
}

// number returns a whole number in its usual decimal form. Other forms are
// refused since YAML versions differ about them: 010 is 8 in one, 10 in another.
func number(n *yaml.Node, low, high int) (int, bool) {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Style != 0 || err != nil || strconv.Itoa(v) != n.Value || v < low || v > high {
		return 0, false
	}
	return v, true
}

func (d *decoder) boolean(n *yaml.Node, name string) bool {
	if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Value != "true" && n.Value != "false" {
		d.wrongType(n, key(name), "true or false")
	}
	return n.Value == "true"
}

// maxDuration is a bound of sanity: more than it is a slip of the unit.
const maxDuration = 30 * 24 * time.Hour

// duration reads a duration above zero into dst, which keeps its value when
// there is a problem.
func (d *decoder) duration(n *yaml.Node, name string, dst *time.Duration) {
	s, ok := d.text(n, name)
	if !ok {
		return
	}
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		d.fail(n, "bad duration %s for %s%s", quote(s), key(name), suggestDuration(s))
	case v <= 0 || v > maxDuration:
		d.fail(n, "%s must be above 0s and at most 720h, got %s", key(name), quote(s))
	default:
		*dst = v
	}
}
