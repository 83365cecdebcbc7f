package main

import (
	"fmt"
	"math"
	"strings"

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
