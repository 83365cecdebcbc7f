package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"

	"keyhole/backend"
	"keyhole/config"
	"keyhole/proxy/relay"
)

// fewest is the number of connections that an edge must be able to hold; with less room it does not
// start.
const fewest = 16

// room is what the descriptor limit leaves an edge.
type room struct {
	connections int // that may be open at once
	pipes       int // of each event loop; negative: none
}

// roomFor returns the room for as many connections as c asks for, or for 0 as many as the descriptor
// limit allows.
func roomFor(c *config.Config) (room, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return room{}, fmt.Errorf("descriptor limit: %w", err)
	}
	lookups := 0
	if slices.ContainsFunc(c.Backends, func(b config.Backend) bool { return b.ByName() }) {
		lookups = backend.LookupDescriptors
	}
	return fit(c.Limits.Connections, relay.Processors, lookups, limit.Cur)
}

// fit is roomFor with limit descriptors, some of which are for look-ups. Pipes are optional: they
// make way for connections.
func fit(asked, loops, lookups int, limit uint64) (room, error) {
	const how = "`ulimit -n`, or LimitNOFILE= in a systemd unit"
	if need := relay.Descriptors(asked, loops) + lookups; asked > 0 && uint64(need) > limit {
		return room{}, fmt.Errorf("limits.connections: %d connections need %d descriptors, and the limit is %d; lower it, or raise that: %s",
			asked, need, limit, how)
	}
	if need := relay.Descriptors(fewest, loops) + lookups; uint64(need) > limit {
		return room{}, fmt.Errorf("too few descriptors: %d connections, the fewest to start with, need %d, and the limit is %d; raise it: %s",
			fewest, need, limit, how)
	}
	left := int(min(limit, 1<<30)) - relay.Descriptors(max(asked, fewest), loops) - lookups
	r := room{asked, min(relay.Pipes(limit, loops), left/2/relay.LoopsApart/loops)}
	if asked == 0 {
		r.connections = fewest + (left-2*relay.LoopsApart*loops*r.pipes)/2
	}
	if r.pipes == 0 {
		r.pipes = -1
	}
	return r, nil
}

// The scheduling of the process's threads. The event loops go first: a reload of 150,000 routes
// takes half a second of a processor, and the collector works beside it.
const (
	// spareProcs are the Ps that the runtime has beside one for each loop. With fewer, a loop would
	// wait for the load of a configuration and for the collector's workers.
	spareProcs = 2
	// otherNice is the nice value of all threads but the loops'.
	otherNice = 5
	// loadNice is that of the thread that loads a configuration.
	loadNice = 19
	// loadGC is the collector's percentage while a configuration of at most loadGCFile bytes is
	// loaded: what it leaves behind is a few hundred megabytes at most, and each collection stops
	// the loops for a moment.
	loadGC     = 400
	loadGCFile = 32 << 20
)

// preferThreads makes all threads of the process but these nicer, and so those that they start. A
// kernel that refuses leaves them equal.
func preferThreads(preferred []int) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range tasks {
		if id, err := strconv.Atoi(t.Name()); err == nil && !slices.Contains(preferred, id) {
			syscall.Setpriority(syscall.PRIO_PROCESS, id, otherNice)
		}
	}
}

// inBackground runs f on a thread of its own that gives way to all others, with a lazier collector
// for a file that is not large.
func inBackground[T any](file string, f func() (T, error)) (T, error) {
	runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
	syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), loadNice)
	if info, err := os.Stat(file); err == nil && info.Size() <= loadGCFile {
		defer debug.SetGCPercent(debug.SetGCPercent(loadGC))
	}
	return f()
}
