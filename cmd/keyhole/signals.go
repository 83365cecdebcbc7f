package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"keyhole/cmd/internal/early"
)

// sameEnd is how long further SIGTERMs count as the first: a supervisor and a wrapper may both
// forward one, and a terminal's SIGINT is often followed by a supervisor's SIGTERM.
const sameEnd = time.Second

// requests are what signals ask of a running edge.
type requests struct {
	reload  <-chan os.Signal // SIGHUP; those that come while one is served count as one more
	upgrade <-chan os.Signal // SIGUSR2
	end     context.Context  // ends at the first SIGTERM or SIGINT: drain
	now     context.Context  // ends at the second: drain no longer
}

// watchSignals turns signals into requests for as long as the process lives: without a handler, a
// signal that comes while the edge ends would change its exit status. Both contexts end with ctx,
// too.
//
// SIGPIPE is ignored from here on: when the reader of stdout goes away, as a log shipper that
// restarts, records are lost but the edge lives.
func watchSignals(ctx context.Context) *requests {
	signal.Ignore(syscall.SIGPIPE)
	ends := make(chan os.Signal, 8)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	r := &requests{reload: early.Hangup, upgrade: early.Upgrade}
	r.watchEnds(ctx, ends)
	return r
}

// watchEnds makes the two contexts and ends them as signals come.
func (r *requests) watchEnds(ctx context.Context, signals <-chan os.Signal) {
	now, endNow := context.WithCancel(ctx)
	end, endGently := context.WithCancel(now)
	r.end, r.now = end, now
	go func() {
		defer endNow()
		var first time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				switch {
				case first.IsZero():
					first = time.Now()
					endGently()
				case s == syscall.SIGTERM && time.Since(first) < sameEnd:
				default:
					endNow()
				}
			}
		}
	}()
}
