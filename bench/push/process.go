package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"keyhole/bench/internal/proc"
)

// A process is one of the subjects. What it writes goes to a file beside its
// configuration.
type process struct {
	name   string
	log    string
	cmd    *exec.Cmd
	exited chan struct{} // closed at its end
}

// start runs a binary in dir. It is told to end should this process be killed.
func start(dir, name, binary string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(binary, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) tree() proc.Tree { return proc.Tree(p.cmd.Process.Pid) }

// await tries until f returns nil, for five minutes. A process that ends meanwhile
// is an error with what it said.
func (p *process) await(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return p.explain(errors.New("it ended at once"))
		case <-ctx.Done():
			return p.explain(fmt.Errorf("%w: %w", ctx.Err(), err))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop asks the process to end, and kills it after ten seconds.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// kill ends the process at once, as SIGKILL does.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// said is how much of a log an error quotes.
const said = 1000

// explain adds the end of the log to err.
func (p *process) explain(err error) error {
	b, _ := os.ReadFile(p.log)
	if len(b) > said {
		b = b[len(b)-said:]
	}
	return fmt.Errorf("%s: %w; its log ends with: %s", p.name, err, strings.TrimSpace(string(b)))
}
