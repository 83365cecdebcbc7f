package main

import (
	"fmt"
	"syscall"

	"keyhole/proxy/relay"
)

// fewest is how many connections an edge must be able to hold, or there is no
// point in starting.
const fewest = 16

// connections returns how many connections may be open at once: what was
// asked for, or for 0 what the descriptor limit allows.
func connections(asked int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("descriptor limit: %w", err)
	}
	return fit(asked, limit.Cur)
}

// fit is connections under a limit of so many descriptors.
func fit(asked int, limit uint64) (int, error) {
	const how = "`ulimit -n`, or LimitNOFILE= in a systemd unit"
	if need := relay.Descriptors(asked); asked > 0 && uint64(need) > limit {
		return 0, fmt.Errorf("limits.connections: %d connections need %d descriptors, and the limit is %d; lower it, or raise that: %s",
			asked, need, limit, how)
	}
	if need := relay.Descriptors(fewest); uint64(need) > limit {
		return 0, fmt.Errorf("too few descriptors: %d connections, the fewest to start with, need %d, and the limit is %d; raise it: %s",
			fewest, need, limit, how)
	}
	if asked > 0 {
		return asked, nil
	}
	return (int(min(limit, 1<<30)) - relay.Descriptors(0)) / 2, nil
}
