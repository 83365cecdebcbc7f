package routes

import "iter"

const maxProtocol = 255 // RFC 7301 section 3.1

// protocols yields the names in a ProtocolNameList without its outer length (RFC 7301 section 3.1), and stops at an
// entry that is cut short.
func protocols(alpn []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(alpn) > 0 {
			end := 1 + int(alpn[0])
			if end > len(alpn) || !yield(alpn[1:end]) {
				return
			}
			alpn = alpn[end:]
		}
	}
}

// encode is the reverse of protocols. Names that no hello can carry, empty or over 255 bytes, are left out.
func encode(names []string) []byte {
	var alpn []byte
	for _, n := range names {
		if len(n) > 0 && len(n) <= maxProtocol {
			alpn = append(append(alpn, byte(len(n))), n...)
		}
	}
	return alpn
}
