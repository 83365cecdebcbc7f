package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"keyhole/bench/internal/stats"
)

// A plan says how long and how much.
type plan struct {
	rounds    int
	terminals int
	only      []string
	window    time.Duration // of one rate
	latency   time.Duration
	collect   bool          // wait for collections of garbage before memory is read
	away      time.Duration // of publishing before the edge is killed
	meanwhile float64       // messages per second while it happens
}

// The measurements, in order.
var names = []string{"publish", "idle", "latency", "reconnect"}

func fullPlan() plan {
	return plan{
		rounds: 3, terminals: 5000, only: names,
		window: 5 * time.Second, latency: 20 * time.Second, collect: true, away: 2 * time.Second, meanwhile: 100,
	}
}

// quickPlan shows that everything works. Its figures are worth nothing.
func quickPlan() plan {
	return plan{
		rounds: 1, terminals: 40, only: names,
		window: 200 * time.Millisecond, latency: 500 * time.Millisecond, away: 100 * time.Millisecond, meanwhile: 50,
	}
}

func (p plan) has(name string) bool { return slices.Contains(p.only, name) }

// A bench measures one site in rounds.
type bench struct {
	plan       plan
	site       *site
	population *population
	progress   io.Writer
	results    results
}

func (b *bench) run(ctx context.Context) error {
	for round := range b.plan.rounds {
		fmt.Fprintf(b.progress, "round %d of %d\n", round+1, b.plan.rounds)
		if b.plan.has("publish") {
			if err := b.withSite(ctx, b.publish); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		idle := b.plan.has("idle") && round == 0 // which waits for minutes
		if idle || b.plan.has("latency") || b.plan.has("reconnect") {
			err := b.withSite(ctx, func(ctx context.Context) error { return b.connected(ctx, idle) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// withSite runs f with both subjects started on a fresh copy of the store.
func (b *bench) withSite(ctx context.Context, f func(context.Context) error) error {
	if err := b.site.fresh(); err != nil {
		return err
	}
	defer b.site.stop()
	if err := b.site.start(ctx, running); err != nil {
		return err
	}
	return f(ctx)
}

// connected runs what is measured with all terminals connected.
func (b *bench) connected(ctx context.Context, idle bool) error {
	fleet, err := b.site.startFleet(ctx)
	if err != nil {
		return err
	}
	defer fleet.stop()
	if err := b.connect(ctx, fleet, idle); err != nil {
		return fmt.Errorf("idle: %w", err)
	}
	if b.plan.has("latency") {
		if err := b.latency(ctx, fleet); err != nil {
			return fmt.Errorf("latency: %w", err)
		}
	}
	if b.plan.has("reconnect") {
		if err := b.reconnect(ctx, fleet); err != nil {
			return fmt.Errorf("reconnect: %w", err)
		}
	}
	return nil
}

// note keeps a value and says it.
func (b *bench) note(key string, value float64) {
	b.results[key] = append(b.results[key], value)
	fmt.Fprintf(b.progress, "  %s %s\n", key, stats.Number(value))
}

// results are the measured values by the key of their row, one of each round.
type results map[string][]float64

// choose checks a list of names with commas between; "" is all.
func choose(list string) ([]string, error) {
	if list == "" {
		return names, nil
	}
	chosen := strings.Split(list, ",")
	for _, n := range chosen {
		if !slices.Contains(names, n) {
			return nil, fmt.Errorf("unknown name %q, want some of %s", n, strings.Join(names, ","))
		}
	}
	return chosen, nil
}
