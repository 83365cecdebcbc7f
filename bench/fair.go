package main

import (
	"fmt"
	"slices"
	"time"

	"keyhole/bench/internal/stats"
)

// fairStreams are the numbers of bulk streams that fair runs beside, ascending.
var fairStreams = []int{32, 128}

// timings are how long one kind of exchange took, of which one is under way at a time.
type timings struct {
	took  []time.Duration
	begun time.Time // the one under way
	busy  bool      // one is under way
	over  bool      // no other is to begin
}

// begin begins another exchange, unless no other is to begin, and reports whether it did.
func (t *timings) begin() bool {
	t.busy = !t.over
	t.begun = time.Now()
	return t.busy
}

func (t *timings) end() { t.took = append(t.took, time.Since(t.begun)) }

// A trip is a session of timed round trips.
type trip struct {
	timings
	pingpong
	client *client
}

func (s *trip) answered(c *client) error {
	s.client = c
	return nil
}

func (s *trip) next() error {
	if !s.begin() {
		return nil
	}
	return sendMessage(s.client)
}

func (s *trip) ready(c *client) error {
	if whole, err := s.received(c); err != nil || !whole {
		return err
	}
	s.end()
	return s.next()
}

// A newcomer is a session of short connections, one after another, each timed from its connect to
// its answer.
type newcomer struct {
	timings
	load *load
}

func (s *newcomer) next() error {
	if !s.begin() {
		return nil
	}
	return s.load.dial(s)
}

func (s *newcomer) answered(*client) error {
	s.end()
	return nil
}

func (s *newcomer) ready(c *client) error {
	if done, err := ended(c); err != nil || !done {
		return err
	}
	return s.next()
}

// small is the load that fair measures: one exchange of each kind at a time, on one loop.
type small struct {
	load  *load
	trip  trip
	fresh newcomer
}

// newSmall opens the connection for the round trips.
func newSmall(ld *load) (*small, error) {
	s := &small{load: ld, fresh: newcomer{load: ld}}
	ld.origin.behaviour = echoing
	if err := ld.open(1, func() session { return &s.trip }); err != nil {
		return nil, err
	}
	ld.origin.behaviour = closing // for the connections from here on
	return s, nil
}

// run measures for d, and then until the last exchanges end: the slowest may be among them.
func (s *small) run(d time.Duration) error {
	s.trip.timings, s.fresh.timings = timings{}, timings{}
	if err := s.trip.next(); err != nil {
		return err
	}
	if err := s.fresh.next(); err != nil {
		return err
	}
	if err := s.load.loop.runFor(d); err != nil {
		return err
	}
	s.trip.over, s.fresh.over = true, true
	err := s.load.loop.runUntil(openLimit, func() bool { return !s.trip.busy && !s.fresh.busy })
	if err != nil {
		return fmt.Errorf("await the last round trip and the last connection: %w", err)
	}
	return nil
}

// runFair measures one round trip at a time, and one new connection at a time, beside bulk streams
// that go down as fast as they can. Busy processes share the proxy's core and saturate it, so that
// the proxy has a queue and chooses who is next. The bulk load has a process of its own, and this
// thread a higher priority: the small connections wait for the proxy, and never for the load.
func runFair(t trial) (values, error) {
	busy, err := t.cores.startBusy(t.plan.busy)
	defer busy.stop()
	if err != nil {
		return nil, err
	}
	lower, _ := raise() // without the right to it, the document says so
	defer lower()
	vs := make(values)
	for _, n := range fairStreams {
		if err := t.fair(vs, n); err != nil {
			return nil, fmt.Errorf("beside %d streams: %w", n, err)
		}
	}
	return vs, nil
}

func (t trial) fair(vs values, streams int) error {
	count := func() (int64, error) { return t.bulkLoad.streams(streams) }
	if _, err := count(); err != nil {
		return err
	}
	s, err := newSmall(t.load)
	if err != nil {
		return err
	}
	if err := s.run(t.plan.warm); err != nil {
		return err
	}
	w, err := t.observe(func() error { return s.run(t.plan.latency) }, count)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("fair%d.", streams)
	for name, took := range map[string][]time.Duration{"trip": s.trip.took, "first": s.fresh.took} {
		slices.Sort(took)
		vs[key+name+".p50"] = micros(stats.Quantile(took, 0.50))
		vs[key+name+".p99"] = micros(stats.Quantile(took, 0.99))
	}
	vs[key+"cpu"] = millis(w.cpuPer(gigabyte))
	vs[key+"rate"] = w.rate() / gigabyte
	return t.load.clear()
}
