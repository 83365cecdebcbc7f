package store

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func BenchmarkPublish(b *testing.B) {
	for _, publishers := range []int{1, 64} {
		b.Run(fmt.Sprint("inflight=", publishers), func(b *testing.B) {
			s := open(b, Config{})
			data := make([]byte, 200)
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range publishers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						m := Message{ID: fmt.Sprint(i), Publisher: "bench", Token: hash(int(i) % 5000), Data: data}
						if _, _, err := s.Publish(b.Context(), m); err != nil {
							b.Errorf("Publish: %v", err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
		})
	}
}

func BenchmarkDelete(b *testing.B) {
	s := open(b, Config{Backlog: 1 << 30})
	var seqs []uint64
	fillAsync(b, s, b.N, func(i int) Message { return Message{ID: fmt.Sprint(i), Token: hash(i % 5000)} },
		func(_ Message, seq uint64) { seqs = append(seqs, seq) })
	b.ResetTimer()
	s.Delete(seqs...)
	s.deletes.stop(time.Hour)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deletes/s")
}

func BenchmarkBacklog(b *testing.B) {
	s := open(b, Config{})
	for i := range 100 {
		publish(b, s, Message{ID: fmt.Sprint(i), Token: hash(100), Data: make([]byte, 200)})
	}
	publish(b, s, Message{ID: "one", Token: hash(1), Data: make([]byte, 200)})
	for _, stored := range []int{0, 1, 100} {
		b.Run(fmt.Sprint("messages=", stored), func(b *testing.B) {
			for b.Loop() {
				found, err := s.Backlog(b.Context(), TokenFilter(hash(stored)), 0, 1<<62, 256)
				if err != nil || len(found) != stored {
					b.Fatalf("Backlog = %d messages, %v, want %d", len(found), err, stored)
				}
			}
		})
	}
}

func BenchmarkSession(b *testing.B) {
	s := open(b, Config{})
	if _, err := s.CreateSession(b.Context(), Session{ID: "s", User: "ann"}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Session(b.Context(), "s"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMillion stores a message under each of a million tokens, and says
// what that takes. Run it with -benchtime 1x: it takes a minute. Messages are
// written as terminals are, without waiting for the disk, to save three more.
func BenchmarkMillion(b *testing.B) {
	const million = 1_000_000
	dir := b.TempDir()
	s := openAsync(b, dir)
	before := heap()
	for i := range million {
		m := Message{ID: fmt.Sprint(i), Publisher: "bench", Token: hash(i), Data: make([]byte, 200)}
		msg, err := m.encode(time.Now(), s.cfg.Retention)
		if err != nil {
			b.Fatal(err)
		}
		msg.Header.Del(jetstream.MsgIDHeader) // forgotten after two minutes, which would be measured here
		if _, err := s.js.PublishMsgAsync(msg); err != nil {
			b.Fatal(err)
		}
	}
	<-s.js.PublishAsyncComplete()
	b.ReportMetric(float64(heap()-before)/million, "B/subject")
	read := func(n int, token func(int) string) time.Duration {
		began := time.Now()
		for i := range n {
			if _, err := s.Backlog(b.Context(), TokenFilter(token(i)), 0, 1<<62, 256); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(began) / time.Duration(n)
	}
	b.ReportMetric(float64(read(2000, func(i int) string { return hash(i * 499) }).Microseconds()), "cold-µs/read")
	b.ReportMetric(float64(read(2000, func(i int) string { return hash(i * 499) }).Microseconds()), "warm-µs/read")
	b.ReportMetric(float64(read(2000, func(i int) string { return hash(million + i) }).Microseconds()), "empty-µs/read")
	b.ReportMetric(float64(heap()-before)/million, "warm-B/subject")
	purge(b, s)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	s = openAsync(b, dir)
	b.ReportMetric(time.Since(began).Seconds(), "s/open")
	b.ReportMetric(0, "ns/op")
}

func purge(b *testing.B, s *Store) {
	const n = 20
	began := time.Now()
	for i := range n {
		if err := s.eraseAll(b.Context(), messageStream, TokenFilter(hash(i*49999))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(began).Microseconds())/n, "µs/purge")
}

func heap() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// openAsync is Open, but that messages are not waited for either.
func openAsync(b *testing.B, dir string) *Store {
	b.Helper()
	c, err := Config{Dir: dir, Log: quiet}.withDefaults()
	if err != nil {
		b.Fatal(err)
	}
	s := newStore(c)
	b.Cleanup(func() { s.Close() })
	if err := s.connect(context.Background()); err != nil {
		b.Fatal(err)
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		b.Fatal(err)
	}
	config := s.streamConfigs()[0]
	config.PersistMode = jetstream.AsyncPersistMode
	if s.streams[config.Name], err = s.js.CreateOrUpdateStream(context.Background(), config); err != nil {
		b.Fatal(err)
	}
	return s
}
