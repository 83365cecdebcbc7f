package testkit

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

// A Program runs beside the tests. It dies with the test binary, however that ends.
type Program struct {
	*exec.Cmd
	Output *Transcript   // standard error, and standard output unless the caller took that
	Ended  chan struct{} // closed once the program is gone and its output complete

	stdin io.WriteCloser
}

// Launch starts cmd, with an open pipe as its standard input. The caller may give cmd a standard output of its own.
func Launch(cmd *exec.Cmd) (*Program, error) {
	p := &Program{Cmd: cmd, Output: NewTranscript(cmd.Args[0]), Ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p.Output
	}
	cmd.Stderr = p.Output
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	cmd.SysProcAttr.Setpgid = true // so that its children end with it
	cmd.WaitDelay = 5 * time.Second
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		cmd.Wait() // ProcessState has what it returns
		p.Output.end()
		if stdout, ok := cmd.Stdout.(*Transcript); ok && stdout != p.Output {
			stdout.end()
		}
		close(p.Ended)
	}()
	return p, nil
}

// LaunchFor is Launch for one test, whose end stops the program.
func LaunchFor(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	p, err := Launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// Stop kills the program and its children, and waits until it is gone.
func (p *Program) Stop() {
	select {
	case <-p.Ended:
		return // its number may already be another's
	default:
	}
	syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.Ended
}

// Terminate asks the program to end, which then ends its children and waits for them, and stops it if it does not.
func (p *Program) Terminate() {
	p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Ended:
	case <-time.After(10 * time.Second):
		p.Stop()
	}
}

// Await is Await of the program's output.
func (p *Program) Await(re *regexp.Regexp) ([]string, error) { return p.Output.Await(re) }

// Expect is Expect of the program's output.
func (p *Program) Expect(t testing.TB, pattern string) []string {
	t.Helper()
	return p.Output.Expect(t, pattern)
}

// Say writes to the program's standard input.
func (p *Program) Say(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(p.stdin, text); err != nil {
		t.Fatalf("write to %s: %v", p.Args[0], err)
	}
}

// Hush ends the program's standard input.
func (p *Program) Hush() { p.stdin.Close() }

// Printed is the output so far.
func (p *Program) Printed() string { return p.Output.String() }

// Status returns the exit status once the program has ended by itself.
func (p *Program) Status(t testing.TB) int {
	t.Helper()
	select {
	case <-p.Ended:
	case <-time.After(Patience):
		t.Fatalf("%v has not ended; it printed:\n%s", p.Args, p.Printed())
	}
	return p.ProcessState.ExitCode()
}

// A Transcript collects what a program prints.
type Transcript struct {
	name string

	mu    sync.Mutex
	text  bytes.Buffer
	more  chan struct{} // closed at the next write, and at the end
	ended bool
}

// NewTranscript is empty; the program's name is for messages.
func NewTranscript(name string) *Transcript {
	return &Transcript{name: name, more: make(chan struct{})}
}

func (s *Transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.more)
	s.more = make(chan struct{})
	return s.text.Write(b)
}

func (s *Transcript) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	close(s.more)
	s.more = make(chan struct{})
}

func (s *Transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// read returns the text so far, whether that is all, and a channel that is closed when there is more.
func (s *Transcript) read() (text string, ended bool, more <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String(), s.ended, s.more
}

// Await returns the first match of re, with its groups, once it is there. If the program ends without printing it, or
// does not print it in time, the error has all that it printed.
func (s *Transcript) Await(re *regexp.Regexp) ([]string, error) {
	late := time.After(Patience)
	for {
		text, ended, more := s.read()
		if m := re.FindStringSubmatch(text); m != nil {
			return m, nil
		}
		if ended {
			return nil, fmt.Errorf("%s ended without printing %q; it printed:\n%s", s.name, re, text)
		}
		select {
		case <-more:
		case <-late:
			return nil, fmt.Errorf("%s has not printed %q; it printed:\n%s", s.name, re, text)
		}
	}
}

// Expect is Await for one test.
func (s *Transcript) Expect(t testing.TB, pattern string) []string {
	t.Helper()
	m, err := s.Await(regexp.MustCompile(pattern))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
