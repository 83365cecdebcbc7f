package main

import (
	"cmp"
	"math"
	"slices"
)

// median is the middle of what is known of vs (not NaN), the mean of the two middles when they are even in number, and
// NaN when nothing is known.
func median(vs []float64) float64 {
	known := slices.DeleteFunc(slices.Clone(vs), math.IsNaN)
	if len(known) == 0 {
		return math.NaN()
	}
	slices.Sort(known)
	m := len(known) / 2
	if len(known)%2 == 1 {
		return known[m]
	}
	return (known[m-1] + known[m]) / 2
}

// quantile is the smallest element that a share of q is not above. The zero value if there is none.
func quantile[T cmp.Ordered](sorted []T, q float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
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
