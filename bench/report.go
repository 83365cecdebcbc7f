package main

import (
	"fmt"
	"math"
	"strings"

	"keyhole/bench/internal/proc"
	"keyhole/bench/internal/stats"
)

// subjectName is the proxy that the goals are for.
const subjectName = "keyhole"

// Results are the measured values by metric key, proxy and round; NaN where a measurement failed.
type results map[string]map[string][]float64

// set notes a value of a round, counted from 0.
func (r results) set(key, proxy string, round, rounds int, v float64) {
	if r[key] == nil {
		r[key] = make(map[string][]float64)
	}
	vs := r[key][proxy]
	for len(vs) < rounds {
		vs = append(vs, math.NaN())
	}
	vs[round] = v
	r[key][proxy] = vs
}

// table is the markdown table of what was measured: a row a metric, with each proxy's median, the medians of the
// ratios to the peers, and how the goals were met.
func (r results) table(ms []metric, proxies []string) string {
	var others []string
	for _, p := range proxies {
		if p != subjectName {
			others = append(others, p)
		}
	}
	withGoals := len(others) < len(proxies)
	var b strings.Builder
	row(&b, header(proxies, others, withGoals))
	row(&b, rule(proxies, others, withGoals))
	for _, m := range ms {
		if r[m.key] == nil {
			continue
		}
		cells := []string{m.name()}
		for _, p := range proxies {
			cells = append(cells, stats.Number(stats.Median(r[m.key][p])))
		}
		if withGoals {
			for _, p := range others {
				cells = append(cells, stats.Number(stats.Median(ratios(r[m.key][subjectName], r[m.key][p]))))
			}
			cells = append(cells, r.verdicts(m))
		}
		row(&b, cells)
	}
	return b.String()
}

func header(proxies, others []string, withGoals bool) []string {
	cells := append([]string{""}, proxies...)
	if !withGoals {
		return cells
	}
	for _, p := range others {
		cells = append(cells, subjectName+" / "+p)
	}
	return append(cells, "goal")
}

func rule(proxies, others []string, withGoals bool) []string {
	cells := []string{"---"}
	for range proxies {
		cells = append(cells, "--:")
	}
	if !withGoals {
		return cells
	}
	for range others {
		cells = append(cells, "--:")
	}
	return append(cells, "---")
}

func row(b *strings.Builder, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func (m metric) name() string {
	if m.unit == "" {
		return m.label
	}
	return m.label + ", " + m.unit
}

// verdicts says of each goal whether it was met, and if not, by how much it was missed.
func (r results) verdicts(m metric) string {
	var said []string
	for _, g := range m.goals {
		said = append(said, g.text(m.unit)+": "+g.verdict(r[m.key]))
	}
	return strings.Join(said, "; ")
}

func (g goal) text(unit string) string {
	switch {
	case g.against == nil && unit == "":
		return stats.Number(g.limit)
	case g.against == nil:
		return stats.Number(g.limit) + " " + unit
	case len(g.against) == 1:
		return stats.Number(g.limit) + " of " + g.against[0]
	}
	return stats.Number(g.limit) + " of the better"
}

// verdict judges the value before it is rounded for print. Every proxy that the goal names must have been measured,
// else "the better" would be the only one.
func (g goal) verdict(series map[string][]float64) string {
	value := stats.Median(series[subjectName])
	if g.against != nil {
		var against [][]float64
		for _, p := range g.against {
			if math.IsNaN(stats.Median(series[p])) {
				return "not measured"
			}
			against = append(against, series[p])
		}
		value = stats.Median(ratios(series[subjectName], best(against...)))
	}
	if math.IsNaN(stats.Median(series[subjectName])) {
		return "not measured"
	}
	if math.IsNaN(value) {
		return "no ratio, theirs is not above 0"
	}
	if value <= g.limit {
		return fmt.Sprintf("met (%.3f)", value)
	}
	return fmt.Sprintf("missed by %.3f", value-g.limit)
}

// ratios divides a by b round by round: two runs close in time share the machine's mood, and the ratio is free of it.
// A round in which one is unknown, or b is not above zero, is NaN.
func ratios(a, b []float64) []float64 {
	rs := make([]float64, min(len(a), len(b)))
	for i := range rs {
		rs[i] = math.NaN()
		if b[i] > 0 {
			rs[i] = a[i] / b[i]
		}
	}
	return rs
}

// best is the least of the known in each round.
func best(series ...[]float64) []float64 {
	var out []float64
	for _, s := range series {
		for i, v := range s {
			if i == len(out) {
				out = append(out, math.NaN())
			}
			if math.IsNaN(out[i]) || v < out[i] {
				out[i] = v
			}
		}
	}
	return out
}

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
