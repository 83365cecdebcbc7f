package sni

// typeSet holds the extension types of one hello, to refuse a duplicate (RFC 8446 section 4.2). Types below 64 are bits,
// which covers nearly all that clients send; the few others (GREASE, ECH, renegotiation_info) go to a short list. A
// hello of 64 KiB can carry 16,000 types, and walking a list of those for each would be quadratic, so past the list's
// end overflow is set and uniqueTypes has to decide.
type typeSet struct {
	low      uint64
	high     [16]uint16
	n        int
	overflow bool
}

// add puts typ into the set. It returns false when it is certain that typ was there before.
func (t *typeSet) add(typ uint16) bool {
	if typ < 64 {
		bit := uint64(1) << typ
		fresh := t.low&bit == 0
		t.low |= bit
		return fresh
	}
	if t.n == len(t.high) {
		t.overflow = true
		return true
	}
	for _, h := range t.high[:t.n] {
		if h == typ {
			return false
		}
	}
	t.high[t.n] = typ
	t.n++
	return true
}

// uniqueTypes reports whether no type appears twice in a well-formed list of extensions. It is a function of its own,
// and not inlined, because its bitmap takes 8 KiB of stack, which an ordinary hello does not pay for.
//
//go:noinline
func uniqueTypes(extensions []byte) bool {
	var seen [1 << 16 / 64]uint64
	for rest := extensions; len(rest) > 0; {
		typ, _, next, ok := cutExtension(rest)
		if !ok {
			return false
		}
		rest = next
		if seen[typ/64]&(1<<(typ%64)) != 0 {
			return false
		}
		seen[typ/64] |= 1 << (typ % 64)
	}
	return true
}
