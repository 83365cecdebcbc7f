package backend

import (
	"fmt"
	"testing"
)

func BenchmarkPick(b *testing.B) {
	for _, balance := range allBalances {
		for _, n := range []int{1, 3, 32} {
			b.Run(fmt.Sprintf("%s/%d", balance, n), func(b *testing.B) {
				p := newPool(b, Config{Servers: weights(make([]int, n)...), Balance: balance})
				b.ReportAllocs()
				for b.Loop() {
					p.Pick(client, nil).Release()
				}
			})
		}
	}
}
