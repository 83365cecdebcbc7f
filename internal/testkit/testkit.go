// Package testkit has the helpers that the tests of two or more packages need: leak checks, waiting for a condition,
// TCP clients and origins that fail their test, and programs that run beside it. A helper that one package alone
// needs stays in that package.
//
//	testkit.NoLeaks(t)
//	o := testkit.NewOrigin(t)
//	client := testkit.Dial(t, edge)
//	client.Send("hello\n")
//	o.Accept().Want("hello\n")
//
// Only tests may import it. It knows neither the edge nor the push server, so the tests of both use it.
package testkit

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Patience bounds each wait. Only a failing test spends it, so it leaves room for a busy machine.
const Patience = 5 * time.Minute

// Eventually waits until ok returns true. It serves for what other goroutines do and no channel tells.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !becomes(ok) {
		t.Fatalf("after %s still not: %s\n%s", Patience, what, stacks())
	}
}

// becomes calls ok until it returns true, or until Patience is over.
func becomes(ok func() bool) bool {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.After(Patience)
	for !ok() {
		select {
		case <-look.C:
		case <-late:
			return false
		}
	}
	return true
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// NoLeaks fails the test if at its end, after all other clean-up, more descriptors or goroutines are there than now.
func NoLeaks(t testing.TB) {
	t.Helper()
	openPoller(t)
	files, goroutines := Descriptors(), runtime.NumGoroutine()
	t.Cleanup(func() {
		if t.Failed() {
			return // what it left behind says nothing
		}
		if !becomes(func() bool { return runtime.NumGoroutine() <= goroutines }) {
			t.Fatalf("%d goroutines, %d before the test:\n%s", runtime.NumGoroutine(), goroutines, stacks())
		}
		if !becomes(func() bool { return len(Descriptors()) <= len(files) }) {
			left := Descriptors()
			t.Errorf("%d descriptors, %d before the test: %s", len(left), len(files), strings.Join(left, " "))
		}
	})
}

// openPoller has the runtime open its poller, which it keeps for good: that is no leak.
func openPoller(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// Descriptors lists what this process has open.
func Descriptors() []string {
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

// brief shortens b for a message.
func brief(b []byte) string {
	if len(b) > 60 {
		return fmt.Sprintf("%q...%q (%d bytes)", b[:20], b[len(b)-20:], len(b))
	}
	return fmt.Sprintf("%q", b)
}
