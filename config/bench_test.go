package config

import (
	"bytes"
	"fmt"
	"testing"
)

// manyRoutes returns a file with n routes of one line each.
func manyRoutes(n int) []byte {
	var b bytes.Buffer
	b.WriteString(listenLine + "backends:\n  shop: {servers: [10.0.0.5:443]}\nroutes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {sni: host%d.example.com, backend: shop}\n", i)
	}
	return b.Bytes()
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		data := manyRoutes(n)
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse("k.yaml", data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
