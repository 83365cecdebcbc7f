package main

import "math"

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
