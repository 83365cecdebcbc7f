package convert

// To combine conditions multiplies their lists, and makes each longer.
const (
	maxLists    = 256
	maxLiterals = 64
)

// both returns the lists of conditions that hold when one of a and one of b holds. It reports false
// when they are too many.
func both(a, b [][]literal) ([][]literal, bool) {
	if len(a)*len(b) > maxLists {
		return nil, false
	}
	out := [][]literal{}
	for _, x := range a {
		for _, y := range b {
			if len(x)+len(y) > maxLiterals {
				return nil, false
			}
			list := make([]literal, 0, len(x)+len(y))
			out = append(out, append(append(list, x...), y...))
		}
	}
	return simple(out), true
}

// none returns the lists of conditions that hold when none of a does.
func none(a [][]literal) ([][]literal, bool) {
	out, ok := [][]literal{{}}, true
	for _, list := range a {
		var flipped [][]literal // any of these makes the list fail
		for _, l := range list {
			l.not = !l.not
			flipped = append(flipped, []literal{l})
		}
		if out, ok = both(out, flipped); !ok {
			return nil, false
		}
	}
	return out, true
}

// simple leaves out the lists that no client fits, and the literals that each client does.
func simple(lists [][]literal) [][]literal {
	out := [][]literal{}
lists:
	for _, list := range lists {
		kept := []literal{}
		for _, l := range list {
			switch {
			case !l.constant():
				kept = append(kept, l)
			case !l.not:
				continue lists
			}
		}
		if len(kept) == 0 {
			return [][]literal{{}}
		}
		out = append(out, kept)
	}
	return out
}

func (l literal) constant() bool { return l.names == nil && l.alpn == nil && l.from == nil }

// sayable reports whether a route can have the conditions of a list beside its pattern: at most one
// of each kind that must fit, and no protocol that must be missing.
func sayable(list []literal) bool {
	alpn, from := 0, 0
	for _, l := range list {
		if l.alpn != nil {
			alpn++
		}
		if l.from != nil && !l.not {
			from++
		}
		if l.alpn != nil && l.not {
			return false
		}
	}
	return alpn <= 1 && from <= 1
}
