package server

import (
	"fmt"
	"os"
	"runtime"
	runtimemetrics "runtime/metrics"
	"runtime/pprof"
	"testing"

	"keyhole/internal/testkit"
)

// An idle terminal that is verified and listens takes at most 16 KiB of heap
// and stack, TLS and its part of the store included. That is what is in use
// after a collection; what the process has of the operating system is more, by
// GOGC. For a profile of it set PUSHD_TEST_HEAP to a file's name, and run with
// -memprofilerate=512.
func TestMemoryOfAnIdleTerminal(t *testing.T) {
	s := newSite(t)
	many := 300
	if os.Getenv("KEYHOLE_SOAK") != "" {
		many = 2000
	}
	if testkit.RaceEnabled {
		many = 100 // whose memory says nothing: the race detector's is in it
	}
	phones := make([]*phone, many)
	for i := range phones {
		phones[i] = s.newPhone(fmt.Sprint("phone ", i))
	}
	gone := func() bool { return s.channels.Len() == 0 && len(s.live.list()) == 0 }
	startCrowd(t, s, phones[:many/20])() // what a server has once, as the store's buffers
	s.eventually("the first to be gone", gone)
	before := inUse()
	leave := startCrowd(t, s, phones)
	if n := s.channels.Len(); n != many {
		t.Fatalf("%d terminals, want %d", n, many)
	}
	after := inUse()
	heap, stacks := (after.heap-before.heap)/int64(many), (after.stacks-before.stacks)/int64(many)
	t.Logf("%d idle terminals: %d bytes each (heap %d, stacks %d), %d goroutines more", many, heap+stacks, heap, stacks, after.goroutines-before.goroutines)
	if name := os.Getenv("PUSHD_TEST_HEAP"); name != "" {
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := pprof.Lookup("heap").WriteTo(f, 0); err != nil {
			t.Fatal(err)
		}
	}
	if most := int64(16 << 10); !testkit.RaceEnabled && heap+stacks > most {
		t.Errorf("%d bytes a terminal, want at most %d", heap+stacks, most)
	}
	leave()
	s.eventually("all to be gone", gone)
}

// A use is what of the memory is in use, in bytes, and how many goroutines.
type use struct{ heap, stacks, goroutines int64 }

func inUse() use {
	// The second collection takes what the first has let go of: finalizers,
	// and what sync.Pool keeps once.
	runtime.GC()
	runtime.GC()
	s := []runtimemetrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/sched/goroutines:goroutines"},
	}
	runtimemetrics.Read(s)
	return use{int64(s[0].Value.Uint64()), int64(s[1].Value.Uint64()), int64(s[2].Value.Uint64())}
}
