package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhichSignalsEnd shows when a further signal ends the edge at once.
func TestWhichSignalsEnd(t *testing.T) {
	const term, interrupt = syscall.SIGTERM, syscall.SIGINT
	type came struct {
		after time.Duration
		os.Signal
	}
	for _, c := range []struct {
		name    string
		signals []came
		now     bool
	}{
		{"one", []came{{0, term}}, false},
		{"forwarded twice", []came{{0, term}, {0, term}, {sameEnd - 1, term}}, false},
		{"again", []came{{0, term}, {sameEnd, term}}, true},
		{"again after being forwarded twice", []came{{0, term}, {sameEnd - 1, term}, {1, term}}, true},
		{"Ctrl-C twice", []came{{0, interrupt}, {0, interrupt}}, true},
		{"Ctrl-C that a supervisor answers", []came{{0, interrupt}, {0, term}}, false},
		{"Ctrl-C after SIGTERM", []came{{0, term}, {0, interrupt}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var r requests
				signals := make(chan os.Signal)
				r.watchEnds(ctx, signals)
				for _, s := range c.signals {
					time.Sleep(s.after)
					signals <- s.Signal
				}
				synctest.Wait()
				if r.end.Err() == nil || (r.now.Err() != nil) != c.now {
					t.Errorf("end = %v, now = %v, want a drain, at once: %v", r.end.Err(), r.now.Err(), c.now)
				}
			})
		})
	}
}

// TestEarlySignals sends signals as soon as the package that catches them says that it is there,
// long before main.
func TestEarlySignals(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure()
	for range 10 {
		cmd := exec.Command("keyhole", "run", "--config", s.file)
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		edge := launch(t, cmd)
		edge.stderr.Expect(t, `init keyhole/cmd/internal/early `)
		edge.signal(syscall.SIGUSR2)
		edge.signal(syscall.SIGHUP)
		edge.address()
		edge.stderr.Expect(t, `SIGUSR2 is ignored`)
		edge.stderr.Expect(t, `msg="configuration reloaded"`)
	}
}

// TestSignalsDuringStart shows that an edge which still reads its configuration remembers a reload.
func TestSignalsDuringStart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.pipe()
	edge := s.start()
	first := s.writer()
	edge.signal(syscall.SIGHUP)
	edge.signal(syscall.SIGUSR2)
	s.send(first)
	at := edge.address()
	s.turnedAway(at, demoBlog)
	s.send(s.writer(), s.blogRoute())
	edge.stderr.Expect(t, `msg="configuration reloaded" .*routes=2 `)
	edge.stderr.Expect(t, `SIGUSR2 is ignored`)
	s.visit(at, demoBlog).leave()
	edge.stop()
}

// TestEndDuringStart shows that an edge which waits for its configuration ends at once.
func TestEndDuringStart(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.pipe()
			edge := s.start()
			defer s.writer().Close()
			edge.signal(signal)
			edge.exited()
		})
	}
}

// TestEndDuringReload shows that the drain begins while a reload waits for its file, or computes.
func TestEndDuringReload(t *testing.T) {
	for _, c := range []struct {
		name   string
		routes int
	}{{"that waits", 0}, {"that computes", 200_000}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.configure()
			edge := s.start()
			v := s.visit(edge.address(), demoShop)
			s.pipe()
			edge.signal(syscall.SIGHUP)
			w := s.writer()
			defer w.Close()
			if c.routes > 0 {
				s.send(w, s.manyRoutes(c.routes))
			}
			edge.signal(syscall.SIGTERM)
			edge.stderr.Expect(t, `msg=draining connections=1 `)
			v.ask()
			v.leave()
			edge.exited()
			log := edge.stderr.String()
			if !strings.Contains(log, `msg="configuration not reloaded: the edge is ending"`) || strings.Contains(log, `configuration reloaded`) {
				t.Errorf("stderr is\n%swant the reload abandoned", log)
			}
		})
	}
}

// TestHangupsDuringReload shows that they count as one more reload.
func TestHangupsDuringReload(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure()
	edge := s.start()
	edge.address()
	s.pipe()
	edge.signal(syscall.SIGHUP)
	first := s.writer()
	for range 3 {
		edge.signal(syscall.SIGHUP)
	}
	s.send(first)
	edge.stderr.Expect(t, `msg="configuration reloaded" .*routes=1 `)
	s.send(s.writer(), s.blogRoute())
	edge.stderr.Expect(t, `msg="configuration reloaded" .*routes=2 `)
	edge.stop()
}

// TestSignalsWhileEnding shows that signals which are harmless to a running edge do not change how it
// ends.
func TestSignalsWhileEnding(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure()
	edge := s.start()
	edge.address()
	edge.signal(syscall.SIGTERM)
	edge.pester(syscall.SIGHUP, syscall.SIGUSR2)
	edge.exited()
}
