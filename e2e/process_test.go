package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a program that the tests started. It dies with the test binary, however that ends.
type process struct {
	*exec.Cmd
	name  string
	stdin io.WriteCloser
	out   *transcript   // standard error, and standard output unless the caller took that
	ended chan struct{} // closed once the process is gone and its output complete
}

// launch starts cmd, with an open pipe as its standard input.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{Cmd: cmd, name: cmd.Args[0], out: newTranscript(), ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p.out
	}
	cmd.Stderr = p.out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	cmd.SysProcAttr.Setpgid = true // so that what it starts in its turn ends with it
	cmd.WaitDelay = 5 * time.Second
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		cmd.Wait() // what it has to say is in ProcessState
		close(p.ended)
	}()
	return p, nil
}

// launchFor is launch for one test, which ends the process.
func launchFor(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p, err := launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

// stop ends the process and its children, and waits until it is gone.
func (p *process) stop() {
	select {
	case <-p.ended:
		return // its number may already be another's
	default:
	}
	syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// terminate asks the process to end, which then ends its children and waits for them, and stops it if it does not.
func (p *process) terminate() {
	p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.stop()
	}
}

// await returns the first match of re in the process's output, with its groups, once it is there. A process that ended
// without saying it, or does not say it in time, is an error that has all it said.
func (p *process) await(re *regexp.Regexp) ([]string, error) {
	late := time.After(patience)
	for ended := false; ; {
		text, more := p.out.read()
		if m := re.FindStringSubmatch(text); m != nil {
			return m, nil
		}
		if ended {
			return nil, fmt.Errorf("%s ended without printing %q; it printed:\n%s", p.name, re, text)
		}
		select {
		case <-more:
		case <-p.ended:
			ended = true
		case <-late:
			return nil, fmt.Errorf("%s has not printed %q; it printed:\n%s", p.name, re, text)
		}
	}
}

// expect is await for one test.
func (p *process) expect(t *testing.T, re string) []string {
	t.Helper()
	m, err := p.await(regexp.MustCompile(re))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// say writes to the process's standard input.
func (p *process) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(p.stdin, text); err != nil {
		t.Fatalf("write to %s: %v", p.name, err)
	}
}

// printed is what the process has said so far.
func (p *process) printed() string {
	text, _ := p.out.read()
	return text
}

// wait returns the exit status once the process has ended by itself.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%v has not ended; it printed:\n%s", p.Args, p.printed())
	}
	return p.ProcessState.ExitCode()
}

// output is what a program that has ended left.
type output struct {
	stdout, stderr string
	status         int
}

// run runs a program to its end with nothing on its standard input.
func run(t *testing.T, program string, args ...string) output {
	t.Helper()
	cmd := exec.Command(program, args...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	p := launchFor(t, cmd)
	p.stdin.Close()
	status := p.wait(t)
	return output{stdout.String(), p.printed(), status}
}

// A transcript collects what a process prints.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed at the next write
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.text.Write(b)
}

// read returns the text so far, and a channel that is closed when there is more.
func (s *transcript) read() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), s.more
}
