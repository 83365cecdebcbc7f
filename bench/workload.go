package main

import (
	"fmt"
	"time"

	"keyhole/bench/internal/proc"
)

// A workload measures one thing, or a few, of the subject of a trial. It returns values by metric key.
type workload struct {
	name string
	run  func(trial) (values, error)
	unix bool // the origin listens on a unix socket
}

// values are measured ones by metric key.
type values map[string]float64

// A trial is one workload on one subject in one round.
type trial struct {
	load *load
	tree proc.Tree // the proxy's processes
	plan plan
	// For latency: what is offered, in round trips per second, and what they take without a proxy.
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
		{name: "latency", run: runLatency},
	}
}

// A plan says how long and how much.
type plan struct {
	rounds  int
	warm    time.Duration // load before a window, unmeasured
	window  time.Duration
	latency time.Duration // the window of latency, longer for the sake of its p99
	settle  time.Duration // between the last connection and a look at memory
	idle    []int         // connections, ascending
	clients int           // short connections under way at a time
}

func fullPlan() plan {
	return plan{
		rounds: 3, warm: 500 * time.Millisecond, window: 2500 * time.Millisecond, latency: 5 * time.Second,
		settle: time.Second, idle: []int{5000, 9000}, clients: 32,
	}
}

// quickPlan shows that everything works. Its figures are worth nothing.
func quickPlan() plan {
	return plan{
		rounds: 1, warm: 50 * time.Millisecond, window: 200 * time.Millisecond, latency: 200 * time.Millisecond,
		settle: 100 * time.Millisecond, idle: []int{50, 100}, clients: 32,
	}
}

// capacity is the number of connections that a proxy is configured for.
func (p plan) capacity() int { return max(p.idle[len(p.idle)-1], p.clients) + 300 }

// A window is what was seen in a stretch of load.
type window struct {
	cpu   time.Duration // of the proxy
	wall  time.Duration
	count int64
}

// measure lets the load run to warm up, and then for a window.
func (t trial) measure() (window, error) {
	ld := t.load
	if err := ld.loop.runFor(t.plan.warm); err != nil {
		return window{}, err
	}
	cpu, err := t.tree.CPU()
	if err != nil {
		return window{}, err
	}
	count, begin := ld.count, time.Now()
	if err := ld.loop.runFor(t.plan.window); err != nil {
		return window{}, err
	}
	w := window{wall: time.Since(begin), count: ld.count - count}
	end, err := t.tree.CPU()
	if err != nil {
		return window{}, err
	}
	if w.count == 0 {
		return window{}, fmt.Errorf("nothing came through in %v", t.plan.window)
	}
	w.cpu = end - cpu
	return w, nil
}

// cpuPer is the proxy's time for n of what was counted.
func (w window) cpuPer(n float64) time.Duration {
	return time.Duration(float64(w.cpu) / float64(w.count) * n)
}

// rate is what was counted per second.
func (w window) rate() float64 { return float64(w.count) / w.wall.Seconds() }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
