package server

import "testing"

// A heartbeat and its reply on one connection, both ends in this process.
func BenchmarkHeartbeat(b *testing.B) {
	s := newSite(b)
	p := s.newPhone("phone")
	p.verify()
	b.ReportAllocs()
	for b.Loop() {
		p.beat()
	}
}
