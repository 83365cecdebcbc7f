package main

import (
	"math"
	"slices"
	"testing"
)

var nan = math.NaN()

// same is equality that takes NaN for itself.
func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{
		{nil, nan},
		{[]float64{nan}, nan},
		{[]float64{3}, 3},
		{[]float64{9, 1, 4}, 4},
		{[]float64{4, 1, 2, 9}, 3},
		{[]float64{nan, 5, 1}, 3},
	} {
		given := slices.Clone(tt.in)
		if got := median(tt.in); !same(got, tt.want) {
			t.Errorf("median(%v) = %v, want %v", tt.in, got, tt.want)
		}
		if !slices.EqualFunc(tt.in, given, same) {
			t.Errorf("median(%v) changed its argument to %v", given, tt.in)
		}
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, tt := range []struct {
		in   []int
		q    float64
		want int
	}{
		{nil, 0.99, 0},
		{[]int{7}, 0.5, 7},
		{hundred, 0, 1},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
	} {
		if got := quantile(tt.in, tt.q); got != tt.want {
			t.Errorf("quantile of %d elements, %v = %d, want %d", len(tt.in), tt.q, got, tt.want)
		}
	}
}

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
