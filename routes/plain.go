package routes

import (
	"time"

	"keyhole/sni"
)

// Plain is an ordered list of rules for the clients of a listener that do not speak TLS. The first
// rule that fits takes the client.
//
//	switch rule, settled := plain.Find(received); {
//	case !settled: // read more
//	case rule == nil: // no rule takes the client
//	}
type Plain []PlainRule

// A PlainRule takes the clients that begin as Begins says; without Begins those that have sent
// nothing for Silent; and without either every client that has sent a byte.
type PlainRule struct {
	Label  string        // what records call it
	Begins *sni.Greeting // nil: any bytes, or none with Silent
	Silent time.Duration // 0: the client speaks first
	Route  *Route        // without patterns
}

// Find returns the first rule that takes a client which has sent b, one byte or more, or nil. While
// more bytes can still make an earlier rule fit, settled is false. Find does not allocate.
func (p Plain) Find(b []byte) (rule *PlainRule, settled bool) {
	for i := range p {
		switch rule = &p[i]; rule.fit(b) {
		case sni.Fits:
			return rule, true
		case sni.FitsSoFar:
			return nil, false
		}
	}
	return nil, true
}

// Silent returns the rule for clients that send nothing, or nil.
func (p Plain) Silent() *PlainRule {
	for i := range p {
		if p[i].Silent > 0 {
			return &p[i]
		}
	}
	return nil
}

func (r *PlainRule) fit(b []byte) sni.Fit {
	switch {
	case r.Silent > 0:
		return sni.FitsNot
	case r.Begins == nil:
		return sni.Fits
	}
	return r.Begins.Fit(b)
}

// takesAll reports whether the rule takes every client that has sent a byte.
func (r *PlainRule) takesAll() bool { return r.Begins == nil && r.Silent == 0 }

// Hides returns the rule of p that takes every client which r could take, so that r is never
// reached behind p; nil if there is none.
func (p Plain) Hides(r *PlainRule) *PlainRule {
	for i := range p {
		switch q := &p[i]; {
		case r.Silent > 0:
			if q.Silent > 0 {
				return q
			}
		case q.takesAll(), r.Begins != nil && q.Begins != nil && q.Begins.Covers(*r.Begins):
			return q
		}
	}
	return nil
}
