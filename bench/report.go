package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"keyhole/bench/internal/proc"
	"keyhole/bench/internal/stats"
)

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

// document is the table below what a reader needs for it: the command, the machine, the versions.
func (b *bench) document(args []string) string {
	var names, lines []string
	for _, k := range b.proxies {
		names = append(names, k.name)
		lines = append(lines, k.describe())
	}
	command := strings.Join(append([]string{"go run ./bench"}, args...), " ")
	text := fmt.Sprintf("Printed by `%s` on %s; proxy on core %d, load and origin on core %d, rounds: %d.%s%s",
		command, proc.Machine(), b.cores.proxy, b.cores.load, b.plan.rounds, b.quietness(), b.saturation())
	if slices.Contains(names, subjectName) && len(names) > 1 {
		text += fmt.Sprintf(" In brackets: %s's ratio to it.", subjectName)
	}
	return text + "\n\n" + strings.Join(lines, "\n") + "\n\n" + b.results.table(metrics(b.plan), names)
}

// quietness says how long round trips take with no proxy between. A p99 of milliseconds there means
// that something else had the cores, which the figures then show.
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

// saturation says under which conditions fair ran.
func (b *bench) saturation() string {
	if !b.has("fair") {
		return ""
	}
	text := fmt.Sprintf(" Beside bulk streams, %d busy processes shared the proxy's core.", b.plan.busy)
	if b.unraised != nil {
		text += fmt.Sprintf(" The small connections' load had no priority (%v), so that they waited for the bulk load too.", b.unraised)
	}
	return text
}

// table is the markdown table of the results: a row for each metric, with each proxy's median, the
// median of the ratios to each other proxy, and how the goals were met.
func (r results) table(ms []metric, proxies []string) string {
	judged := slices.Contains(proxies, subjectName)
	head, rule := append([]string{""}, proxies...), []string{"---"}
	for range proxies {
		rule = append(rule, "--:")
	}
	if judged {
		head, rule = append(head, "goal"), append(rule, "---")
	}
	var b strings.Builder
	row(&b, head)
	row(&b, rule)
	for _, m := range ms {
		if r[m.key] == nil {
			continue
		}
		cells := []string{m.name()}
		for _, p := range proxies {
			cells = append(cells, r.cell(m.key, p, judged))
		}
		if judged {
			cells = append(cells, r.verdicts(m))
		}
		row(&b, cells)
	}
	return b.String()
}

// cell is a proxy's median and, if it is not the judged one, that one's ratio to it.
func (r results) cell(key, proxy string, judged bool) string {
	vs := r[key][proxy]
	text := stats.Number(stats.Median(vs))
	ratio := stats.Median(ratios(r[key][subjectName], vs))
	if !judged || proxy == subjectName || math.IsNaN(ratio) {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, stats.Number(ratio))
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

// verdicts says of each goal whether it was met or, if not, by how much it was missed.
func (r results) verdicts(m metric) string {
	var said []string
	for _, g := range m.goals {
		if v := g.verdict(r[m.key]); v != notMeasured || !g.optional {
			said = append(said, g.text(m.unit)+": "+v)
		}
	}
	return strings.Join(said, "; ")
}

func (g goal) text(unit string) string {
	limit := stats.Number(g.limit)
	switch {
	case g.against == nil && unit == "":
		return limit
	case g.against == nil:
		return limit + " " + unit
	case len(g.against) == 1:
		return limit + " of " + g.against[0]
	}
	return limit + " of the better of " + strings.Join(g.against, " and ")
}

const notMeasured = "not measured"

// verdict judges the value before it is rounded for print. Every proxy that the goal names must
// have been measured, or "the better" would be the only one.
func (g goal) verdict(series map[string][]float64) string {
	value := stats.Median(series[subjectName])
	if math.IsNaN(value) {
		return notMeasured
	}
	if g.against != nil {
		var against [][]float64
		for _, p := range g.against {
			if math.IsNaN(stats.Median(series[p])) {
				return notMeasured
			}
			against = append(against, series[p])
		}
		value = stats.Median(ratios(series[subjectName], best(against...)))
	}
	if math.IsNaN(value) {
		return "no ratio, theirs is not above 0"
	}
	if value <= g.limit {
		return fmt.Sprintf("met (%.3f)", value)
	}
	return fmt.Sprintf("missed by %.3f", value-g.limit)
}

// ratios divides a by b round by round: two runs close in time share the machine's mood, which
// cancels out. A round in which one is unknown, or b is not above zero, is NaN.
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
