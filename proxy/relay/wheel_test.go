package relay

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const tickNanos = int64(tick)

// A clock is a wheel with the time that it was told.
type clock struct {
	wheel
	time int64
	due  []*Conn
}

// pass lets time pass and returns what came due.
func (c *clock) pass(d time.Duration) []*Conn {
	c.time += int64(d)
	c.due = nil
	c.advance(c.time, func(x *Conn) { c.due = append(c.due, x) })
	return c.due
}

func TestWheelIsNeverEarlyAndAtMostOneTickLate(t *testing.T) {
	for _, at := range []time.Duration{
		0, 1, tick - 1, tick, tick + 1, 10*tick - 1, 10 * tick, 10*tick + 1,
		63 * tick, 64 * tick, 65 * tick, 127 * tick, 128 * tick, (wheelLen - 1) * tick,
	} {
		var c clock
		x := &Conn{}
		c.put(x, int64(at))
		for c.due == nil {
			c.pass(time.Millisecond)
			if c.time > int64(at)+2*tickNanos {
				break
			}
		}
		if len(c.due) != 1 || c.due[0] != x {
			t.Errorf("entry for %s did not come up by %s", at, time.Duration(c.time))
			continue
		}
		if late := c.time - int64(at); at > 0 && (late < 0 || late > tickNanos) {
			t.Errorf("entry for %s came up %s late, want 0 to %s", at, time.Duration(late), tick)
		}
	}
}

// A deadline past the wheel's reach comes up early, to be put back: only the
// connection knows when it is due.
func TestWheelBeyondItsReach(t *testing.T) {
	var c clock
	x := &Conn{}
	at := int64(3*wheelLen*tick + tick/2)
	c.put(x, at)
	looks := 0
	for c.time < at {
		for range c.pass(100 * time.Millisecond) {
			if looks++; c.time < at {
				c.put(x, at)
			}
		}
	}
	if late := c.time - at; looks < 4 || looks > 5 || late > int64(100*time.Millisecond) {
		t.Errorf("entry came up %d times, the last %s late, want 4 or 5 times and at most 100ms", looks, time.Duration(late))
	}
}

func TestWheelKeepsTheEarlierEntry(t *testing.T) {
	var c clock
	x := &Conn{}
	c.put(x, 5*tickNanos)
	c.put(x, 9*tickNanos)
	if got := c.next(); got != 5 {
		t.Errorf("next() = %d after a later put, want 5", got)
	}
	c.put(x, 2*tickNanos)
	if got := c.next(); got != 2 {
		t.Errorf("next() = %d after an earlier put, want 2", got)
	}
	if got := c.pass(20 * tick); len(got) != 1 {
		t.Errorf("entry came up %d times, want 1", len(got))
	}
	if got := c.next(); got != 0 {
		t.Errorf("next() of an empty wheel = %d, want 0", got)
	}
}

func TestWheelRemove(t *testing.T) {
	var c clock
	all := []*Conn{{}, {}, {}}
	for _, x := range all {
		c.put(x, 3*tickNanos)
	}
	for _, i := range []int{1, 0, 2} { // from the middle, an end, the last
		c.remove(all[i])
		c.remove(all[i]) // of what is not there
	}
	if got := c.pass(10 * tick); len(got) != 0 || c.used != [wheelLen / 64]uint64{} {
		t.Errorf("%d removed entries came up, want none", len(got))
	}
}

// What is due may remove others of the same tick, and put back any.
func TestWheelChangesWhileItAdvances(t *testing.T) {
	var w wheel
	a, b, c := &Conn{}, &Conn{}, &Conn{}
	for _, x := range []*Conn{a, b, c} {
		w.put(x, tickNanos)
	}
	var got []*Conn
	w.advance(tickNanos, func(x *Conn) {
		got = append(got, x)
		w.remove(b)
		w.put(x, tickNanos)
	})
	if slices.Contains(got, b) || len(got) != 2 {
		t.Errorf("%d entries came up, want the two that were not removed", len(got))
	}
	got = nil
	w.advance(2*tickNanos, func(x *Conn) { got = append(got, x) })
	if len(got) != 2 {
		t.Errorf("%d entries came up a tick later, want the two that were put back", len(got))
	}
}

// naive is a wheel that nobody can get wrong: the tick of each entry.
type naive map[*Conn]int64

func (n naive) put(x *Conn, at, now int64) {
	t := min(max((at+tickNanos-1)/tickNanos, now+1), now+wheelLen-1)
	if old, ok := n[x]; !ok || t < old {
		n[x] = t
	}
}

func (n naive) next() int64 {
	first := int64(0)
	for _, t := range n {
		if first == 0 || t < first {
			first = t
		}
	}
	return first
}

func TestWheelAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		var c clock
		model := naive{}
		conns := make([]*Conn, 40)
		for i := range conns {
			conns[i] = &Conn{slot: uint32(i)}
		}
		for range 3000 {
			x := conns[r.IntN(len(conns))]
			switch r.IntN(5) {
			case 0:
				c.remove(x)
				delete(model, x)
			case 1:
				far := r.Int64N(1 << (1 + r.IntN(39)))
				c.put(x, c.time+far)
				model.put(x, c.time+far, c.now)
			case 2:
				compareDue(t, seed, c.pass(time.Duration(r.Int64N(1<<(20+r.IntN(18))))), model, c.time/tickNanos)
			}
			if got, want := c.next(), model.next(); got != want {
				t.Fatalf("seed %d: next() = %d at tick %d, want %d", seed, got, c.now, want)
			}
		}
	}
}

func compareDue(t *testing.T, seed uint64, got []*Conn, model naive, now int64) {
	t.Helper()
	last := int64(0)
	for _, x := range got {
		at, ok := model[x]
		if !ok || at > now || at < last {
			t.Fatalf("seed %d: entry %d came up at tick %d, want tick %d (entered: %t)", seed, x.slot, now, at, ok)
		}
		last = at
		delete(model, x)
	}
	if next := model.next(); next != 0 && next <= now {
		t.Fatalf("seed %d: the entry of tick %d did not come up by tick %d", seed, next, now)
	}
}

// The wheel is told the time only when its timer fires, so an entry may be
// made when it is far behind.
func TestWheelBehindTheTime(t *testing.T) {
	var w wheel
	x := &Conn{}
	now := int64(1000 * tick)
	w.put(x, now+tickNanos)
	if got := w.next(); got != 1001 {
		t.Errorf("next() = %d, want 1001", got)
	}
	came := 0
	w.advance(now, func(*Conn) { came++ })
	w.advance(now+tickNanos, func(*Conn) { came += 10 })
	if came != 10 {
		t.Errorf("entry came up early or not at all (%d), want once and in time", came)
	}
}
