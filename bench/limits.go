package main

import (
	"fmt"
	"syscall"
)

// raiseDescriptors raises the limit of this process, and of those it starts, to what n connections need: each has two
// ends here, and two in the proxy.
func raiseDescriptors(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if need := uint64(2*n + 200); limit.Max < need {
		return fmt.Errorf("descriptor limit is %d, want %d for %d connections: raise it with ulimit -Hn", limit.Max, need, n)
	}
	// Not unix.Setrlimit: this one also keeps the runtime from giving children the limit it found at its start.
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}
