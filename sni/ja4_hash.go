package sni

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// A ja4Hash is one of the two hashes of a JA4.
type ja4Hash struct {
	digits [12]byte
	count  int // of the codes that are hashed
}

// hashSuites hashes a list of cipher suites.
func hashSuites(suites []byte) ja4Hash {
	var codes [128]uint16
	var text [1024]byte
	list := appendCodes(codes[:0], suites)
	sortCodes(list)
	return ja4Hash{digest(appendHex(text[:0], list)), len(list)}
}

// hashExtensions hashes the types of a list of extensions, and signature algorithms behind them.
func hashExtensions(extensions, algorithms []byte) ja4Hash {
	var codes [128]uint16
	var text [1024]byte
	types := codes[:0]
	for rest := extensions; len(rest) > 0; {
		typ, _, next, ok := cutExtension(rest)
		if !ok {
			break
		}
		if rest = next; !isGREASE(typ) && typ != extServerName && typ != extALPN {
			types = append(types, typ)
		}
	}
	sortCodes(types)
	list, count := appendHex(text[:0], types), len(types)
	if signed := appendCodes(types[:0], algorithms); len(signed) > 0 {
		list = appendHex(append(list, '_'), signed)
	}
	return ja4Hash{digest(list), count}
}

// digest returns the first digits of the SHA-256 of a text, and zeroes for an empty one.
func digest(text []byte) (digits [12]byte) {
	if len(text) == 0 {
		copy(digits[:], "000000000000")
		return digits
	}
	sum := sha256.Sum256(text)
	hex.Encode(digits[:], sum[:6])
	return digits
}

// appendCodes appends a list of two-byte values, without GREASE.
func appendCodes(codes []uint16, list []byte) []uint16 {
	codes = slices.Grow(codes, len(list)/2)
	for ; len(list) >= 2; list = list[2:] {
		if v := binary.BigEndian.Uint16(list); !isGREASE(v) {
			codes = append(codes, v)
		}
	}
	return codes
}

// sortCodes sorts a short list by insertion, which costs less than a call of package slices. A
// hostile hello has up to 32,767 codes: two passes by bytes sort them in linear time.
func sortCodes(codes []uint16) {
	if len(codes) > 128 {
		other := make([]uint16, len(codes))
		sortByByte(other, codes, 0)
		sortByByte(codes, other, 8)
		return
	}
	for i := 1; i < len(codes); i++ {
		v, k := codes[i], i
		for ; k > 0 && codes[k-1] > v; k-- {
			codes[k] = codes[k-1]
		}
		codes[k] = v
	}
}

// sortByByte copies codes to sorted in the order of one of their bytes. Codes that have it in
// common stay in their order.
func sortByByte(sorted, codes []uint16, shift uint) {
	var at [257]int // where the next code with each byte goes
	for _, v := range codes {
		at[v>>shift&0xff+1]++
	}
	for b := range 256 {
		at[b+1] += at[b]
	}
	for _, v := range codes {
		b := v >> shift & 0xff
		sorted[at[b]] = v
		at[b]++
	}
}

const hexDigits = "0123456789abcdef"

// appendHex appends codes as four digits each, with commas between.
func appendHex(text []byte, codes []uint16) []byte {
	text = slices.Grow(text, 5*len(codes))
	for i, v := range codes {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, hexDigits[v>>12], hexDigits[v>>8&0xf], hexDigits[v>>4&0xf], hexDigits[v&0xf])
	}
	return text
}
