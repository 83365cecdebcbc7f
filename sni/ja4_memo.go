package sni

import (
	"encoding/binary"
	"hash/maphash"
)

// A JA4Memo remembers the hashes of lists of cipher suites and extensions. There are few of them
// among any number of clients, and SHA-256 alone takes longer than reading a hello. A memo takes 50
// KiB, and one goroutine at a time may use it. A client that sends other lists each time costs the
// hashes of its own, and those of the lists that it displaces.
type JA4Memo struct {
	seed               maphash.Seed // which list displaces which is no client's to choose
	suites, extensions memoTable
}

// NewJA4Memo returns an empty memo.
func NewJA4Memo() *JA4Memo { return &JA4Memo{seed: maphash.MakeSeed()} }

// memoKey is the longest key that is remembered, in bytes.
const memoKey = 168

type memoTable [128]struct {
	key  [memoKey]byte
	size int // of the key; 0: the place is free
	hash ja4Hash
}

// ofSuites returns the hash of a list of cipher suites, whose key is the list. Clients that send
// GREASE send it first, one of sixteen values; it is no part of the key.
func (m *JA4Memo) ofSuites(suites []byte) ja4Hash {
	suites = withoutGREASE(suites)
	if m == nil || len(suites) > memoKey || len(suites) == 0 {
		return hashSuites(suites)
	}
	at := &m.suites[maphash.Bytes(m.seed, suites)%uint64(len(m.suites))]
	if string(at.key[:at.size]) != string(suites) {
		at.size, at.hash = copy(at.key[:], suites), hashSuites(suites)
	}
	return at.hash
}

// ofExtensions returns the hash of the extensions that x is of. Its key is the set of their types,
// as some clients send them in another order each time, and the signature algorithms.
func (m *JA4Memo) ofExtensions(extensions []byte, x *listed) ja4Hash {
	algorithms := withoutGREASE(x.algorithms)
	types := &x.types
	if m == nil || types.overflow || 8+2*types.n+1+len(algorithms) > memoKey {
		return hashExtensions(extensions, algorithms)
	}
	var key [memoKey]byte
	sortCodes(types.high[:types.n])
	k := binary.BigEndian.AppendUint64(key[:0], types.low)
	for _, typ := range types.high[:types.n] {
		k = binary.BigEndian.AppendUint16(k, typ)
	}
	k = append(append(k, byte(types.n)), algorithms...)
	at := &m.extensions[maphash.Bytes(m.seed, k)%uint64(len(m.extensions))]
	if string(at.key[:at.size]) != string(k) {
		at.size, at.hash = copy(at.key[:], k), hashExtensions(extensions, algorithms)
	}
	return at.hash
}

// withoutGREASE returns a list of two-byte values without a first one that is GREASE.
func withoutGREASE(list []byte) []byte {
	if len(list) >= 2 && isGREASE(binary.BigEndian.Uint16(list)) {
		return list[2:]
	}
	return list
}
