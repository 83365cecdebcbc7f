package routes

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// An index finds patterns by kind and suffix. It is a hash table in two arrays without a pointer in
// them: records of one bucket lie side by side, and starts says where each bucket begins.
//
//	record: tag (1 byte: fingerprint, kind), length of the suffix (1), target (4, little endian), suffix
//
// A look-up that misses the processor's caches does so twice: for four bytes in starts, and for a
// record. Open addressing beside an array of the names costs the same two, in larger arrays; a Go
// map of strings costs three. With about one pattern to a bucket, reading on past the first record
// is rare.
//
// The hash is seeded at random, because clients choose the names and must not be able to search for
// names that share a bucket.
type index struct {
	seed    maphash.Seed
	starts  []uint32 // of bucket i in records; one more than there are buckets
	records []byte
	depths  [manyLabels + 1]depths // by kind: label counts of the suffixes that exist
}

const recordHead = 6

// A target is the value of a pattern: the index of its only route, or of its claims in
// Table.claims.
type target uint32

const (
	isShared   target = 1 << 31
	targetMask        = isShared - 1
)

// depths is a set of label counts, 0 to 127.
type depths [2]uint64

func (d *depths) add(n int)      { d[n>>6&1] |= 1 << (n & 63) }
func (d *depths) has(n int) bool { return d[n>>6&1]>>(n&63)&1 != 0 }

// newIndex chooses three quarters of a pattern to a bucket, up to one and a half.
func newIndex(patterns int) index {
	buckets := 1 << bits.Len(uint(patterns)*2/3)
	return index{seed: maphash.MakeSeed(), starts: make([]uint32, buckets+1)}
}

func (x *index) hash(suffix []byte) uint64 { return maphash.Bytes(x.seed, suffix) }

// bucket returns the number of the bucket for suffixes of this hash. It holds patterns of all
// kinds, because look-ups want *. and **. of one suffix at once.
func (x *index) bucket(hash uint64) uint64 { return hash & uint64(len(x.starts)-2) }

// tag is never 0, which marks the end of a bucket with room to spare. The fingerprint comes from
// the bits of the hash that bucket does not use.
func tag(hash uint64, k kind) byte { return byte(hash>>56)&^3 | byte(k) }

// reserve counts the room for a pattern. layout must follow, then insert with each of the same
// patterns.
func (x *index) reserve(suffix []byte) {
	x.starts[x.bucket(x.hash(suffix))+1] += recordHead + uint32(len(suffix))
}

// layout turns the counts into places.
func (x *index) layout() {
	for i := 1; i < len(x.starts); i++ {
		x.starts[i] += x.starts[i-1]
	}
	x.records = make([]byte, x.starts[len(x.starts)-1])
}

// insert returns the four bytes of a pattern's target, and whether the pattern was there already.
func (x *index) insert(k kind, suffix []byte) (to []byte, known bool) {
	h := x.hash(suffix)
	b := x.bucketRecords(h)
	if to := search(b, tag(h, k), suffix); to != nil {
		return to, true
	}
	for b[0] != 0 {
		b = b[recordHead+int(b[1]):]
	}
	b[0], b[1] = tag(h, k), byte(len(suffix))
	copy(b[recordHead:], suffix)
	return b[2:recordHead], false
}

// find returns the target of a pattern whose suffix has hash h.
func (x *index) find(h uint64, k kind, suffix []byte) (target, bool) {
	to := search(x.bucketRecords(h), tag(h, k), suffix)
	if to == nil {
		return 0, false
	}
	return target(binary.LittleEndian.Uint32(to)), true
}

func (x *index) bucketRecords(h uint64) []byte {
	i := x.bucket(h)
	return x.records[x.starts[i]:x.starts[i+1]]
}

// search returns the target's bytes of the record with this tag and suffix in a bucket, nil if
// there is none.
func search(bucket []byte, tag byte, suffix []byte) []byte {
	for len(bucket) >= recordHead && bucket[0] != 0 {
		end := recordHead + int(bucket[1])
		if bucket[0] == tag && string(bucket[recordHead:end]) == string(suffix) {
			return bucket[2:recordHead]
		}
		bucket = bucket[end:]
	}
	return nil
}
