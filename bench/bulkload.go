package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bulkName is the server name whose route leads to the bulk load's origin. It is as long as
// serverNames are.
const bulkName = "bulk000.bench.example"

// bulkCommand as the first argument makes this program the bulk load; the second is its nice value.
const bulkCommand = "bulk-load"

// A bulkLoad is a process with clients and an origin of its own, between which streams go down as
// fast as they can.
type bulkLoad struct {
	origin netip.AddrPort
	target netip.AddrPort // the proxy
	cmd    *exec.Cmd
	in     io.Writer
	out    *bufio.Reader
	stderr bytes.Buffer
}

// startBulkLoad starts the process, on the core of this one. Its origin listens when it returns.
func startBulkLoad(ctx context.Context, nice int) (*bulkLoad, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &bulkLoad{cmd: exec.CommandContext(ctx, self, bulkCommand, strconv.Itoa(nice))}
	b.cmd.Stderr = &b.stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.out = bufio.NewReader(out)
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bulk load: %w", err)
	}
	var port uint16
	if err := b.answer(&port); err != nil {
		b.stop()
		return nil, err
	}
	b.origin = netip.AddrPortFrom(netip.AddrFrom4(anyPort().Addr), port)
	return b, nil
}

// streams opens streams until there are n, and returns the bytes that all have received so far.
func (b *bulkLoad) streams(n int) (received int64, err error) {
	if _, err := fmt.Fprintln(b.in, b.target, n); err != nil {
		return 0, fmt.Errorf("bulk load: %w %s", err, b.ended())
	}
	return received, b.answer(&received)
}

// answer reads one number.
func (b *bulkLoad) answer(n any) error {
	line, err := b.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("bulk load: %s", b.ended())
	}
	if _, err := fmt.Sscan(line, n); err != nil {
		return fmt.Errorf("bulk load: answer %q: %w", line, err)
	}
	return nil
}

// ended stops the process, and returns its status and what it wrote to stderr.
func (b *bulkLoad) ended() string {
	b.stop()
	return strings.TrimSpace(fmt.Sprintf("%v: %s", b.cmd.ProcessState, b.stderr.String()))
}

// stop ends the process, and with it every connection that it has.
func (b *bulkLoad) stop() {
	b.cmd.Process.Kill()
	b.cmd.Wait()
}

// serveBulkLoad is the process. It prints its origin's port. Each line of in names the proxy's
// address and a number of streams; when that many are open, it answers with the bytes received so
// far. It ends with in.
func serveBulkLoad(ctx context.Context, args []string, in *os.File, out io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("arguments are %q, want %s and a nice value", args, bulkCommand)
	}
	nice, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, nice); err != nil { // of this thread
		return fmt.Errorf("setpriority: %w", err)
	}
	hello, err := captureHello(bulkName)
	if err != nil {
		return err
	}
	ld, err := newLoad(ctx, [][]byte{hello}, anyPort())
	if err != nil {
		return err
	}
	defer ld.close()
	ld.origin.behaviour = sending
	fmt.Fprintln(out, ld.origin.addr.(*unix.SockaddrInet4).Port)
	asked := &lines{fd: int(in.Fd())}
	if err := ld.loop.add(asked.fd, unix.EPOLLIN, asked); err != nil {
		return err
	}
	for {
		line, err := asked.next(ld.loop)
		if err != nil || line == "" {
			return err
		}
		if err := ld.openAt(line); err != nil {
			return err
		}
		fmt.Fprintln(out, ld.count)
	}
}

// openAt opens the streams that a line asks for.
func (ld *load) openAt(line string) error {
	var address string
	var streams int
	if _, err := fmt.Sscan(line, &address, &streams); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ld.target = sockaddr(target)
	return ld.open(streams, func() session { return download{} })
}

// lines reads a pipe. The writer awaits the answer to each line, so there is one at a time.
type lines struct {
	fd    int
	line  string
	ended bool
}

// next runs the loop until a line has come. It returns "" at the end of the pipe.
func (l *lines) next(lp *loop) (string, error) {
	for l.line = ""; l.line == "" && !l.ended; {
		if err := lp.turn(50 * time.Millisecond); err != nil {
			return "", err
		}
	}
	return l.line, nil
}

func (l *lines) ready(uint32) error {
	b := make([]byte, 256)
	n, err := unix.Read(l.fd, b)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	l.line, l.ended = string(b[:n]), n == 0
	return nil
}
