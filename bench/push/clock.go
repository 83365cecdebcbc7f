package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// now is the machine's monotonic clock, clock_gettime(2): unlike Go's, it can
// be compared between the process that publishes and the one that receives.
func now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // is always there
	return time.Duration(ts.Nano())
}
