package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A footprint is what the two subjects hold, in bytes.
type footprint struct {
	rss, heap, stacks float64 // of pushd; heap and stacks as its runtime has them in use
	edge              float64 // PSS
	collections       float64 // of garbage, since pushd started
}

func (s *site) footprint() (footprint, error) {
	m, err := s.metrics()
	if err != nil {
		return footprint{}, err
	}
	rss, err := s.origin.tree().RSS()
	if err != nil {
		return footprint{}, err
	}
	edge, err := s.edge.tree().PSS()
	return footprint{
		rss: float64(rss), edge: float64(edge),
		heap:        m["go_memstats_heap_inuse_bytes"],
		stacks:      m["go_memstats_stack_inuse_bytes"],
		collections: m["go_gc_duration_seconds_count"],
	}, err
}

// settled is the footprint after two more collections of pushd's own, which its
// runtime makes at least every two minutes: the first frees what handshakes have
// left, the second what pools still hold, and stacks shrink in both. Nothing
// from outside can ask for one, and until then garbage counts as memory.
func (s *site) settled(ctx context.Context, p plan) (footprint, error) {
	at, err := s.footprint()
	if err != nil || !p.collect {
		return at, err
	}
	for first := at.collections; at.collections < first+2; {
		if err := rest(ctx, time.Second); err != nil {
			return at, err
		}
		if at, err = s.footprint(); err != nil {
			return at, err
		}
	}
	if err := rest(ctx, 10*time.Second); err != nil { // pages are given back in the background
		return at, err
	}
	return s.footprint()
}

// drained waits until pushd has deleted what was acknowledged, down to so many
// messages, which it does in the background.
func (s *site) drained(ctx context.Context, stored float64) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		m, err := s.metrics()
		if err != nil {
			return err
		}
		if m["pushd_store_messages"] <= stored {
			return nil
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%.0f messages are stored, want %.0f: %w", m["pushd_store_messages"], stored, err)
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// metrics are pushd's, those without labels.
func (s *site) metrics() (map[string]float64, error) {
	b, err := s.admin("/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(b)
}

// parseMetrics reads the text format of Prometheus, as far as a line is a name
// and a number.
func parseMetrics(b []byte) (map[string]float64, error) {
	all := map[string]float64{}
	for line := range bytes.Lines(b) {
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
		if !ok || name == "#" || strings.Contains(name, "{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		all[name] = v
	}
	return all, nil
}
