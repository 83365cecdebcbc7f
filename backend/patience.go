package backend

import "time"

const (
	minPatience = 250 * time.Millisecond // as in RFC 8305 section 8, Connection Attempt Delay
	maxPatience = time.Second
	doubtFor    = 30 * time.Second
)

// Patience returns how long a dial to the endpoint should wait while the pool has another (see
// [Pool.HasOther]): twice what the last one that connected took, from 250 ms to 1 s. The caller's
// own limit holds besides.
func (e *Endpoint) Patience() time.Duration {
	return max(time.Duration(e.patience.Load()), minPatience)
}

// Connected notes that a dial has connected, and how long that took.
func (e *Endpoint) Connected(took time.Duration) {
	e.connectedAt.Store(clock())
	e.patience.Store(int64(min(2*took, maxPatience)))
	if e.doubtedAt.Load() != 0 {
		e.doubtedAt.Store(0)
	}
}

// TimedOut notes that a dial to e, an endpoint of p, had no answer after some time. For 30 s, or
// until a dial connects, Pick takes the endpoint only when there is no other; then one connection
// tries it, with twice the patience, since it may only be far away. A dial that times out while
// others connect says nothing: its packets were lost.
func (p *Pool) TimedOut(e *Endpoint, after time.Duration) {
	now := clock()
	if at := e.connectedAt.Load(); at != 0 && at > now-int64(after) {
		return
	}
	// Many dials may have waited for the same time at once. They count as one.
	known := e.patience.Load()
	if patience := e.Patience(); after >= patience {
		e.patience.CompareAndSwap(known, int64(min(2*patience, maxPatience)))
	}
	e.doubtedAt.Store(now)
	p.doubt()
}

// doubt has Pick look for endpoints whose dials timed out. Each call stores another mark.
func (p *Pool) doubt() { p.mark.Store(p.marks.Add(1)) }

// doubts reports whether a dial to an endpoint of the pool timed out, and none has connected since.
// If not, it removes the mark that it saw before it looked, and no later one.
func (p *Pool) doubts() bool {
	mark := p.mark.Load()
	if mark == 0 {
		return false
	}
	if p.current.Load().doubts() {
		return true
	}
	p.mark.CompareAndSwap(mark, 0)
	return false
}

func (s snapshot) doubts() bool {
	for i := range s {
		for _, w := range s[i].endpoints {
			if w.doubtedAt.Load() != 0 {
				return true
			}
		}
	}
	return false
}

// doubted reports whether a dial has timed out lately and none has connected since.
func (e *Endpoint) doubted() bool {
	at := e.doubtedAt.Load()
	return at != 0 && clock()-at < int64(doubtFor)
}

// probe is called by each Pick of the endpoint. If it is doubted, the doubt begins anew: others
// wait for the outcome.
func (e *Endpoint) probe() {
	if at := e.doubtedAt.Load(); at != 0 {
		e.doubtedAt.CompareAndSwap(at, clock())
	}
}

var start = time.Now()

// clock returns the monotonic time in nanoseconds. It is above 0.
func clock() int64 { return int64(time.Since(start)) + 1 }
