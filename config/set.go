package config

import "slices"

// A set is a list without duplicates. Most routes have one name, for which a
// map would cost more than all else; some have a hundred thousand.
type set struct {
	list  []string
	index map[string]struct{} // of the list once it is long
}

// add reports whether s was not there yet.
func (t *set) add(s string) bool {
	if t.has(s) {
		return false
	}
	t.list = append(t.list, s)
	if t.index != nil {
		t.index[s] = struct{}{}
	} else if len(t.list) == 32 {
		t.index = make(map[string]struct{}, 2*len(t.list))
		for _, s := range t.list {
			t.index[s] = struct{}{}
		}
	}
	return true
}

func (t *set) has(s string) bool {
	if t.index == nil {
		return slices.Contains(t.list, s)
	}
	_, ok := t.index[s]
	return ok
}
