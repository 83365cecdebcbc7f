package main

import (
	"fmt"
	"time"

	"keyhole/bench/internal/proc"
)

// A workload measures the subject of a trial and returns values by metric key.
type workload struct {
	name string
	run  func(trial) (values, error)
	unix bool // the origin listens on a unix socket
	bulk bool // a bulk load runs beside it
}

// values are measurements by metric key.
type values map[string]float64

// A trial is one workload on one subject in one round.
type trial struct {
	load *load
	tree proc.Tree // the proxy's processes
	plan plan
	// For fair.
	bulkLoad *bulkLoad
	cores    cores
	// For latency: the round trips offered per second, and their latencies without a proxy.
	rate   float64
	direct latencies
}

// workloads are in the order in which they run: latency needs the rates of rtt.
func workloads() []workload {
	return []workload{
		{name: "short", run: runShort},
		{name: "unix", run: runUnix, unix: true},
		{name: "bulk", run: runBulk},
		{name: "rtt", run: runRTT},
		{name: "idle", run: runIdle},
		{name: "fair", run: runFair, bulk: true},
		{name: "latency", run: runLatency},
	}
}

// A plan says how long and how much.
type plan struct {
	rounds  int
	warm    time.Duration // load before a window, unmeasured
	window  time.Duration
	latency time.Duration // the window of latency and fair, longer for the sake of their p99
	settle  time.Duration // between the last connection and a look at memory
	idle    []int         // connections, ascending
	clients int           // short connections under way at a time
	busy    int           // processes that share the proxy's core in fair
}

func fullPlan() plan {
	return plan{
		rounds: 3, warm: 500 * time.Millisecond, window: 2500 * time.Millisecond, latency: 5 * time.Second,
		settle: time.Second, idle: []int{5000, 9000}, clients: 32, busy: 2,
	}
}

// quickPlan shows that everything works. Its figures are worth nothing.
func quickPlan() plan {
	return plan{
		rounds: 1, warm: 50 * time.Millisecond, window: 200 * time.Millisecond, latency: 200 * time.Millisecond,
		settle: 100 * time.Millisecond, idle: []int{50, 100}, clients: 32, busy: 2,
	}
}

// capacity is the number of connections that a proxy is configured for.
func (p plan) capacity() int { return max(p.idle[len(p.idle)-1], p.clients) + 300 }

// A window is a stretch of load, measured.
type window struct {
	cpu   time.Duration // of the proxy
	wall  time.Duration
	count int64
}

// measure lets the load run to warm up, and then for a window.
func (t trial) measure() (window, error) {
	if err := t.load.loop.runFor(t.plan.warm); err != nil {
		return window{}, err
	}
	return t.observe(
		func() error { return t.load.loop.runFor(t.plan.window) },
		func() (int64, error) { return t.load.count, nil })
}

// observe measures run. On a busy machine nothing may come through in a run, so it tries up to ten.
func (t trial) observe(run func() error, count func() (int64, error)) (window, error) {
	first, err := count()
	if err != nil {
		return window{}, err
	}
	cpu, err := t.tree.CPU()
	if err != nil {
		return window{}, err
	}
	var w window
	begin := time.Now()
	for i := 0; i < 10 && w.count == 0; i++ {
		if err := run(); err != nil {
			return window{}, err
		}
		last, err := count()
		if err != nil {
			return window{}, err
		}
		w.count, w.wall = last-first, time.Since(begin)
	}
	end, err := t.tree.CPU()
	if err != nil {
		return window{}, err
	}
	if w.count == 0 {
		return window{}, fmt.Errorf("nothing came through in %v", w.wall.Round(time.Millisecond))
	}
	w.cpu = end - cpu
	return w, nil
}

// cpuPer is the proxy's CPU time for n counted items.
func (w window) cpuPer(n float64) time.Duration {
	return time.Duration(float64(w.cpu) / float64(w.count) * n)
}

// rate is the count per second.
func (w window) rate() float64 { return float64(w.count) / w.wall.Seconds() }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
