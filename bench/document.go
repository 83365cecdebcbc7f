package main

import (
	"fmt"
	"strings"

	"keyhole/bench/internal/proc"
	"keyhole/bench/internal/stats"
)

// document is the table under what one must know to read it: the command, the machine, the versions.
func (b *bench) document(args []string) string {
	var names, versions []string
	for _, k := range b.proxies {
		names = append(names, k.name)
		versions = append(versions, "- "+k.printVersion())
	}
	command := strings.Join(append([]string{"go run ./bench"}, args...), " ")
	return fmt.Sprintf("Printed by `%s` on %s; proxy on core %d, load and origin on core %d, rounds: %d.%s\n\n%s\n\n%s",
		command, proc.Machine(), b.cores.proxy, b.cores.load, b.plan.rounds, b.quietness(),
		strings.Join(versions, "\n"), b.results.table(metrics(b.plan), names))
}

// quietness says what round trips take with no proxy between: a p99 of milliseconds there means that something else
// had the cores, and that the figures are of that.
func (b *bench) quietness() string {
	if len(b.direct) == 0 {
		return ""
	}
	var p50, p99 []float64
	for _, d := range b.direct {
		p50, p99 = append(p50, micros(d.p50)), append(p99, micros(d.p99))
	}
	return fmt.Sprintf(" Without a proxy, round trips at half load take %s µs (p50) and %s µs (p99).",
		stats.Number(stats.Median(p50)), stats.Number(stats.Median(p99)))
}
