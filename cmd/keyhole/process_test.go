package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a process; none comes near it but a failure.
const patience = 30 * time.Second

// A process is a keyhole that runs beside the test.
type process struct {
	*testing.T
	cmd            *exec.Cmd
	stdout, stderr *output
}

// start runs `keyhole ARGS`. The test's end kills it if it still runs.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := exec.Command("keyhole", args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return launch(t, cmd, watch("stdout", stdout))
}

func launch(t *testing.T, cmd *exec.Cmd, stdout *output) *process {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{T: t, cmd: cmd, stdout: stdout, stderr: watch("stderr", stderr)}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // an error says that it has ended
		cmd.Wait()         // and this, that somebody has waited
	})
	return p
}

func (p *process) signal(s os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fatalf("signal %v: %v", s, err)
	}
}

// address returns where the edge listens, once it does.
func (p *process) address() string {
	p.Helper()
	return p.stderr.wait(p.T, `msg=listening address=(\S+)`)[1]
}

// exited waits until the process has ended and wants status 0.
func (p *process) exited() {
	p.Helper()
	p.stdout.end(p.T)
	p.stderr.end(p.T)
	if err := p.cmd.Wait(); err != nil {
		p.Fatalf("keyhole ended with %v, want status 0; stderr:\n%s", err, p.stderr)
	}
}

// stop asks the process to end by SIGTERM and waits until it has.
func (p *process) stop() {
	p.Helper()
	p.signal(syscall.SIGTERM)
	p.exited()
}

// output is what a process has written so far.
type output struct {
	name    string
	changed chan struct{} // has a token when text or ended have changed

	mu    sync.Mutex
	text  strings.Builder
	ended bool
}

func watch(name string, r io.Reader) *output {
	o := &output{name: name, changed: make(chan struct{}, 1)}
	go func() {
		lines := bufio.NewReader(r)
		for {
			line, err := lines.ReadString('\n')
			o.add(line, err != nil)
			if err != nil {
				return
			}
		}
	}()
	return o
}

func (o *output) add(line string, end bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.WriteString(line)
	o.ended = o.ended || end
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// wait returns the first match of a pattern, and its groups, once it is there.
func (o *output) wait(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var match []string
	o.until(t, pattern, func() bool {
		match = re.FindStringSubmatch(o.text.String())
		return match != nil
	})
	return match
}

// end waits until the process has closed its side.
func (o *output) end(t *testing.T) {
	t.Helper()
	o.until(t, "its end", func() bool { return o.ended })
}

// until waits for a condition, which is called with o.mu held.
func (o *output) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	late := time.After(patience)
	for {
		o.mu.Lock()
		ok, ended := done(), o.ended
		o.mu.Unlock()
		switch {
		case ok:
			return
		case ended:
			t.Fatalf("%s ended without %s:\n%s", o.name, what, o)
		}
		select {
		case <-o.changed:
		case <-late:
			t.Fatalf("%s has no %s after %v:\n%s", o.name, what, patience, o)
		}
	}
}
