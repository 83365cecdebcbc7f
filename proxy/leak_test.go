package proxy

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// noLeaks fails the test if at its end, after all other clean-up, more
// descriptors or goroutines are there than now.
func noLeaks(t testing.TB) {
	t.Helper()
	files, goroutines := descriptors(), runtime.NumGoroutine()
	t.Cleanup(func() {
		if t.Failed() {
			return // what it left behind says nothing
		}
		eventually(t, "no goroutine left behind", func() bool { return runtime.NumGoroutine() <= goroutines })
		if left := descriptors(); len(left) > len(files) {
			t.Errorf("%d descriptors, %d before the test: %s", len(left), len(files), strings.Join(left, " "))
		}
	})
}

// descriptors lists what this process has open.
func descriptors() []string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var all []string
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && to != "/proc/self/fd" {
			all = append(all, to)
		}
	}
	slices.Sort(all)
	return all
}
