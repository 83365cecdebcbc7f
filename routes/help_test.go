package routes

import "net/netip"

func prefixes(all ...string) (out []netip.Prefix) {
	for _, s := range all {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// access lets in only those networks.
func access(allow []netip.Prefix) *Access {
	a, err := NewAccess(allow, nil)
	if err != nil {
		panic(err)
	}
	return a
}

func match(expression string) *Matching {
	m, err := ParseMatching(expression)
	if err != nil {
		panic(err)
	}
	return m
}
