package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Cores are the two that a run uses: the proxy has one for itself.
type cores struct{ proxy, load int }

// takeCores chooses the first two that this process may use, and moves it to the second.
func takeCores() (cores, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return cores{}, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var found []int
	for i := 0; i < len(allowed)*64 && len(found) < 2; i++ {
		if allowed.IsSet(i) {
			found = append(found, i)
		}
	}
	if len(found) < 2 {
		return cores{}, fmt.Errorf("%d core to run on, want two: one for the proxy, one for the load", len(found))
	}
	c := cores{proxy: found[0], load: found[1]}
	// Twice, since a thread that was not moved yet may have started another while the first pass went by.
	for range 2 {
		if err := moveThreads(c.load); err != nil {
			return cores{}, err
		}
	}
	return c, nil
}

func moveThreads(core int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("/proc/self/task/%s: %w", t.Name(), err)
		}
		if err := setCore(tid, core); err != nil && err != unix.ESRCH {
			return fmt.Errorf("sched_setaffinity: %w", err)
		}
	}
	return nil
}

// onProxyCore calls f on the proxy's core; what f starts stays there.
func (c cores) onProxyCore(f func() error) error {
	runtime.LockOSThread()
	if err := setCore(0, c.proxy); err != nil {
		return fmt.Errorf("sched_setaffinity: %w", err)
	}
	defer func() {
		// A thread that cannot go back stays locked, and ends with its goroutine.
		if setCore(0, c.load) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

// setCore pins a thread, 0 being the caller's.
func setCore(tid, core int) error {
	var set unix.CPUSet
	set.Set(core)
	return unix.SchedSetaffinity(tid, &set)
}
