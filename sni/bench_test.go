package sni

import "testing"

// BenchmarkParse reads one whole hello with each operation.
func BenchmarkParse(b *testing.B) {
	small, chromium := load(b, "openssl-tls1_2.hex"), load(b, "chromium-1.hex")
	for _, c := range []struct {
		name  string
		bytes []byte
		step  int // bytes more with each call
	}{
		{"small", small, len(small)},
		{"chromium", chromium, len(chromium)},
		{"chromium in records of 100", reframe(deframe(chromium), every(100)), 1 << 16},
		{"chromium byte by byte", chromium, 1},
		{"64 KiB byte by byte", largest(b), 1},
		{"16000 extensions", crowded(16000, false), 1 << 16},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.bytes)))
			for b.Loop() {
				if _, _, err := feed(c.bytes, c.step); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSecond reads what a client and an origin say first in a connection without
// HelloRetryRequest.
func BenchmarkSecond(b *testing.B) {
	second := (&Parser{}).Second()
	behind := append(other(20, []byte{1}), other(23, make([]byte, 1000))...)
	answer := record(serverHello(string(testRandom)))
	b.ReportAllocs()
	for b.Loop() {
		s, r := second, Retry{}
		if _, _, err := s.Read(behind); err != ErrNeedMore || r.Read(answer) != AnswerOther {
			b.Fatalf("Second.Read = %v, want %v, and no request", err, ErrNeedMore)
		}
	}
}
