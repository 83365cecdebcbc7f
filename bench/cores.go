package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// cores are the two that a run uses; the proxy has one to itself.
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
	// Twice: during the first pass, a thread that was not moved yet may have started another.
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
	var before unix.CPUSet
	err := unix.SchedGetaffinity(0, &before)
	if err == nil {
		err = setCore(0, c.proxy)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("move a thread to core %d: %w", c.proxy, err)
	}
	defer func() {
		// A thread that cannot go back stays locked, and ends with its goroutine.
		if unix.SchedSetaffinity(0, &before) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

// setCore pins a thread; 0 is the caller's.
func setCore(tid, core int) error {
	var set unix.CPUSet
	set.Set(core)
	return unix.SchedSetaffinity(tid, &set)
}

// busy are processes that never wait.
type busy []*exec.Cmd

// startBusy starts n of them on the proxy's core. With an error, it returns those that it has
// started.
func (c cores) startBusy(n int) (started busy, err error) {
	for range n {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.onProxyCore(cmd.Start); err != nil {
			return started, fmt.Errorf("start a busy process: %w", err)
		}
		started = append(started, cmd)
	}
	return started, nil
}

func (b busy) stop() {
	for _, cmd := range b {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// raise locks the calling goroutine to a thread with real-time priority. The thread preempts
// whatever else runs on its core as soon as it has an event; a thread that spins would be as quick,
// but would leave the bulk load no time. lower undoes it, and does nothing after an error.
func raise() (lower func(), err error) {
	runtime.LockOSThread()
	attr := unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		runtime.UnlockOSThread()
		return func() {}, fmt.Errorf("sched_setattr: %w", err)
	}
	return func() {
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
		// A thread that cannot go back stays locked, and ends with its goroutine.
		if unix.SchedSetAttr(0, &attr, 0) == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}
