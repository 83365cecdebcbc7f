package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"keyhole/bench/internal/stats"
)

// A bench runs workloads on proxies in rounds.
type bench struct {
	plan      plan
	workloads []workload
	proxies   []kind
	cores     cores
	dir       string // for the origin's unix socket
	hellos    [][]byte
	progress  io.Writer
	results   results
	direct    []latencies // without a proxy, by round
	unraised  error       // why fair has no real-time priority
	failures  int
}

// run measures everything. A failed measurement is reported and counted, and leaves a gap in the
// results. The error is the context's.
func (b *bench) run(ctx context.Context) error {
	if b.has("fair") {
		var lower func()
		lower, b.unraised = raise()
		lower()
	}
	for round := range b.plan.rounds {
		for _, w := range b.workloads {
			base, err := b.baseline(ctx, w, round)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				b.failures++
				fmt.Fprintf(b.progress, "round %d/%d  %v\n", round+1, b.plan.rounds, err)
				continue
			}
			proxies := b.proxiesFor(w)
			for i := range proxies {
				// Another goes first in each round, should the machine tire or warm up.
				k := proxies[(i+round)%len(proxies)]
				vs, err := b.measure(ctx, w, k, base)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				b.note(w, k, round, vs, err)
			}
		}
	}
	return nil
}

// bulkNice is the bulk load's nice value. It is 0 when the small connections' load has a real-time
// priority: with a higher one, any other program on the core would starve the bulk load.
func (b *bench) bulkNice() int {
	if b.unraised != nil {
		return 10
	}
	return 0
}

func (b *bench) has(workload string) bool { return slices.Contains(names(b.workloads), workload) }

// proxiesFor are the proxies that run w.
func (b *bench) proxiesFor(w workload) []kind {
	return slices.DeleteFunc(slices.Clone(b.proxies), func(k kind) bool { return !k.runs(w.name) })
}

// note keeps the values of a measurement, or reports its failure.
func (b *bench) note(w workload, k kind, round int, vs values, err error) {
	fmt.Fprintf(b.progress, "round %d/%d  %-8s %-16s", round+1, b.plan.rounds, w.name, k.name)
	if err != nil {
		b.failures++
		fmt.Fprintf(b.progress, " failed: %v\n", err)
		return
	}
	for _, m := range metrics(b.plan) {
		v, ok := vs[m.key]
		if !ok {
			continue
		}
		b.results.set(m.key, k.name, round, b.plan.rounds, v)
		fmt.Fprintf(b.progress, "  %s %s", m.key, strings.TrimSpace(stats.Number(v)+" "+m.unit))
	}
	fmt.Fprintln(b.progress)
}

// measure runs w on a fresh process of k.
func (b *bench) measure(ctx context.Context, w workload, k kind, t trial) (vs values, err error) {
	// Collect the last measurement's garbage now, not during this one.
	runtime.GC()
	var at unix.Sockaddr = anyPort()
	if w.unix {
		at = &unix.SockaddrUnix{Name: filepath.Join(b.dir, "origin.sock")}
	}
	if t.load, err = newLoad(ctx, b.hellos, at); err != nil {
		return nil, err
	}
	defer t.load.close()
	o := origins{small: t.load.origin.addr}
	if w.bulk {
		if t.bulkLoad, err = startBulkLoad(ctx, b.bulkNice()); err != nil {
			return nil, err
		}
		defer t.bulkLoad.stop()
		o.bulk = t.bulkLoad.origin
	}
	p, err := k.start(b.cores, o, b.plan.capacity())
	if err != nil {
		return nil, err
	}
	defer p.stop()
	t.tree = p.tree
	t.cores, t.load.target = b.cores, sockaddr(p.addr)
	if t.bulkLoad != nil {
		t.bulkLoad.target = p.addr
	}
	if vs, err = w.run(t); err != nil {
		return nil, p.explain(err)
	}
	return vs, nil
}

// baseline is the part of a trial that the proxies of one round share. For latency it has half the
// rate of the slowest proxy in this round's rtt, and the latencies at that rate without a proxy.
func (b *bench) baseline(ctx context.Context, w workload, round int) (trial, error) {
	t := trial{plan: b.plan}
	if w.name != "latency" {
		return t, nil
	}
	slowest := math.NaN()
	for _, vs := range b.results["rtt.rate"] {
		slowest = best([]float64{slowest}, vs[round:round+1])[0]
	}
	if math.IsNaN(slowest) {
		return t, errors.New("latency: no proxy has a rate in rtt")
	}
	t.rate = slowest / 2
	direct := t
	var err error
	if direct.load, err = newLoad(ctx, b.hellos, anyPort()); err != nil {
		return t, err
	}
	defer direct.load.close()
	if t.direct, err = direct.latency(); err != nil {
		return t, fmt.Errorf("latency without a proxy: %w", err)
	}
	b.direct = append(b.direct, t.direct)
	fmt.Fprintf(b.progress, "round %d/%d  latency  direct            %.0f round trips/s  p50 %v  p99 %v\n",
		round+1, b.plan.rounds, t.rate, t.direct.p50, t.direct.p99)
	return t, nil
}

// A named item can be chosen on the command line by its title.
type named interface{ title() string }

func (w workload) title() string { return w.name }
func (k kind) title() string     { return k.name }

func names[T named](items []T) []string {
	var out []string
	for _, item := range items {
		out = append(out, item.title())
	}
	return out
}

// choose picks the named items, in their own order; "" is all of them. An unknown name is an error
// that lists the known.
func choose[T named](all []T, list string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	known, wanted := names(all), strings.Split(list, ",")
	for _, n := range wanted {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("unknown name %q, want some of %s", n, strings.Join(known, ","))
		}
	}
	return slices.DeleteFunc(all, func(item T) bool { return !slices.Contains(wanted, item.title()) }), nil
}
