package main

import "fmt"

// A metric is a row of the table.
type metric struct {
	key   string
	label string
	unit  string
	goals []goal
}

// A goal is a bound on the measured proxy's value: as a ratio to the best of some others or, with none, itself.
type goal struct {
	against []string
	limit   float64
}

var (
	peers       = []string{"haproxy", "nginx"}
	bulkGoals   = []goal{{[]string{"nginx"}, 0.45}, {[]string{"haproxy"}, 0.75}}
	memoryGoals = []goal{{nil, 0.7}}
	pairGoals   = []goal{{nil, 2}}
)

// metrics are the rows for p, in order. A row that nothing was measured for is left out of the table.
func metrics(p plan) []metric {
	ms := []metric{{"short.cpu", "CPU per short connection", "µs", []goal{{peers, 0.95}}}}
	for _, n := range bulkStreams {
		for _, way := range []string{"down", "up"} {
			key := fmt.Sprintf("%s%d.cpu", way, n)
			ms = append(ms, metric{key, fmt.Sprintf("CPU per GB %s, %d streams", way, n), "ms", bulkGoals})
		}
	}
	ms = append(ms, metric{"rtt.cpu", "CPU per 100-byte round trip", "µs", []goal{{peers, 1}}})
	for _, n := range p.idle {
		key := fmt.Sprintf("idle%d.", n)
		ms = append(ms,
			metric{key + "memory", fmt.Sprintf("memory per idle connection, %d open", n), "KB", memoryGoals},
			metric{key + "descriptors", fmt.Sprintf("descriptors per idle connection, %d open", n), "", pairGoals})
	}
	ms = append(ms,
		metric{"latency.p99", "added latency at half load, p99", "µs", []goal{{peers, 1}}},
		metric{"latency.p50", "added latency at half load, p50", "µs", nil},
		metric{"start.memory", "memory before the first connection", "KB", nil},
		metric{"short.rate", "short connections per second", "", nil})
	for _, n := range bulkStreams {
		for _, way := range []string{"down", "up"} {
			key := fmt.Sprintf("%s%d.rate", way, n)
			ms = append(ms, metric{key, fmt.Sprintf("GB per second %s, %d streams", way, n), "", nil})
		}
	}
	return append(ms, metric{"rtt.rate", "round trips per second", "", nil})
}
