package main

import (
	"math"
	"slices"
	"testing"
)

var nan = math.NaN()

// same is equality that takes NaN for itself.
func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestRatios(t *testing.T) {
	got := ratios([]float64{1, nan, 3, 4, -1}, []float64{2, 2, nan, 0, 4})
	want := []float64{0.5, nan, nan, nan, -0.25}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("ratios = %v, want %v", got, want)
	}
}

func TestBest(t *testing.T) {
	got := best([]float64{3, nan, 1, nan}, []float64{2, 5, nan, nan})
	want := []float64{2, 5, 1, nan}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("best = %v, want %v", got, want)
	}
}
