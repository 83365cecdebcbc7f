// Push measures pushd through the edge, and prints what it saw as a document in
// markdown.
//
//	go run ./bench/push -out docs/push-benchmarks.md    # about fifteen minutes
//	go run ./bench/push -quick                          # seconds; shows that it works, its figures are worth nothing
//	go run ./bench/push -only latency -keep /tmp/bench  # logins are kept for the next run
//
// It builds keyhole and pushd, starts both as processes with the store embedded
// in pushd, and runs the terminals in a process of their own, each a push/client
// as an app embeds it, so that what they hold and do is not counted. Each has
// logged in by password and asked for its message token before, through the
// edge; then, on a fresh copy of that store in each round:
//
//	publish    durable publishes to the tokens in turn, by 1, 16 and 64 publishers over HTTP/2 as fast as they are
//	           answered; nobody is connected. The disk's own rate of write and fsync is taken before and after
//	idle       the memory of pushd and of the edge with all terminals verified and listening, less what it was before
//	           the first, each read after pushd has collected garbage twice by itself, which takes minutes. In the
//	           first round only
//	latency    64 publishers with all terminals connected give the highest rate; at half of it, messages are due at
//	           random times, whether or not those before were answered. A delivery counts from when the message was
//	           due, and from when its publish began, until it is in the app's hands. A write and fsync
//	           by itself every 50 ms shows what the disk does to both
//	reconnect  the edge is killed (SIGKILL) and started again while messages are published to pushd itself; terminals
//	           come back by the default back-off of push/client: a random wait of up to 0.5 s, doubling up to 1 min
//
// Messages have 256 bytes. 1 KB is 1,024 bytes. A message that does not arrive is an error, except in reconnect, where it
// is counted. Linux only.
//
// It does not measure a network, a cluster, or terminals on other machines: 5,000 of them, both ends of every
// connection and all TLS of both share the processors with the subjects.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"keyhole/bench/internal/proc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench/push: %v\n", err)
		os.Exit(1)
	}
}

// errUsage is a wrong command line, already said on stderr.
var errUsage = errors.New("wrong usage")

// options are the command line.
type options struct {
	plan  plan
	same  string // arguments that measure the same again
	keep  string // folder; "": a temporary one
	pushd string // binary; "": build it
	out   string // file; "": stdout
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench/push", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rounds := flags.Int("rounds", 0, "measure `N` times (default 3, with -quick 1)")
	terminals := flags.Int("terminals", 0, "connect `N` terminals (default 5000, with -quick 40)")
	only := flags.String("only", "", "run `some` of publish,idle,latency,reconnect (default all)")
	quick := flags.Bool("quick", false, "show that everything works, in seconds")
	keep := flags.String("keep", "", "work in this `folder`, and use the logins that an earlier run left in it")
	pushd := flags.String("pushd", "", "measure this `binary` as pushd (default: build cmd/pushd)")
	out := flags.String("out", "", "write the document to this `file` (default stdout); what was written by hand at its end stays")
	if err := flags.Parse(args); err != nil {
		return options{}, errors.Join(errUsage, err)
	}
	o = options{plan: fullPlan(), keep: *keep, pushd: *pushd, out: *out}
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "keep" && f.Name != "out" {
			o.same += " -" + f.Name + "=" + f.Value.String()
		}
	})
	if *quick {
		o.plan = quickPlan()
	}
	if *rounds > 0 {
		o.plan.rounds = *rounds
	}
	if *terminals > 0 {
		o.plan.terminals = *terminals
	}
	o.plan.only, err = choose(*only)
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *rounds < 0 || *terminals < 0:
		err = errors.New("neither -rounds nor -terminals can be negative")
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench/push: %v\n", err)
		return options{}, errors.Join(errUsage, err)
	}
	return o, nil
}

// run is the whole program: the bench or, as a child of it, the terminals.
// Progress goes to stderr, the document to stdout or the file asked for.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == fleetArg {
		return runFleet(ctx, args[1:], stdin, stdout)
	}
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	load := loadAverage()
	// The edge has two for each terminal.
	if err := proc.RaiseDescriptors(2*o.plan.terminals + 1000); err != nil {
		return err
	}
	dir, remove, err := folder(o.keep)
	if err != nil {
		return err
	}
	defer remove()
	b := &bench{plan: o.plan, progress: stderr, results: results{}}
	if b.site, err = newSite(ctx, dir, o); err != nil {
		return err
	}
	if b.population, err = b.site.populate(ctx); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	if err := b.run(ctx); err != nil {
		return err
	}
	document := b.document(o.same, load)
	if o.out != "" {
		return write(o.out, document)
	}
	_, err = io.WriteString(stdout, document)
	return err
}

// folder returns where to work, and what removes it.
func folder(keep string) (dir string, remove func(), err error) {
	if keep == "" {
		dir, err = os.MkdirTemp("", "keyhole-bench-")
		return dir, func() { os.RemoveAll(dir) }, err
	}
	if dir, err = filepath.Abs(keep); err != nil {
		return "", nil, err
	}
	return dir, func() {}, os.MkdirAll(dir, 0o700)
}
