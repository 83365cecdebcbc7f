package main

import (
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
	stdout, stderr *testkit.Transcript
}

// start runs `keyhole ARGS`. The test's end kills it if it still runs.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	stdout := testkit.NewTranscript("stdout")
	cmd := exec.Command("keyhole", args...)
	cmd.Stdout = stdout
	p := launch(t, cmd)
	p.stdout = stdout
	return p
}

// launch is start for a command that has its standard output already.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := testkit.LaunchFor(t, cmd)
	return &process{T: t, program: p, stderr: p.Output}
}

func (p *process) signal(s os.Signal) {
	p.Helper()
	if err := p.program.Process.Signal(s); err != nil {
		p.Fatalf("signal %v: %v", s, err)
	}
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
