package keys

import "testing"

func BenchmarkSeal(b *testing.B) {
	r := newTestRing(b)
	b.ReportAllocs()
	for b.Loop() {
		seal(b, r, testClaims())
	}
}

// BenchmarkOpen has as many keys as a day's rotation and a month's sessions
// leave, and opens one of the oldest.
func BenchmarkOpen(b *testing.B) {
	r := newTestRing(b)
	session := seal(b, r, testClaims())
	for range 30 {
		r = rotated(b, r, start, month)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Open(session); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	k := generate(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Sign("context", []byte("part")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	k := generate(b)
	signature, err := k.Sign("context", []byte("part"))
	if err != nil {
		b.Fatal(err)
	}
	p := k.Public()
	b.ReportAllocs()
	for b.Loop() {
		if !p.Verify(signature, "context", []byte("part")) {
			b.Fatal("Verify = false, want true")
		}
	}
}

func BenchmarkDPoP(b *testing.B) {
	k := generate(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.DPoP("GET", target, start, "s"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyDPoP(b *testing.B) {
	proof, err := generate(b).DPoP("GET", target, start, "s")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := VerifyDPoP(proof, "GET", target, start, skew, "s"); err != nil {
			b.Fatal(err)
		}
	}
}
