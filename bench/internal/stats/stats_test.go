package stats

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
		if got := Median(tt.in); !same(got, tt.want) {
			t.Errorf("Median(%v) = %v, want %v", tt.in, got, tt.want)
		}
		if !slices.EqualFunc(tt.in, given, same) {
			t.Errorf("Median(%v) changed its argument to %v", given, tt.in)
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
		if got := Quantile(tt.in, tt.q); got != tt.want {
			t.Errorf("Quantile of %d elements, %v = %d, want %d", len(tt.in), tt.q, got, tt.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.00", 0.123: "0.12", 9.994: "9.99", 9.996: "10.0", 99.94: "99.9", 99.96: "100", 12345.6: "12346", -3.14159: "-3.14",
	} {
		if got := Number(v); got != want {
			t.Errorf("Number(%v) = %q, want %q", v, got, want)
		}
	}
	if got := Number(nan); got != "-" {
		t.Errorf("Number(NaN) = %q, want %q", got, "-")
	}
}
