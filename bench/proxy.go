package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/bench/internal/proc"
)

// The proxies' configurations. Read them beside the table: they decide what its figures mean.
//
//go:embed configs/*.tmpl
var configFiles embed.FS

var configs = template.Must(template.ParseFS(configFiles, "configs/*.tmpl"))

// settings fill the templates of the configurations.
type settings struct {
	Dir, Listen, Origin, NginxModule string
	Names                            []string
	MaxConn, WorkerConnections       int
	Unix                             bool   // Origin is a path
	Bulk                             string // address of the bulk load's origin, or ""
	Splice, HalfClose                bool
}

func (settings) BulkName() string { return bulkName }

// origins are where the routes lead: those of serverNames to small, that of bulkName to bulk, if
// there is one.
type origins struct {
	small unix.Sockaddr
	bulk  netip.AddrPort
}

// address is an origin's address as settings have it.
func address(sa unix.Sockaddr) (text string, isUnix bool) {
	switch sa := sa.(type) {
	case *unix.SockaddrUnix:
		return sa.Name, true
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String(), false
	}
	panic("an origin has another family")
}

// A proxy is a running process, or several, of a kind.
type proxy struct {
	tree   proc.Tree
	addr   netip.AddrPort
	dir    string
	cmd    *exec.Cmd
	stderr bytes.Buffer
	exited chan struct{} // closed at its end
}

// start runs k on its core, in front of the origins, and returns when it listens. A proxy that does
// not is stopped again, and the error holds what it wrote.
func (k kind) start(c cores, o origins, capacity int) (*proxy, error) {
	dir, err := os.MkdirTemp("", "keyhole-bench-")
	if err != nil {
		return nil, err
	}
	p := &proxy{dir: dir, exited: make(chan struct{})}
	if p.addr, err = proc.FreeAddr(); err == nil {
		err = k.configure(p, o, capacity)
	}
	if err == nil {
		err = c.onProxyCore(p.cmd.Start)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("start %s: %w", k.name, err)
	}
	p.tree = proc.Tree(p.cmd.Process.Pid)
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	if err := p.awaitListen(); err != nil {
		p.stop()
		return nil, fmt.Errorf("start %s: %w: %s", k.name, err, strings.TrimSpace(p.stderr.String()))
	}
	return p, nil
}

// configure writes the files and prepares the command. The proxy gets a process group, so that stop
// can end all of it, and a signal when this process dies.
func (k kind) configure(p *proxy, o origins, capacity int) error {
	// nginx's worker runs as another user, and looks into the folder.
	if err := os.Chmod(p.dir, 0o755); err != nil {
		return err
	}
	s := settings{
		Dir: p.dir, Listen: p.addr.String(), NginxModule: k.module, Names: serverNames(),
		MaxConn: capacity, WorkerConnections: 2*capacity + 100, Splice: k.splice, HalfClose: k.halfClose,
	}
	s.Origin, s.Unix = address(o.small)
	if o.bulk.IsValid() {
		s.Bulk = o.bulk.String()
	}
	for _, name := range k.files {
		var b bytes.Buffer
		if err := configs.ExecuteTemplate(&b, name+".tmpl", s); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(p.dir, name), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	args := make([]string, len(k.args))
	for i, a := range k.args {
		args[i] = strings.ReplaceAll(a, "DIR", p.dir)
	}
	p.cmd = exec.Command(k.binary, args...)
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second // a child that keeps stderr open must not hold Wait up
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return nil
}

// awaitListen tries to connect for ten seconds. It sends nothing, so the proxy has seen no hello
// before the first measured connection.
func (p *proxy) awaitListen() error {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		c, err := net.Dial("tcp4", p.addr.String())
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("ended at once, %v", p.cmd.ProcessState)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errors.New("does not listen after 10 s")
}

// stop asks the proxy to end. It kills the process group when the first process has ended or three
// seconds have passed, and returns when that process is gone.
func (p *proxy) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(3 * time.Second):
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
	os.RemoveAll(p.dir)
}

// explain adds to err, if the proxy has ended, its status and what it wrote.
func (p *proxy) explain(err error) error {
	select {
	case <-p.exited:
		return fmt.Errorf("%w; it ended, %v: %s", err, p.cmd.ProcessState, strings.TrimSpace(p.stderr.String()))
	default:
		return err
	}
}
