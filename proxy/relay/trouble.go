package relay

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Trouble is a call that the kernel refuses for reasons of the machine.
type Trouble uint8

// The calls, and what the engine does without them.
const (
	TroubleAccept Trouble = iota // connections wait in the accept queue
	TroubleEpoll                 // a connection ends, or a listener waits for the next tick
	TroubleSplice                // bytes are copied
	troubles                     // how many there are
)

var troubleTexts = [troubles]string{
	TroubleAccept: "the kernel refuses to accept connections; they wait in the queue",
	TroubleEpoll:  "epoll cannot watch a descriptor; for ENOSPC raise fs.epoll.max_user_watches",
	TroubleSplice: "splice is refused here; bytes are copied, at more CPU per byte",
}

func (t Trouble) String() string { return troubleTexts[t] }

// refusals counts those of one call.
type refusals struct {
	count  atomic.Uint64
	toldAt atomic.Int64 // nanoseconds since the engine started
}

// tellEvery bounds how often one kind of trouble is told.
const tellEvery = time.Minute

// complain counts a refused call, and tells of it once a minute.
func (e *Engine) complain(kind Trouble, cause unix.Errno) {
	t := &e.refusals[kind]
	n := t.count.Add(1)
	now := int64(time.Since(e.epoch)) + 1
	told := t.toldAt.Load()
	if told != 0 && now-told < int64(tellEvery) || !t.toldAt.CompareAndSwap(told, now) {
		return
	}
	if tell := e.options.Trouble; tell != nil {
		go tell(kind, cause, n) // a log may block, and this is a loop
	}
}

// Refusals returns how often the kernel refused a call since the engine was made.
func (e *Engine) Refusals(t Trouble) uint64 { return e.refusals[t].count.Load() }
