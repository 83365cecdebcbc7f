package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// fleetArg as the first argument makes this program a fleet: FOLDER EDGE
// follow, and calls come on standard input.
const fleetArg = "fleet"

// connecting is how many terminals connect at once the first time.
const connecting = 32

// runFleet serves calls until in ends.
func runFleet(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("%s takes a folder and an address", fleetArg)
	}
	edge, err := netip.ParseAddrPort(args[1])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := newFleet(ctx, args[0], edge)
	if err != nil {
		return err
	}
	calls := rpc.NewServer()
	if err := calls.RegisterName("Fleet", &fleetCalls{f}); err != nil {
		return err
	}
	calls.ServeCodec(jsonrpc.NewServerCodec(stream{in, out}))
	return nil
}

// fleetCalls are the calls, in the manner of net/rpc.
type fleetCalls struct{ fleet *fleet }

// None is a call without arguments, or without an answer.
type None struct{}

// Connect starts all terminals and returns how long it took until all listened.
func (c *fleetCalls) Connect(_ None, took *time.Duration) error {
	f, begin := c.fleet, now()
	slots := make(chan struct{}, connecting)
	go func() {
		for i := range f.members {
			slots <- struct{}{}
			go f.run(i, func() { <-slots })
		}
	}()
	err := f.until(10*time.Minute, func() bool { return f.listening(0) == len(f.members) })
	*took = now() - begin
	return err
}

// Wait says what to wait for, and how long.
type Wait struct {
	Since    time.Duration // all terminals listen, and began to after this, on the clock of now
	Messages int           // have arrived, different ones
	Limit    time.Duration
}

// Wait returns when it has come true, or with an error at the limit.
func (c *fleetCalls) Wait(w Wait, _ *None) error {
	f := c.fleet
	return f.until(w.Limit, func() bool {
		return len(f.inbox.count) >= w.Messages && f.listening(w.Since) == len(f.members)
	})
}

// Returned is when each terminal last began to listen, counted from since.
func (c *fleetCalls) Returned(since time.Duration, all *[]time.Duration) error {
	c.fleet.note(func() { *all = c.fleet.since(since) })
	return nil
}

// Delivered is what has arrived since the last Reset.
func (c *fleetCalls) Delivered(_ None, d *Delivered) error {
	c.fleet.note(func() { *d = c.fleet.inbox.delivered() })
	return nil
}

// Reset forgets what has arrived.
func (c *fleetCalls) Reset(None, *None) error {
	c.fleet.note(c.fleet.inbox.reset)
	return nil
}

// A fleetClient calls the fleet of another process.
type fleetClient struct {
	ctx context.Context
	rpc *rpc.Client
	cmd *exec.Cmd
}

// startFleet starts the process; nothing connects before Connect.
func (s *site) startFleet(ctx context.Context) (*fleetClient, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, fleetArg, s.dir, s.Edge.String())
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the terminals: %w", err)
	}
	return &fleetClient{ctx, jsonrpc.NewClient(stream{out, in}), cmd}, nil
}

// call makes one call. When the process has ended, so has its output, and the
// error says so.
func (c *fleetClient) call(name string, args, reply any) error {
	if err := c.rpc.Call("Fleet."+name, args, reply); err != nil {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		return fmt.Errorf("terminals: %s: %w", name, err)
	}
	return nil
}

// stop ends the process, by the end of its input.
func (c *fleetClient) stop() {
	c.rpc.Close()
	c.cmd.Wait()
}

// A stream is both directions of a process's calls.
type stream struct {
	io.Reader
	io.Writer
}

// Close ends the calls where the other side reads them.
func (s stream) Close() error {
	if c, ok := s.Writer.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
