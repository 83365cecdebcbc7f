package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// requests are what signals ask of a running edge.
type requests struct {
	reload chan struct{}   // SIGHUP; those that come while one is served count as one more
	end    context.Context // ends at the first SIGTERM or SIGINT: drain
	now    context.Context // ends at the second: drain no longer
}

// watchSignals turns signals into requests until stop is called. Both contexts
// end with ctx, too.
//
// SIGPIPE is ignored from here on: a reader of stdout that goes away, such as
// a log shipper that restarts, may cost records but not the edge.
func watchSignals(ctx context.Context, log *slog.Logger) (r *requests, stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	now, endNow := context.WithCancel(ctx)
	end, endGently := context.WithCancel(now)
	r = &requests{reload: make(chan struct{}, 1), end: end, now: now}
	go func() {
		for s := range signals {
			switch s {
			case syscall.SIGHUP:
				select {
				case r.reload <- struct{}{}:
				default:
				}
			case syscall.SIGUSR2: // left to its default, it would end the process
				log.Warn("SIGUSR2 is ignored: live upgrade is not supported yet")
			default:
				if end.Err() != nil {
					endNow()
				}
				endGently()
			}
		}
	}()
	return r, func() {
		signal.Stop(signals)
		close(signals)
		endNow()
	}
}
