package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"keyhole/internal/testkit"
)

// TestDrain shows that SIGTERM and SIGINT let open connections live and take no new ones, and that
// the process ends with the last.
func TestDrain(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.configure()
			edge := s.start()
			at := edge.address()
			v := s.visit(at, demoShop)

			edge.signal(signal)
			edge.stderr.Expect(t, `msg=draining connections=1 at_most=30s\n`)
			v.ask()
			testkit.BecomesRefusing(t, at)
			v.ask()
			v.leave()
			edge.exited()
			edge.stderr.Expect(t, `msg=stopped accepted=\d+ closed_by_drain=0\n`)
			edge.stdout.Expect(t, ` reason=client_closed phase=relay `)
		})
	}
}

// TestDrainEnds shows that the configured time bounds the wait.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("timeouts: {drain: 50ms}")
	edge := s.start()
	v := s.visit(edge.address(), demoShop)
	edge.stop()
	v.isCut()
	edge.stderr.Expect(t, `msg=stopped accepted=1 closed_by_drain=1\n`)
	edge.stdout.Expect(t, ` reason=drained phase=relay `)
}

// TestSecondSignal shows that a second signal ends the drain, and that one for each of the two
// kinds does.
func TestSecondSignal(t *testing.T) {
	for _, signals := range [][2]syscall.Signal{{syscall.SIGINT, syscall.SIGINT}, {syscall.SIGTERM, syscall.SIGINT}} {
		t.Run(fmt.Sprint(signals), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.configure("timeouts: {drain: 720h}")
			edge := s.start()
			v := s.visit(edge.address(), demoShop)
			edge.signal(signals[0])
			edge.stderr.Expect(t, `msg=draining connections=1 at_most=720h0m0s\n`)
			edge.signal(signals[1])
			edge.exited()
			v.isCut()
			edge.stderr.Expect(t, `msg=stopped accepted=1 closed_by_drain=1\n`)
			edge.stdout.Expect(t, ` reason=killed phase=relay `)
		})
	}
}

// TestSIGTERMAgain sends SIGTERM until the edge ends, since those within a second of the first
// count as one.
func TestSIGTERMAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("timeouts: {drain: 720h}")
	edge := s.start()
	v := s.visit(edge.address(), demoShop)
	edge.pester(syscall.SIGTERM)
	edge.exited()
	v.isCut()
	edge.stdout.Expect(t, ` reason=killed phase=relay `)
}

// TestUpgradeSignal shows that SIGUSR2, which ends a process by default, does not end the edge.
func TestUpgradeSignal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure()
	edge := s.start()
	at := edge.address()
	edge.signal(syscall.SIGUSR2)
	edge.stderr.Expect(t, `level=WARN msg="SIGUSR2 is ignored: live upgrade is not supported yet"`)
	s.visit(at, demoShop).leave()
	edge.stop()
}

// TestLogReaderGone shows that the edge outlives the reader of its records: a write to a pipe
// without a reader raises SIGPIPE.
func TestLogReaderGone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("keyhole", "run", "--config", s.file)
	cmd.Stdout = w
	edge := launch(t, cmd)
	w.Close()
	r.Close()
	at := edge.address()
	s.visit(at, demoShop).leave()
	edge.stderr.Expect(t, `level=ERROR msg="access log cannot be written; records are dropped until it can" error=".*broken pipe"`)
	s.visit(at, demoShop).leave()
	edge.stop()
}
