package sni

import "slices"

// A Greeting is how a connection that is not TLS begins: any of some patterns of bytes. The zero
// value fits nothing.
//
//	switch sni.Text("SSH-").Fit(received) {
//	case sni.FitsSoFar: // wait for more
//	case sni.Fits:
//	}
type Greeting struct{ ways []way }

// A way is one pattern: what each of the first bytes may be.
type way []span

// A span is the bytes from lo to hi, both included.
type span struct{ lo, hi byte }

// Fit says how the first bytes of a connection fit a Greeting.
type Fit uint8

const (
	FitsNot   Fit = iota // whatever follows
	FitsSoFar            // the bytes to come decide
	Fits                 // whatever follows
)

// Text is the Greeting that is exactly s.
func Text(s string) Greeting { return Greeting{[]way{exactly(s)}} }

// Fit says how b, all that the client has sent so far, fits. How b was cut into segments does not
// matter: more bytes change nothing but FitsSoFar.
func (g Greeting) Fit(b []byte) Fit {
	best := FitsNot
	for _, w := range g.ways {
		best = max(best, w.fit(b))
	}
	return best
}

// Covers reports whether everything that fits other fits g, and no later. Then other is never
// reached behind g.
func (g Greeting) Covers(other Greeting) bool {
	return !slices.ContainsFunc(other.ways, func(o way) bool {
		return !slices.ContainsFunc(g.ways, func(w way) bool { return w.covers(o) })
	})
}

// BeginsTLS reports whether every connection that fits g begins with the type of a TLS record: for
// Parse that is TLS, right or broken.
func (g Greeting) BeginsTLS() bool {
	return !slices.ContainsFunc(g.ways, func(w way) bool {
		return len(w) == 0 || !isRecordType(w[0].lo) || !isRecordType(w[0].hi)
	})
}

func (w way) fit(b []byte) Fit {
	for i, s := range w {
		switch {
		case i == len(b):
			return FitsSoFar
		case b[i] < s.lo || b[i] > s.hi:
			return FitsNot
		}
	}
	return Fits
}

func (w way) covers(o way) bool {
	if len(w) > len(o) {
		return false
	}
	for i, s := range w {
		if o[i].lo < s.lo || o[i].hi > s.hi {
			return false
		}
	}
	return true
}

func exactly(s string) way {
	w := make(way, len(s))
	for i := range w {
		w[i] = span{s[i], s[i]}
	}
	return w
}

// anyByte is every byte.
var anyByte = span{0, 255}
