package proxy

import (
	"net/netip"
	"testing"

	"keyhole/backend"
	"keyhole/routes"
)

// The backend of a route may be a split, of which a decision takes one pool.
func TestDecideBySplit(t *testing.T) {
	var pools []*backend.Pool
	for _, name := range []string{"a", "b"} {
		p, err := backend.New(backend.Config{Name: name, Servers: []backend.ServerConfig{{Address: "192.0.2.1:443"}}})
		if err != nil {
			t.Fatal(err)
		}
		pools = append(pools, p)
	}
	split, err := backend.NewSplit([]backend.Share{{Name: "a", Pool: 0, Weight: 1}, {Name: "b", Pool: 1, Weight: 1}}, true)
	if err != nil {
		t.Fatal(err)
	}
	table, err := routes.New(routes.Config{Routes: []routes.Route{
		{SNI: []string{"split.example"}, Backend: backend.FirstSplit},
		{SNI: []string{"b.example"}, Backend: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := &Config{Table: table, Pools: pools, Splits: []*backend.Split{split}}
	seen := map[*backend.Pool]bool{}
	for i := range 256 {
		q := Query{Name: []byte("split.example"), Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}
		d := c.Decide(q)
		if d.Pool != pools[split.Pick(q.Client)] || d.Reason != NoReason {
			t.Fatalf("Decide(%v) = %+v, want the pool that the split picks", q.Client, d)
		}
		seen[d.Pool] = true
	}
	if len(seen) != 2 {
		t.Errorf("256 clients get %d pools, want 2", len(seen))
	}
	if d := c.Decide(Query{Name: []byte("b.example")}); d.Pool != pools[1] {
		t.Errorf("Decide(b.example) = %+v, want pool b", d)
	}
	q := Query{Name: []byte("split.example"), Client: netip.MustParseAddr("2001:db8::1")}
	if n := testing.AllocsPerRun(100, func() { c.Decide(q) }); n != 0 {
		t.Errorf("Decide allocates %v times, want 0", n)
	}
}
