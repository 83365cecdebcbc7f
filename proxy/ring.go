package proxy

import "sync/atomic"

// ringSize is how many records a loop can be ahead of the writer.
const ringSize = 1 << 13

// A ring takes records from one loop to the writer, without a lock and
// without waiting: a loop that finds it full drops the record and counts it.
type ring struct {
	log     *AccessLog
	records []record
	written atomic.Uint64 // by the loop
	read    atomic.Uint64 // by the writer
	dropped atomic.Uint64
}

// reserve returns the record to fill, or nil when the ring is full.
func (r *ring) reserve() *record {
	n := r.written.Load()
	if n-r.read.Load() == uint64(len(r.records)) {
		r.dropped.Add(1)
		return nil
	}
	return &r.records[n%uint64(len(r.records))]
}

// commit hands the reserved record over, and wakes the writer if it sleeps.
func (r *ring) commit() {
	r.written.Add(1)
	if r.log.asleep.Load() && r.log.asleep.Swap(false) {
		r.log.wake <- struct{}{} // never blocks: there is one token, and Swap won it
	}
}

// next returns the oldest record that was not read, or nil.
func (r *ring) next() *record {
	n := r.read.Load()
	if n == r.written.Load() {
		return nil
	}
	return &r.records[n%uint64(len(r.records))]
}

// done gives the record of next back to the loop.
func (r *ring) done() { r.read.Add(1) }
