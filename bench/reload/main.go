// Command reload measures what a reload costs the connections that are open: round trips of 100
// bytes at a fixed rate through a running edge, before and while it reads a table of 150,000 routes
// again.
//
//	go run ./bench/reload -keyhole bin/keyhole -cpus 0     # one processor
//	go run ./bench/reload -keyhole bin/keyhole -cpus 0,1   # two
//
// It prints the p50, p90, p99 and maximum without and during the reload, and the ratio of the p99s.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	connections = 40
	quiet       = 4 * time.Second // measured before the reload
	patience    = time.Minute     // until the reload is done
	size        = 100             // of a message
)

func main() {
	binary := flag.String("keyhole", "bin/keyhole", "the `PROGRAM` to measure")
	cpus := flag.String("cpus", "0", "the `LIST` of processors that it may use, as taskset takes it")
	routes := flag.Int("routes", 150_000, "`NUMBER` of routes")
	rate := flag.Int("rate", 4000, "round trips a `SECOND`, all connections together")
	flag.Parse()
	if err := run(*binary, *cpus, *routes, *rate); err != nil {
		fmt.Fprintln(os.Stderr, "reload:", err)
		os.Exit(1)
	}
}

func run(program, cpus string, routes, rate int) error {
	hello, err := clientHello("r1.example.com")
	if err != nil {
		return err
	}
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer origin.Close()
	go echo(origin, len(hello))
	file, err := configuration(origin.Addr().String(), routes)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	e, err := start(program, cpus, file)
	if err != nil {
		return err
	}
	defer e.stop()
	m := meter{stop: make(chan struct{})}
	for i := range connections {
		if err := m.open(<-e.address, hello, i, rate); err != nil {
			return err
		}
	}
	time.Sleep(quiet)
	m.phase.Store(1)
	began := time.Now()
	e.cmd.Process.Signal(syscall.SIGHUP)
	select {
	case <-e.reloaded:
	case <-time.After(patience):
		return fmt.Errorf("no reload within %v", patience)
	}
	took := time.Since(began)
	close(m.stop)
	m.wait.Wait()
	m.print(took)
	return nil
}

// clientHello has crypto/tls begin a handshake, and returns its first record.
func clientHello(name string) ([]byte, error) {
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		defer client.Close()
		tls.Client(client, &tls.Config{ServerName: name}).Handshake() // ends with server
	}()
	record := make([]byte, 5)
	if _, err := io.ReadFull(server, record); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint16(record[3:]))
	_, err := io.ReadFull(server, body)
	return append(record, body...), err
}

// echo reads a hello on each connection, answers, and then sends back each message.
func echo(origin net.Listener, hello int) {
	for {
		c, err := origin.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			b := make([]byte, size)
			_, err := io.ReadFull(c, make([]byte, hello))
			for err == nil {
				if _, err = c.Write(b); err == nil {
					_, err = io.ReadFull(c, b)
				}
			}
		}()
	}
}

func configuration(origin string, routes int) (string, error) {
	f, err := os.CreateTemp("", "keyhole-reload-*.yaml")
	if err != nil {
		return "", err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "listen: [{address: \"127.0.0.1:0\"}]\nlog: {access: off}\nbackends:\n  b: {servers: [%q]}\nroutes:\n", origin)
	for i := range routes {
		fmt.Fprintf(w, "  - {sni: r%d.example.com, backend: b}\n", i)
	}
	return f.Name(), w.Flush()
}

// An edge is the program that is measured.
type edge struct {
	cmd      *exec.Cmd
	address  chan string
	reloaded chan struct{}
}

func start(program, cpus, file string) (*edge, error) {
	e := &edge{
		cmd:     exec.Command("taskset", "-c", cpus, program, "run", "--config", file),
		address: make(chan string, connections), reloaded: make(chan struct{}, 1),
	}
	log, err := e.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(e.address)
		for s := bufio.NewScanner(log); s.Scan(); {
			if _, at, ok := strings.Cut(s.Text(), "msg=listening address="); ok {
				for range connections {
					e.address <- at
				}
			}
			if strings.Contains(s.Text(), "configuration reloaded") {
				e.reloaded <- struct{}{}
			}
		}
	}()
	return e, nil
}

func (e *edge) stop() {
	e.cmd.Process.Kill()
	e.cmd.Wait() // it was killed
}

// A meter times round trips in two phases.
type meter struct {
	phase atomic.Int32
	stop  chan struct{}
	wait  sync.WaitGroup
	mu    sync.Mutex // guards took
	took  [2][]time.Duration
}

// open connects a client, and has it send at its part of the rate.
func (m *meter) open(address string, hello []byte, i, rate int) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	b := make([]byte, size)
	if _, err := c.Write(hello); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, b); err != nil {
		return err
	}
	gap := time.Second * connections / time.Duration(rate)
	m.wait.Go(func() {
		defer c.Close()
		if err := m.send(c, b, gap, time.Now().Add(gap*time.Duration(i)/connections)); err != nil {
			fmt.Fprintln(os.Stderr, "reload: round trip:", err)
		}
	})
	return nil
}

func (m *meter) send(c net.Conn, b []byte, gap time.Duration, next time.Time) error {
	var mine [2][]time.Duration
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for phase, took := range mine {
			m.took[phase] = append(m.took[phase], took...)
		}
	}()
	for {
		select {
		case <-m.stop:
			return nil
		case <-time.After(time.Until(next)):
		}
		phase, began := m.phase.Load(), time.Now()
		if _, err := c.Write(b); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return errors.Join(errors.New("read"), err)
		}
		mine[phase] = append(mine[phase], time.Since(began))
		if next = next.Add(gap); time.Until(next) < -gap {
			next = time.Now()
		}
	}
}

func (m *meter) print(took time.Duration) {
	at := func(phase int, share float64) time.Duration {
		slices.Sort(m.took[phase])
		return m.took[phase][int(float64(len(m.took[phase])-1)*share)].Round(time.Microsecond)
	}
	for phase, name := range []string{"without a reload", "during one"} {
		fmt.Printf("%-17s p50 %v, p90 %v, p99 %v, at most %v (%d round trips)\n",
			name, at(phase, .5), at(phase, .9), at(phase, .99), at(phase, 1), len(m.took[phase]))
	}
	fmt.Printf("the reload took %v; p99 during it is %.2f of that without\n",
		took.Round(time.Millisecond), float64(at(1, .99))/float64(at(0, .99)))
}
