package proc

import (
	"fmt"
	"syscall"
)

// RaiseDescriptors raises the limit of this process, and of those it starts,
// to the highest there is; it is an error when that is less than need.
func RaiseDescriptors(need int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if limit.Max < uint64(need) {
		return fmt.Errorf("descriptor limit is %d, want %d: raise it with ulimit -Hn", limit.Max, need)
	}
	// Not unix.Setrlimit: this one also keeps the runtime from giving children the limit it found at its start.
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}
