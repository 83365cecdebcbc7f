// Package proc looks at the processes of a benchmark, and at the machine that they run on, as /proc
// shows them.
//
//	before, err := proc.Tree(cmd.Process.Pid).PSS()
//	...
//	now, err := proc.Tree(cmd.Process.Pid).PSS()
//
// It starts no process and ends none. Linux only.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc/PID/stat; USER_HZ is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// A Tree is a process and its descendants, by the root's number: nginx works in a child of the
// process that was started.
type Tree int

// CPU is the processor time that the tree has used since its start, user and system.
//
// It is read from each process's CPU-time clock (clock_getcpuclockid(3)): exact to the nanosecond,
// with every thread in it, those that have ended too. The ticks in /proc/PID/stat are 10 ms;
// /proc/PID/schedstat counts one thread, and a thread that ends takes its count along; a control
// group needs a hierarchy that a user may write to. Children that have ended are added from their
// parent's stat, in ticks, since their clocks are gone.
func (t Tree) CPU() (time.Duration, error) {
	var sum time.Duration
	err := t.each(func(pid int, s stat) error {
		var ts unix.Timespec
		clock := int32(^pid<<3 | 2) // CPUCLOCK_SCHED of a process, as in the kernel's posix-timers.h
		if err := unix.ClockGettime(clock, &ts); err != nil {
			return fmt.Errorf("CPU clock of process %d: %w", pid, err)
		}
		sum += time.Duration(ts.Nano()) + s.reaped
		return nil
	})
	return sum, err
}

// PSS is the tree's proportional set size in bytes: a page that n processes share counts one n-th
// in each.
func (t Tree) PSS() (int64, error) { return t.rollup("Pss") }

// RSS is the tree's resident set size in bytes, as an operator sees it: shared pages count whole in
// each process.
func (t Tree) RSS() (int64, error) { return t.rollup("Rss") }

// rollup sums one figure of every process's smaps_rollup, proc_pid_smaps(5).
func (t Tree) rollup(name string) (int64, error) {
	var sum int64
	err := t.each(func(pid int, _ stat) error {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return err
		}
		n, err := parseRollup(b, name)
		sum += n
		return err
	})
	return sum, err
}

// Descriptors is the number of descriptors open in the tree.
func (t Tree) Descriptors() (int, error) {
	var sum int
	err := t.each(func(pid int, _ stat) error {
		d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		sum += len(d)
		return err
	})
	return sum, err
}

// each calls f for the root and its descendants.
func (t Tree) each(f func(pid int, s stat) error) error {
	stats, err := readStats()
	if err != nil {
		return err
	}
	if _, ok := stats[int(t)]; !ok {
		return fmt.Errorf("process %d is gone", int(t))
	}
	for pid, s := range stats {
		if !descends(stats, pid, int(t)) {
			continue
		}
		if err := f(pid, s); err != nil {
			return err
		}
	}
	return nil
}

// descends reports whether pid is root or a descendant of it.
func descends(stats map[int]stat, pid, root int) bool {
	for pid != root {
		s, ok := stats[pid]
		if !ok {
			return false
		}
		pid = s.parent
	}
	return true
}

// A stat holds the fields of /proc/PID/stat that are used.
type stat struct {
	parent int
	reaped time.Duration // processor time of children that have ended and been waited for
}

// readStats reads the stat of every process there is.
func readStats() (map[int]stat, error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	stats := make(map[int]stat)
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		if stats[pid], err = parseStat(b); err != nil {
			return nil, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
	}
	return stats, nil
}

// parseStat reads a line as in proc_pid_stat(5). The command, second, may hold spaces and brackets,
// so fields are counted from the last closing one.
func parseStat(b []byte) (stat, error) {
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return stat{}, errors.New("no command in brackets")
	}
	fields := strings.Fields(string(b[end+1:])) // from the third on
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("%d fields after the command, want 15 or more", len(fields))
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, fmt.Errorf("ppid: %w", err)
	}
	user, err := strconv.ParseInt(fields[13], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("cutime: %w", err)
	}
	system, err := strconv.ParseInt(fields[14], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("cstime: %w", err)
	}
	return stat{parent: parent, reaped: time.Duration(user+system) * tick}, nil
}

// parseRollup finds the line "Pss: N kB" in a smaps_rollup, or that of another name, and returns it
// in bytes.
func parseRollup(b []byte, name string) (int64, error) {
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != name+":" {
			continue
		}
		kb, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("smaps_rollup: %s: %w", name, err)
		}
		return kb << 10, nil
	}
	return 0, fmt.Errorf("smaps_rollup: no line %s", name)
}
