package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"keyhole/push/wire"
)

const (
	// drainTime is what a drain without a deadline takes.
	drainTime = 30 * time.Second

	// closeTime is how long the connections that stayed may take to close.
	closeTime = 2 * time.Second

	// drainers write to that many terminals at once; a slow one holds up its own.
	drainers = 32
)

// Shutdown asks every terminal to connect elsewhere, at moments spread over
// three quarters of the time that ctx leaves, and waits until they have gone
// and the requests under way are answered. Terminals that stay until ctx ends
// are closed, status 1001 and reason "draining", and ctx's error is returned
// some 2 seconds later at most. Acknowledgements that came are with the store
// then; it is for the store's Close to have them on disk.
//
// From the beginning the server says that it is not ready, and accepts no
// connection.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	defer s.kill()
	requests := make(chan error, 1)
	go func() { requests <- s.http.Shutdown(ctx) }()
	empty := s.live.close()
	go s.askToLeave(ctx) // ends with the connections at the latest
	select {
	case <-empty:
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	err := s.channels.Close(closing)
	select { // or kill would cut off the closes that say why
	case <-empty:
	case <-closing.Done():
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return errors.Join(err, <-requests)
}

// askToLeave sends drain to every terminal, and closes those that have not
// proved who they are: they lose nothing.
func (s *Server) askToLeave(ctx context.Context) {
	window := drainTime
	if end, ok := ctx.Deadline(); ok {
		window = time.Until(end)
	}
	window = max(window*3/4, 0)
	all := s.live.list()
	next := make(chan int)
	var tasks sync.WaitGroup
	for range min(drainers, len(all)) {
		tasks.Go(func() {
			for i := range next {
				all[i].drain(window * time.Duration(i) / time.Duration(len(all)))
			}
		})
	}
	defer tasks.Wait()
	defer close(next)
	for i := range all {
		select {
		case next <- i:
		case <-ctx.Done():
			return
		}
	}
}

func (t *terminal) drain(delay time.Duration) {
	if t.expires.Load() == 0 {
		t.fail(fmt.Errorf("%w: this server is stopping; connect again", wire.Draining))
		return
	}
	_ = t.out.send(&wire.Drain{DelayMS: delay.Milliseconds()}) // who is gone needs no asking
}

// kill closes everything at once, and returns when it is closed.
func (s *Server) kill() {
	s.draining.Store(true)
	s.downOnce.Do(func() {
		defer close(s.down)
		_ = s.http.Close()
		empty := s.live.close()
		s.live.cancel()
		for _, t := range s.live.list() {
			t.out.cut()
		}
		closing, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		if err := s.channels.Close(closing); err != nil {
			s.log.Error("terminals' records are not all written", "err", err)
		}
		select {
		case <-empty:
		case <-closing.Done():
			s.log.Error("terminals are still being served", "count", len(s.live.list()))
		}
	})
	<-s.down
}
