// Package stats computes the figures of a benchmark from its samples.
//
//	stats.Number(stats.Median([]float64{3, 1, math.NaN()})) // "2.00"
//
// A sample that is missing is NaN, and is left out. It keeps no samples.
package stats

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Median is the middle of the known values (not NaN), the mean of the middle two when their number
// is even, and NaN when none is known.
func Median(vs []float64) float64 {
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

// Quantile is the smallest element that a share q of all does not exceed, and the zero value of no
// elements.
func Quantile[T cmp.Ordered](sorted []T, q float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// Number prints three digits or more, and a dash for NaN.
func Number(v float64) string {
	size := math.Abs(v)
	switch {
	case math.IsNaN(v):
		return "-"
	case size >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case size >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
