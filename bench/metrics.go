package main

import "fmt"

// A metric is a row of the table.
type metric struct {
	key   string
	label string
	unit  string
	goals []goal
}

// A goal bounds the measured proxy's ratio to the best of some others or, without others, its
// value.
type goal struct {
	against  []string
	limit    float64
	optional bool // not mentioned when the others were not measured
}

// Goals are against peers that do the same work as Keyhole: nginx closes both sides at the first
// FIN unless proxy_half_close is on, and HAProxy copies unless splice-auto is on.
var (
	shortGoals  = []goal{{against: []string{"haproxy", "nginx-half-close"}, limit: 0.8}}
	rttGoals    = []goal{{against: []string{"haproxy", "nginx"}, limit: 0.85}}
	peerGoals   = []goal{{against: []string{"haproxy", "nginx"}, limit: 1}}
	memoryGoals = []goal{{limit: 0.7}}
	pairGoals   = []goal{{limit: 2}}
	fairGoals   = []goal{{against: []string{"haproxy"}, limit: 0.5}, {against: []string{"haproxy-splice"}, limit: 0.5}}
	notDearer   = goal{against: []string{beforeName}, limit: 1.05, optional: true}
)

// bulkGoals are the goals of CPU per GB, which depend on the number of streams.
func bulkGoals(streams int) []goal {
	haproxy := goal{against: []string{"haproxy-splice"}, limit: 0.75}
	if streams > 4 {
		haproxy.limit = 0.8
	}
	return []goal{haproxy, {against: []string{"nginx"}, limit: 0.3}, notDearer}
}

// metrics are the rows for p, in order. A row that nothing was measured for is left out of the
// table.
func metrics(p plan) []metric {
	ms := []metric{
		{"short.cpu", "CPU per short connection", "µs", shortGoals},
		{"unix.cpu", "CPU per short connection, origin on a unix socket", "µs", nil},
	}
	for _, n := range bulkStreams {
		for _, way := range []string{"down", "up"} {
			key := fmt.Sprintf("%s%d.cpu", way, n)
			ms = append(ms, metric{key, fmt.Sprintf("CPU per GB %s, %d streams", way, n), "ms", bulkGoals(n)})
		}
	}
	ms = append(ms, metric{"rtt.cpu", "CPU per 100-byte round trip", "µs", rttGoals})
	for _, n := range fairStreams {
		key := fmt.Sprintf("fair%d.", n)
		for _, q := range []string{"p50", "p99"} {
			ms = append(ms, metric{key + "trip." + q, fmt.Sprintf("round trip beside %d bulk streams, %s", n, q), "µs", fairGoals})
		}
		for _, q := range []string{"p50", "p99"} {
			label := fmt.Sprintf("first byte of a new connection beside %d bulk streams, %s", n, q)
			ms = append(ms, metric{key + "first." + q, label, "µs", fairGoals})
		}
		label := fmt.Sprintf("CPU per GB beside small connections, %d streams", n)
		ms = append(ms, metric{key + "cpu", label, "ms", []goal{notDearer}})
	}
	for _, n := range p.idle {
		key := fmt.Sprintf("idle%d.", n)
		ms = append(ms,
			metric{key + "memory", fmt.Sprintf("memory per idle connection, %d open", n), "KB", memoryGoals},
			metric{key + "descriptors", fmt.Sprintf("descriptors per idle connection, %d open", n), "", pairGoals})
	}
	ms = append(ms,
		metric{"latency.p99", "added latency at half load, p99", "µs", peerGoals},
		metric{"latency.p50", "added latency at half load, p50", "µs", nil},
		metric{"start.memory", "memory before the first connection", "KB", nil},
		metric{"short.rate", "short connections per second", "", nil})
	for _, n := range bulkStreams {
		for _, way := range []string{"down", "up"} {
			key := fmt.Sprintf("%s%d.rate", way, n)
			ms = append(ms, metric{key, fmt.Sprintf("GB per second %s, %d streams", way, n), "", nil})
		}
	}
	for _, n := range fairStreams {
		label := fmt.Sprintf("GB per second beside small connections, %d streams", n)
		ms = append(ms, metric{fmt.Sprintf("fair%d.rate", n), label, "", nil})
	}
	return append(ms, metric{"rtt.rate", "round trips per second", "", nil})
}
