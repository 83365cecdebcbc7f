package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/bench/internal/proc"
)

// The bulk load is this program started anew, which in a test is the test.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == bulkCommand {
		if err := serveBulkLoad(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func testBulkLoad(t *testing.T) *bulkLoad {
	t.Helper()
	b, err := startBulkLoad(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	b.target = b.origin
	return b
}

func TestBulkLoadOpensStreamsAndCounts(t *testing.T) {
	b := testBulkLoad(t)
	for _, n := range []int{3, 5} {
		first, err := b.streams(n)
		if err != nil {
			t.Fatal(err)
		}
		for now, end := first, time.Now().Add(limit); now == first; {
			if now, err = b.streams(n); err != nil || time.Now().After(end) {
				t.Fatalf("%d bytes more through %d streams, %v, want some", now-first, n, err)
			}
		}
	}
}

func TestBulkLoadThatEndsSaysWhy(t *testing.T) {
	b := testBulkLoad(t)
	var err error
	if b.target, err = proc.FreeAddr(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.streams(1); err == nil || !strings.Contains(err.Error(), unix.ECONNREFUSED.Error()) {
		t.Errorf("streams to a port without a listener: error is %v, want one with %q", err, unix.ECONNREFUSED)
	}
}

// A run ends with no exchange under way, so that the slowest is among the measured.
func TestSmallMeasuresBothKinds(t *testing.T) {
	ld := testLoad(t, closing)
	s, err := newSmall(ld)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.run(20 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if len(s.trip.took) == 0 || len(s.fresh.took) == 0 || s.trip.busy || s.fresh.busy {
			t.Errorf("%d round trips (one under way: %v) and %d connections (%v), want some of each and none under way",
				len(s.trip.took), s.trip.busy, len(s.fresh.took), s.fresh.busy)
		}
	}
	if err := ld.clear(); err != nil {
		t.Fatal(err)
	}
}

// The whole workload, with this process for the proxy: each load connects to its own origin.
func TestFairGivesEveryRow(t *testing.T) {
	tr := trial{load: testLoad(t, closing), bulkLoad: testBulkLoad(t), plan: quickPlan(), tree: proc.Tree(os.Getpid())}
	vs := make(values)
	for _, n := range fairStreams {
		if err := tr.fair(vs, n); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range metrics(tr.plan) {
		if strings.HasPrefix(m.key, "fair") && !(vs[m.key] > 0) {
			t.Errorf("%s = %v, want more than 0", m.key, vs[m.key])
		}
	}
}

func TestBusyProcessesTakeTheProxyCore(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	var core int
	for !allowed.IsSet(core) {
		core++
	}
	busy, err := cores{proxy: core}.startBusy(2)
	t.Cleanup(busy.stop)
	if err != nil || len(busy) != 2 {
		t.Fatalf("startBusy(2) starts %d processes, %v", len(busy), err)
	}
	for _, cmd := range busy {
		var its, want unix.CPUSet
		want.Set(core)
		if err := unix.SchedGetaffinity(cmd.Process.Pid, &its); err != nil || its != want {
			t.Errorf("a busy process may use the cores %v, %v, want only %d", its, err, core)
		}
		tree := proc.Tree(cmd.Process.Pid)
		first, err := tree.CPU()
		if err != nil {
			t.Fatal(err)
		}
		for now, end := first, time.Now().Add(limit); now < first+10*time.Millisecond; {
			if now, err = tree.CPU(); err != nil || time.Now().After(end) {
				t.Fatalf("a busy process used %v more, %v, want 10 ms", now-first, err)
			}
		}
	}
	var after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != allowed {
		t.Errorf("this thread may use the cores %v afterwards, %v, want %v as before", after, err, allowed)
	}
}

// Whether this machine allows it or not, the thread is as before in the end.
func TestRaiseIsTakenBack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	lower, err := raise()
	during, _ := unix.SchedGetAttr(0, 0)
	lower()
	after, errAfter := unix.SchedGetAttr(0, 0)
	if errAfter != nil {
		t.Fatal(errAfter)
	}
	if (during.Policy == unix.SCHED_FIFO) != (err == nil) {
		t.Errorf("raise() = %v, and the policy is %d", err, during.Policy)
	}
	if after.Policy != unix.SCHED_NORMAL {
		t.Errorf("the policy is %d in the end, want %d", after.Policy, unix.SCHED_NORMAL)
	}
}
