package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"keyhole/bench/internal/proc"
	"keyhole/bench/internal/stats"
)

// A row is a line of the table.
type row struct {
	key, label, unit string
	goal             float64 // at most; NaN: none
}

var none = math.NaN()

// rows are in the order of the table. Those that nothing was measured for are
// left out.
func rows() []row {
	rs := []row{
		{"idle.rss", "memory per idle terminal at pushd, resident", "KB", 16},
		{"idle.heap", "of it, heap in use by Go's runtime", "KB", none},
		{"idle.stacks", "of it, stacks", "KB", none},
		{"idle.peak", "resident as soon as all have connected, garbage of the handshakes included", "KB", none},
		{"idle.edge", "memory per terminal at the edge", "KB", none},
		{"connect", "terminals verified and listening per second, at the first connection", "", none},
		{"delivered", "messages per second published, delivered and acknowledged, at most", "", none},
		{"latency.sent.p50", "publish to delivery at half of that, p50", "ms", none},
		{"latency.sent.p99", "publish to delivery at half of that, p99", "ms", 20},
		{"latency.sent.max", "publish to delivery at half of that, longest", "ms", none},
		{"latency.due.p50", "the same, from when the message was due, p50", "ms", none},
		{"latency.due.p99", "the same, from when the message was due, p99", "ms", 20},
		{"latency.disk.p50", "one write and sync of the disk meanwhile, p50", "ms", none},
		{"latency.disk.p99", "one write and sync of the disk meanwhile, p99", "ms", none},
		{"fsync", "syncs of the disk per second, one after the other", "", none},
	}
	for _, n := range concurrency {
		key := fmt.Sprintf("publish%d", n)
		rs = append(rs, row{key, fmt.Sprintf("durable publishes per second, %d at once", n), "", none},
			row{key + ".ratio", "in syncs of the disk", "", none})
	}
	return append(rs,
		row{"reconnect.edge", "the edge listens again after", "s", none},
		row{"reconnect.half", "half of the terminals are back after", "s", none},
		row{"reconnect.99", "99% are back after", "s", none},
		row{"reconnect.all", "all are back after", "s", none},
		row{"reconnect.published", "messages published meanwhile", "", none},
		row{"reconnect.missed", "of them missed", "", 0},
		row{"reconnect.twice", "handed to an app twice", "", 0},
		row{"reconnect.redelivered", "marked as possibly sent before", "", none})
}

// byHand is the line that ends what is printed. What follows it in the file of
// an earlier run was written by hand, and is kept.
const byHand = "<!-- what follows is written by hand -->\n"

const preamble = `# Benchmarks of pushd

Measured through the edge, on loopback, with the edge, pushd with its embedded store, the terminals and the publishers on
one machine: the load generator shares the processors with pushd and the edge. [` + "`bench/push`" + `](../bench/push/main.go) says what is measured and how,
` + "`bench/push/configs`" + ` what the two are configured with.

`

// document is the table under what one must know to read it.
func (b *bench) document(args, load string) string {
	logins := "the logins of an earlier run were used again"
	if b.population.took > 0 {
		logins = fmt.Sprintf("setting up took %s, nearly all of it for logins by password (Argon2id)", b.population.took.Round(time.Second))
	}
	return fmt.Sprintf("%sPrinted by `%s` on %s; terminals: %d, rounds: %d (memory: 1); load average before: %s; %s.\n\n%s\n%s",
		preamble, "go run ./bench/push"+args, proc.Machine(), b.plan.terminals, b.plan.rounds, load, logins, b.results.table(), byHand)
}

// table has medians, and the range where there was more than one round.
func (r results) table() string {
	var s strings.Builder
	s.WriteString("|  | median | range | goal |\n| --- | --: | --: | --- |\n")
	for _, row := range rows() {
		values := r[row.key]
		if len(values) == 0 {
			continue
		}
		label := row.label
		if row.unit != "" {
			label += ", " + row.unit
		}
		fmt.Fprintf(&s, "| %s | %s | %s | %s |\n", label, stats.Number(stats.Median(values)), between(values), row.verdict(values))
	}
	return s.String()
}

func between(values []float64) string {
	if len(values) == 1 {
		return ""
	}
	return stats.Number(slices.Min(values)) + " to " + stats.Number(slices.Max(values))
}

// verdict judges the median before it is rounded for print; what must not
// happen at all, by the worst.
func (r row) verdict(values []float64) string {
	value := stats.Median(values)
	if r.goal == 0 {
		value = slices.Max(values)
	}
	goal := strings.TrimSpace(fmt.Sprintf("%v %s", r.goal, r.unit))
	switch {
	case math.IsNaN(r.goal):
		return ""
	case value <= r.goal:
		return goal + ": met"
	}
	return fmt.Sprintf("%s: missed, by %s", goal, stats.Number(value-r.goal))
}

// write puts the document into a file, before what was written by hand.
func write(file, document string) error {
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	_, notes, _ := strings.Cut(string(old), byHand)
	return os.WriteFile(file, []byte(document+notes), 0o644)
}

// loadAverage is that of the last minute, as in proc_loadavg(5).
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
