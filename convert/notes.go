package convert

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// A place is a line of a file.
type place struct {
	file string
	line int
}

// notes collects what was not carried over.
type notes struct{ all []Note }

func (n *notes) add(at place, format string, args ...any) {
	n.all = append(n.all, Note{at.file, at.line, fmt.Sprintf(format, args...)})
}

// sorted returns the notes by place, each once.
func (n *notes) sorted() []Note {
	slices.SortStableFunc(n.all, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(n.all)
}

// number reads a number up to most. Above it, it returns most after a note, and -1 for no number.
func (n *notes) number(at place, what, s string, most int) int {
	i, err := strconv.Atoi(s)
	switch {
	case err != nil || i < 0:
		n.add(at, "%s %s: not a number", what, s)
		return -1
	case i > most:
		n.add(at, "%s %s: Keyhole takes at most %d", what, s, most)
		return most
	}
	return i
}

// later has the keys that Keyhole refuses today, and why a line that needs one is not carried over.
// A key that is built leaves this table, and is printed from then on.
var later = map[string]string{
	"health": "health checks are not supported yet; an attempt that fails goes to another server",
	"eject":  "servers are not ejected yet; an attempt that fails goes to another server",
}

// built reports whether Keyhole takes a key, and notes what is lost without it.
func (n *notes) built(at place, line, key string) bool {
	why, missing := later[key]
	if missing {
		n.add(at, "%s: %s", line, why)
	}
	return !missing
}
