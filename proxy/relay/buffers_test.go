package relay

import (
	"bytes"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

func TestBlocksComeBackInTheirClass(t *testing.T) {
	var p blocks
	for _, c := range []struct{ ask, get int }{
		{1, 4 << 10}, {4 << 10, 4 << 10}, {4<<10 + 1, 16 << 10}, {16<<10 + 1, 64 << 10}, {64 << 10, 64 << 10}, {64<<10 + 1, 64<<10 + 1},
	} {
		b := p.get(c.ask)
		if len(b.buf) != c.get || p.lent != c.get {
			t.Errorf("get(%d) lends %d bytes and counts %d, want %d", c.ask, len(b.buf), p.lent, c.get)
		}
		p.put(b)
		if p.lent != 0 {
			t.Errorf("%d bytes are lent after the block came back, want 0", p.lent)
		}
		again := p.get(c.ask)
		if pooled := c.get <= readSize; (again == b) != pooled {
			t.Errorf("get(%d) again gives the same block: %t, want %t", c.ask, again == b, pooled)
		}
		p.put(again)
	}
}

func TestFreeBlocksAreBounded(t *testing.T) {
	var p blocks
	var out []*block
	for range 100 {
		out = append(out, p.get(readSize), p.get(1))
	}
	for _, b := range out {
		p.put(b)
	}
	kept := 0
	for _, class := range p.free {
		for _, b := range class {
			kept += len(b.buf)
		}
	}
	if kept != p.kept || kept > freeBytes || p.lent != 0 {
		t.Errorf("%d bytes are kept (counted: %d, lent: %d), want at most %d", kept, p.kept, p.lent, freeBytes)
	}
}

func TestBlockGrows(t *testing.T) {
	var p blocks
	b := p.hold([]byte("hello"))
	all := []byte("hello")
	for len(all) < 300<<10 {
		if b.end == len(b.buf) {
			g := p.grow(b)
			p.put(b)
			b = g
		}
		n := copy(b.buf[b.end:], bytes.Repeat([]byte{byte(len(all))}, 1000))
		all = append(all, b.buf[b.end:b.end+n]...)
		b.end += n
		if !bytes.Equal(b.bytes(), all) {
			t.Fatalf("block of %d bytes lost some when it grew to %d", len(all), len(b.buf))
		}
		if p.lent != len(b.buf) {
			t.Fatalf("%d bytes are counted as lent, want the one block's %d", p.lent, len(b.buf))
		}
	}
}

func TestPipes(t *testing.T) {
	testkit.NoLeaks(t)
	p := pipes{most: maxPipes}
	var lent []*pipe
	for range maxPipes {
		x := p.get()
		if x == nil {
			t.Fatalf("no pipe after %d, want %d", len(lent), maxPipes)
		}
		lent = append(lent, x)
	}
	if x := p.get(); x != nil {
		t.Errorf("a pipe was lent beyond the %d", maxPipes)
	}
	for _, x := range lent {
		p.put(x)
	}
	if p.open != freePipes || len(p.free) != freePipes {
		t.Errorf("%d pipes are open and %d free, want %d of each", p.open, len(p.free), freePipes)
	}
	p.closeAll()
	if p.open != 0 {
		t.Errorf("%d pipes are open at the end, want 0", p.open)
	}
}

// The bytes of one connection must never be given to the next.
func TestPipeWithBytesInsideIsNotLentAgain(t *testing.T) {
	testkit.NoLeaks(t)
	p := pipes{most: maxPipes}
	x := p.get()
	unix.Write(int(x.w), []byte("secret"))
	x.queued = 6
	p.put(x)
	if len(p.free) != 0 || p.open != 0 {
		t.Errorf("%d pipes are free and %d open after one came back with bytes inside, want none", len(p.free), p.open)
	}
	p.closeAll()
}

// Without descriptors there is no pipe, and that is no failure.
func TestNoPipeIsToBeHad(t *testing.T) {
	testkit.NoLeaks(t)
	free := useUpDescriptors(t)
	p := pipes{most: maxPipes}
	x := p.get()
	free()
	if x != nil || p.open != 0 {
		t.Errorf("get() = %v with no descriptor left, want nil", x)
	}
}

// The pipes that bulk traffic needed are kept for the next, but not by a loop
// that has nothing left to do.
func TestIdleLoopHoldsNoPipe(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	const bulk = 8 << 20
	go server.Write(make([]byte, bulk))
	if _, err := io.CopyN(io.Discard, client, bulk); err != nil {
		t.Fatal(err)
	}
	pipes := func() (n int) {
		for _, s := range e.engine.Stats() {
			n += s.Pipes
		}
		return n
	}
	if pipes() == 0 {
		t.Error("8 MiB went without a pipe, want some")
	}
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
	e.settle()
	if n := pipes(); n != 0 {
		t.Errorf("%d pipes are open when no connection is, want none", n)
	}
}
