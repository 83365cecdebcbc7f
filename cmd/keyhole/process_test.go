package main

import (
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"keyhole/internal/testkit"
)

// A process is a keyhole that runs beside the test.
type process struct {
	*testing.T
	program        *testkit.Program
	stdout, stderr *testkit.Transcript // stdout is nil if the test took it
}

// start runs `keyhole ARGS`. The test's end kills it if it still runs.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return launch(t, exec.Command("keyhole", args...))
}

// launch is start for a command, which may have a standard output of its own.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{T: t}
	if cmd.Stdout == nil {
		p.stdout = testkit.NewTranscript("stdout")
		cmd.Stdout = p.stdout
	}
	p.program = testkit.LaunchFor(t, cmd)
	p.stderr = p.program.Output
	return p
}

func (p *process) signal(s os.Signal) {
	p.Helper()
	if err := p.program.Process.Signal(s); err != nil {
		p.Fatalf("signal %v: %v", s, err)
	}
}

// pester sends signals again and again until the process has ended.
func (p *process) pester(signals ...os.Signal) {
	p.Helper()
	testkit.Eventually(p.T, "the edge has ended", func() bool {
		for _, s := range signals {
			p.program.Process.Signal(s) // fails when the process has ended
		}
		select {
		case <-p.program.Ended:
			return true
		default:
			return false
		}
	})
}

// address returns where the edge listens, once it does.
func (p *process) address() string {
	p.Helper()
	return p.stderr.Expect(p.T, `msg=listening address=(\S+)`)[1]
}

// exited waits until the process has ended and wants status 0.
func (p *process) exited() {
	p.Helper()
	if status := p.program.Status(p.T); status != 0 {
		p.Fatalf("keyhole ended with status %d, want 0; stderr:\n%s", status, p.stderr)
	}
}

// stop asks the process to end by SIGTERM and waits until it has.
func (p *process) stop() {
	p.Helper()
	p.signal(syscall.SIGTERM)
	p.exited()
}

// transcribe collects what comes out of r, until r ends or is closed.
func transcribe(name string, r io.Reader) *testkit.Transcript {
	s := testkit.NewTranscript(name)
	go io.Copy(s, r)
	return s
}
