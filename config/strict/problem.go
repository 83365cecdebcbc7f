// Package strict reads YAML and reports every mistake at its place: unknown and duplicate keys,
// values of the wrong type or out of range, and the parts of YAML that put a value elsewhere than
// where it is used.
//
//	d := &strict.Decoder{File: "keyhole.yaml", Wanted: "at least `listen`"}
//	if root := d.Root(data); root != nil {
//		for k, v := range d.Fields(root, &strict.Schema{What: "the configuration", Keys: []string{"listen"}}) {
//			address, ok := d.Text(v, k.Value)
//			...
//		}
//	}
//	return d.Problems() // keyhole.yaml:12:5: unknown key `lisen`, did you mean `listen`?
//
// It does not know what the keys mean.
package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong in a configuration file.
type Problem struct {
	File    string
	Line    int // from 1
	Col     int // from 1, in characters
	Message string
}

// Error returns "keyhole.yaml:12:5: unknown backend \"blog\"".
func (p Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.Message)
}

// Problems is everything wrong in a configuration, sorted by file and position.
type Problems []Problem

// Error returns one problem a line.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Error())
	}
	return b.String()
}

// sorted sorts by file, in that order, and by position.
func (ps Problems) sorted(order map[string]int) Problems {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return slices.Compact(ps)
}

// Quote quotes text from the file for a message, cut so that a long value does not fill the
// terminal.
func Quote(s string) string {
	const limit = 80
	if r := []rune(s[:min(len(s), 4*limit+4)]); len(r) > limit {
		return fmt.Sprintf("%q...", string(r[:limit]))
	}
	return fmt.Sprintf("%q", s)
}

// Key sets off a key of the file in a message.
func Key(s string) string {
	if q := Quote(s); q != `"`+s+`"` {
		return q
	}
	return "`" + s + "`"
}
