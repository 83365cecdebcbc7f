package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
)

// A hand writes records into a log as a loop would.
type hand struct{ *ring }

func (h hand) write(n int) {
	for range n {
		if r := h.reserve(); r != nil {
			r.reason, r.phase = ClientGone, relay.PhaseHello
			h.commit()
		}
	}
}

// counting is a log handler that counts by level.
type counting struct {
	slog.Handler
	errors, warnings, infos atomic.Int64
	text                    *recordLog
}

func newCounting() *counting {
	l := &recordLog{}
	return &counting{Handler: slog.NewTextHandler(l, nil), text: l}
}

func (c *counting) logger() *slog.Logger { return slog.New(c) }

func (c *counting) Handle(ctx context.Context, r slog.Record) error {
	switch r.Level {
	case slog.LevelError:
		c.errors.Add(1)
	case slog.LevelWarn:
		c.warnings.Add(1)
	default:
		c.infos.Add(1)
	}
	return c.Handler.Handle(ctx, r)
}

// Every record that is committed is written, from several loops at once, and
// by the time that Close returns.
func TestAccessLogWritesEveryRecord(t *testing.T) {
	testkit.NoLeaks(t)
	out := &recordLog{}
	a := NewAccessLog(out, LogOptions{Format: Text}, slog.New(slog.DiscardHandler))
	const loops, each = 4, 20000
	var wait sync.WaitGroup
	for i := range loops {
		h := hand{a.ring(i)}
		wait.Go(func() { h.write(each) })
	}
	wait.Wait()
	a.Close()
	if n := out.count(); uint64(n)+a.Dropped() != loops*each {
		t.Errorf("%d records are written and %d dropped, want %d in all", n, a.Dropped(), loops*each)
	}
}

// One record, and then none: it must not wait for a second.
func TestAccessLogWritesASingleRecord(t *testing.T) {
	testkit.NoLeaks(t)
	out := &recordLog{}
	a := NewAccessLog(out, LogOptions{Format: Text}, slog.New(slog.DiscardHandler))
	h := hand{a.ring(0)}
	for i := range 200 {
		h.write(1)
		testkit.Eventually(t, "the record is written", func() bool { return out.count() == i+1 })
	}
	a.Close()
}

// gate is a writer that can be shut, as a pipe that nobody reads.
type gate struct {
	mu    sync.Mutex
	tried chan struct{}
	bytes.Buffer
}

func (g *gate) Write(b []byte) (int, error) {
	select {
	case g.tried <- struct{}{}:
	default:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.Buffer.Write(b)
}

// While the writer is stuck, records fill the ring and the rest are dropped
// and counted; whoever makes them never waits.
func TestAccessLogDropsWhenTheWriterIsStuck(t *testing.T) {
	testkit.NoLeaks(t)
	g := &gate{tried: make(chan struct{}, 1)}
	log := newCounting()
	a := NewAccessLog(g, LogOptions{Format: Text}, log.logger())
	h := hand{a.ring(0)}
	g.mu.Lock()
	h.write(1)
	<-g.tried
	h.write(ringSize + 100) // returns, which is the test
	dropped := a.Dropped()
	g.mu.Unlock()
	a.Close()
	if dropped < 90 || dropped > 101 {
		t.Errorf("%d records are dropped, want the about 100 that the ring has no room for", dropped)
	}
	if n := uint64(bytes.Count(g.Bytes(), []byte("\n"))); n+a.Dropped() != ringSize+101 {
		t.Errorf("%d records are written and %d dropped, want %d in all", n, a.Dropped(), ringSize+101)
	}
	if log.warnings.Load() == 0 || log.warnings.Load() > 2 {
		t.Errorf("the loss is logged %d times, want once or twice: %s", log.warnings.Load(), log.text.text.String())
	}
}

// A disk that is full is reported once, not with every record.
func TestAccessLogReportsAFailingWriterOnce(t *testing.T) {
	testkit.NoLeaks(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	log := newCounting()
	a := NewAccessLog(full, LogOptions{Format: Text}, log.logger())
	h := hand{a.ring(0)}
	for i := range 50 {
		h.write(1)
		testkit.Eventually(t, "the record is dropped", func() bool { return a.Dropped() == uint64(i+1) })
	}
	a.Close()
	if n := log.errors.Load(); n != 1 {
		t.Errorf("the failure is logged %d times, want once: %s", n, log.text.text.String())
	}
	if !strings.Contains(log.text.text.String(), "no space left on device") {
		t.Errorf("log says %s, want the cause", log.text.text.String())
	}
}

// failing takes only so many bytes of the next write.
type failing struct {
	recordLog
	room atomic.Int64 // negative: any
}

var errFull = errors.New("no room")

func (f *failing) Write(b []byte) (int, error) {
	room := f.room.Load()
	if room < 0 {
		return f.recordLog.Write(b)
	}
	n, _ := f.recordLog.Write(b[:min(int(room), len(b))])
	return n, errFull
}

// After a line that was cut off, the next begins on a line of its own; in a
// new file it is the first.
func TestAccessLogAfterATornLine(t *testing.T) {
	testkit.NoLeaks(t)
	for _, reopen := range []bool{false, true} {
		f := &failing{}
		f.room.Store(10)
		log := newCounting()
		a := NewAccessLog(f, LogOptions{Format: Text}, log.logger())
		h := hand{a.ring(0)}
		h.write(1)
		testkit.Eventually(t, "the record is dropped", func() bool { return a.Dropped() == 1 })
		after := &f.recordLog
		if reopen {
			after = &recordLog{}
			a.Reopen(after)
		}
		f.room.Store(-1)
		h.write(1)
		a.Close()
		lines := strings.Split(strings.TrimSuffix(after.text.String(), "\n"), "\n")
		whole := lines[len(lines)-1]
		if want := map[bool]int{false: 2, true: 1}[reopen]; len(lines) != want || !strings.HasPrefix(whole, "time=") || !strings.Contains(whole, "total_ms=") {
			t.Errorf("reopened %t: log is %q, want %d lines with a whole record as the last", reopen, lines, want)
		}
		if log.infos.Load() != 1 {
			t.Errorf("the recovery is logged %d times, want once", log.infos.Load())
		}
	}
}

// After Reopen returns, the former file is not written to any more, and no
// record is lost between the two.
func TestAccessLogReopen(t *testing.T) {
	testkit.NoLeaks(t)
	dir := t.TempDir()
	first, err := os.Create(filepath.Join(dir, "1"))
	if err != nil {
		t.Fatal(err)
	}
	a := NewAccessLog(first, LogOptions{Format: Text}, slog.New(slog.DiscardHandler))
	h := hand{a.ring(0)}
	var writing sync.WaitGroup
	const each = 3000 // fits the ring: none is dropped
	writing.Go(func() { h.write(each) })
	second := &recordLog{}
	a.Reopen(second)
	first.Close()
	writing.Wait()
	h.write(1)
	a.Close()
	before, err := os.ReadFile(filepath.Join(dir, "1"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(before, []byte("\n")) + second.count(); n != each+1 || a.Dropped() != 0 {
		t.Errorf("%d records are in the two files and %d dropped, want %d and none", n, a.Dropped(), each+1)
	}
	if second.count() == 0 {
		t.Error("the new file has no record")
	}
}

// stuck never takes a byte, until it is let go.
type stuck struct{ released chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.released
	return io.Discard.Write(b)
}

// A log that cannot be written does not slow connections: more of them come
// and go than the ring has room for.
func TestConnectionsGoOnWithoutTheirLog(t *testing.T) {
	testkit.NoLeaks(t)
	w := stuck{make(chan struct{})}
	access := NewAccessLog(w, LogOptions{Format: JSON}, slog.New(slog.DiscardHandler))
	server, err := New(one("shop.example", refusing(t)).config(t), access, nil)
	if err != nil {
		t.Fatal(err)
	}
	at, err := server.Listen(anyPort, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	e := &edge{Server: server, t: t, addr: at.Addr().String()}
	dropped := func() bool { return access.Dropped() > 0 }
	n := 0
	for ; n < 4*ringSize && !dropped(); n++ {
		c := e.dial()
		c.Send("not TLS")
		readAll(c)
		c.Close()
	}
	if !dropped() {
		t.Errorf("no record is dropped after %d connections with the log stuck", n)
	}
	server.Close()
	close(w.released)
	access.Close()
}
