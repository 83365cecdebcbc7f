package config

import (
	"slices"
	"strconv"
	"testing"
)

func TestSet(t *testing.T) {
	var s set
	var want []string
	for i := range 100 {
		w := strconv.Itoa(i)
		want = append(want, w)
		if !s.add(w) {
			t.Errorf("add(%q) = false, want true", w)
		}
		for _, old := range []string{"0", strconv.Itoa(i / 2), w} {
			if s.add(old) {
				t.Errorf("add(%q) again, after %d, = true, want false", old, i)
			}
		}
	}
	if !slices.Equal(s.list, want) {
		t.Errorf("list = %q, want %q", s.list, want)
	}
}
