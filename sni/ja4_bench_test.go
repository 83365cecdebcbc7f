package sni

import "testing"

// BenchmarkJA4 reads a hello without its fingerprint, with it, and with the fingerprint of a client
// whose lists were not seen before.
func BenchmarkJA4(b *testing.B) {
	many := make([]byte, 65534)
	for i := range many {
		many[i] = byte(i * 7919 >> 3)
	}
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"openssl", load(b, "openssl-tls1_2.hex")},
		{"java", load(b, "java.hex")},
		{"chromium", load(b, "chromium-1.hex")},
		{"16000 extensions", crowded(16000, false)},
		{"32000 suites", reframe(draft{suites: many[:64000]}.message(), every(maxRecord))},
	} {
		for _, how := range []string{"off", "on", "unknown"} {
			b.Run(c.name+"/"+how, func(b *testing.B) {
				memo := NewJA4Memo()
				if how == "unknown" {
					memo = nil
				}
				b.ReportAllocs()
				for b.Loop() {
					h, err := parse(c.bytes)
					if err != nil {
						b.Fatal(err)
					}
					if how != "off" {
						h.JA4(memo)
					}
				}
			})
		}
	}
}
