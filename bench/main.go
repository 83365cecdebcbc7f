// Bench measures Keyhole side by side with HAProxy and nginx, and prints the results as a table in
// markdown.
//
//	go run ./bench                                    # about ten minutes
//	go run ./bench -quick                             # about a minute; shows that it works, its figures are worth nothing
//	go run ./bench -only short,rtt -proxies haproxy,nginx
//	go run ./bench -only fair,bulk -before /tmp/old/keyhole
//	go run ./bench -haproxy /opt/haproxy/haproxy -nginx /opt/nginx/sbin/nginx
//
// Each proxy runs alone, pinned to one core, with a table of 100 server names (configs/ has what
// each is given). This process is pinned to another core, and is both the clients and the origin.
// The origin speaks no TLS: it answers when it has the whole ClientHello, so that no cryptography
// hides what the proxy costs. The proxies take turns at each workload, in another order each round:
//
//	short    connections of a hello and an answer of 200 bytes, 32 at a time (-clients)
//	unix     the same, with the origin on a unix socket
//	bulk     4 and 64 streams as fast as they go, down and then up
//	rtt      100-byte round trips over 100 open connections, as many as the proxy can do
//	idle     5,000 and then 9,000 open connections on which nothing happens
//	fair     one 100-byte round trip and one new connection at a time, beside 32 and then 128 streams that go down as
//	         fast as they can, while two busy processes (-busy) share the proxy's core
//	latency  round trips as in rtt at half the rate that the slowest proxy had there in this round, due at random times;
//	         latency counts from when a message was due, less the latency without a proxy
//
// In fair the streams' clients and origin are a process of their own, and the small connections'
// load has a real-time priority on the core that both share, which takes root or CAP_SYS_NICE:
// small connections wait for the proxy's queue, and not for the load's.
//
// A peer runs with its defaults and, in the workloads where a default works differently from
// Keyhole, like for like as well: haproxy-splice moves streams by splice, and nginx-half-close
// waits for the second FIN. Goals are against the like for like ones. -before adds an older build
// of Keyhole, so that a change can be measured against it.
//
// A proxy that refuses, cuts or misses a connection has failed the workload, and gets no figure for
// it.
//
// CPU is the proxy's own, by its processes' clocks, all of them; memory is PSS, 1 KB being 1,024
// bytes; 1 GB is 10^9 bytes. A figure is the median of the rounds, a ratio the median of the
// rounds' ratios.
//
// HAProxy and nginx are installed with apt-get when they are missing, which needs root. Linux only.
//
// It does not measure more than one core, TLS, or a network: loopback has no delay and loses
// nothing. The load's core bounds the rates that it prints, which help to read the other rows but
// do not compare proxies.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"keyhole/bench/internal/proc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	program := run
	if len(os.Args) > 1 && os.Args[1] == bulkCommand {
		program = func(ctx context.Context, args []string, stdout, _ io.Writer) error {
			return serveBulkLoad(ctx, args, os.Stdin, stdout)
		}
	}
	err := program(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// errUsage is a wrong command line, already reported on stderr.
var errUsage = errors.New("wrong usage")

// maxClients is half of a listener's backlog: with a full one, a client would wait until its SYN is
// sent again.
const maxClients = 2000

// maxBusy leaves the proxy a part of its core.
const maxBusy = 16

// options are the command line.
type options struct {
	plan      plan
	workloads []workload
	proxies   []kind
	binaries  map[string]string // by program; one that is "" is built or installed
	out       string            // file; "" is stdout
}

func parse(args []string, stderr io.Writer) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rounds := flags.Int("rounds", 0, "measure `N` times (default 3, with -quick 1)")
	only := flags.String("only", "", "run these `workloads` of "+strings.Join(names(workloads()), ",")+" (default all)")
	proxies := flags.String("proxies", "", "measure these `proxies` of "+strings.Join(names(kinds()), ",")+" (default all)")
	clients := flags.Int("clients", 32, "short connections under way at a time: `N`")
	busy := flags.Int("busy", 2, "processes that share the proxy's core in fair: `N`")
	quick := flags.Bool("quick", false, "show that everything works, in seconds")
	keyhole := flags.String("keyhole", "", "measure this `binary` as keyhole (default: build cmd/keyhole)")
	before := flags.String("before", "", "measure this older `binary` of Keyhole as well, as before")
	haproxy := flags.String("haproxy", "", "measure this `binary` as haproxy (default: Debian's)")
	nginx := flags.String("nginx", "", "measure this `binary` as nginx (default: Debian's)")
	out := flags.String("out", "", "write the table to this `file` (default stdout)")
	if err := flags.Parse(args); err != nil {
		return options{}, errors.Join(errUsage, err)
	}
	o := options{plan: fullPlan(), out: *out, binaries: map[string]string{
		"keyhole": *keyhole, "before": *before, "haproxy": *haproxy, "nginx": *nginx,
	}}
	if *quick {
		o.plan = quickPlan()
	}
	if *rounds > 0 {
		o.plan.rounds = *rounds
	}
	o.plan.clients, o.plan.busy = *clients, *busy
	var err error
	if flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *clients < 1 || *clients > maxClients {
		err = errors.Join(err, fmt.Errorf("-clients is %d, want 1 to %d", *clients, maxClients))
	}
	if *busy < 0 || *busy > maxBusy {
		err = errors.Join(err, fmt.Errorf("-busy is %d, want 0 to %d", *busy, maxBusy))
	}
	if err = errors.Join(err, o.choose(*only, *proxies)); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return options{}, errors.Join(errUsage, err)
	}
	return o, nil
}

// choose sets the workloads and the proxies from the flags, without the proxies that have nothing
// to run.
func (o *options) choose(only, proxies string) (err error) {
	if strings.Contains(only, "latency") && !strings.Contains(only, "rtt") {
		only += ",rtt" // which gives the rate
	}
	if o.workloads, err = choose(workloads(), only); err != nil {
		return err
	}
	all := kinds()
	if o.binaries["before"] == "" {
		all = slices.DeleteFunc(all, func(k kind) bool { return k.name == beforeName })
	} else if proxies != "" && !strings.Contains(proxies, beforeName) {
		proxies += "," + beforeName
	}
	if o.proxies, err = choose(all, proxies); err != nil {
		return err
	}
	chosen := strings.Join(names(o.proxies), ",")
	o.proxies = slices.DeleteFunc(o.proxies, func(k kind) bool {
		return !slices.ContainsFunc(o.workloads, func(w workload) bool { return k.runs(w.name) })
	})
	if len(o.proxies) == 0 {
		return fmt.Errorf("none of %s runs any of %s", chosen, strings.Join(names(o.workloads), ","))
	}
	return nil
}

// run is the whole program. Progress goes to stderr, the table to stdout or the file asked for. A
// failed measurement becomes an error after the table is written.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if err := proc.RaiseDescriptors(2*o.plan.capacity() + 200); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "keyhole-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err = install(ctx, o.proxies, o.binaries, dir); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's worker runs as another user
		return err
	}
	b := &bench{plan: o.plan, workloads: o.workloads, proxies: o.proxies, dir: dir, progress: stderr, results: make(results)}
	if b.hellos, err = captureHellos(serverNames()); err != nil {
		return err
	}
	if b.cores, err = takeCores(); err != nil {
		return err
	}
	if err := b.run(ctx); err != nil {
		return err
	}
	if err := write(o.out, stdout, b.document(args)); err != nil {
		return err
	}
	if b.failures > 0 {
		return fmt.Errorf("%d measurements failed", b.failures)
	}
	return nil
}

// write writes the document to the file, or to stdout when file is "".
func write(file string, stdout io.Writer, document string) error {
	if file == "" {
		_, err := io.WriteString(stdout, document)
		return err
	}
	return os.WriteFile(file, []byte(document), 0o644)
}
