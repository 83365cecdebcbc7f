package routes

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// shops are n routes with a name each, as a large installation has them.
func shops(n int) []Route {
	rs := make([]Route, n)
	for i := range rs {
		rs[i] = Route{SNI: []string{shop(i)}, Backend: i % 10, Line: i + 1}
	}
	return rs
}

func shop(i int) string { return fmt.Sprintf("shop-%07d.example.com", i) }

// BenchmarkLookup asks tables of three sizes for the same hundred names, and for names from the
// whole table. The first is what the size of a table costs; the second adds what the processor's
// caches cannot hold.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{100, 10_000, 1_000_000} {
		table, err := New(Config{Routes: shops(n), Default: &Route{Backend: -1}})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("same/%d", n), func(b *testing.B) { lookUp(b, table, Matched, names(100, 100)) })
		b.Run(fmt.Sprintf("random/%d", n), func(b *testing.B) { lookUp(b, table, Matched, names(1<<20, n)) })
		b.Run(fmt.Sprintf("unknown/%d", n), func(b *testing.B) {
			asked := names(1<<20, n)
			for _, name := range asked {
				copy(name, "nope")
			}
			lookUp(b, table, NoRoute, asked)
		})
	}
}

// names are count names of shops, chosen at random from the first n. They lie side by side, so that
// reading them costs the same whatever n is.
func names(count, n int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 0, count*len(shop(0)))
	all := make([][]byte, count)
	for i := range all {
		start := len(text)
		text = append(text, shop(random.IntN(n))...)
		all[i] = text[start:]
	}
	return all
}

func lookUp(b *testing.B, table *Table, want Outcome, asked [][]byte) {
	i := 0
	for b.Loop() {
		if m := table.Lookup(Query{asked[i], nil, netip.Addr{}, NoListener, nil}); m.Outcome != want {
			b.Fatalf("Lookup(%q) = %v, want %v", asked[i], m.Outcome, want)
		}
		if i++; i == len(asked) {
			i = 0
		}
	}
}

// BenchmarkNew is a reload of a million routes, less the reading of the file.
func BenchmarkNew(b *testing.B) {
	rs := shops(1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(Config{Routes: rs, Default: &Route{Backend: -1}}); err != nil {
			b.Fatal(err)
		}
	}
}
