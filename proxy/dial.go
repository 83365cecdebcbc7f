package proxy

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/proxy/relay"
)

// retryPause is how long a connection waits before it tries a server again
// that it has tried already. One that restarts refuses for longer than a few
// attempts in a row take.
const retryPause = 250 * time.Millisecond

// dial picks the next server; with none left the client is rejected for
// reason.
func (s *session) dial(reason Reason) relay.Verdict {
	client := s.client().Addr()
	if s.again {
		s.endpoint = s.pool.PickAgain(client, s.tried)
	} else {
		s.endpoint = s.pool.Pick(client, s.tried)
	}
	if s.endpoint == nil {
		if s.attempts > 0 && !s.again {
			s.again = true
			return pause
		}
		return s.turnAway(reason, s.dialPhase(), alertInternalError)
	}
	s.attempts++
	// A server that does not answer delays the client only as long as one at
	// its distance would take, while there is another. One socket at a time,
	// where RFC 8305 (section 5) opens a second beside the first: a connection
	// holds two descriptors, and what limits.connections promises stays true.
	patience := time.Duration(0) // all of timeouts.connect
	if s.mayRetry() && s.pool.HasOther(s.tried, s.endpoint) {
		patience = s.endpoint.Patience()
	}
	return s.introduce(relay.Verdict{
		Op:        relay.Dial,
		Target:    relay.Target{Addr: s.endpoint.At(s.listenPort()), Path: s.endpoint.Path},
		Timeout:   patience,
		Idle:      s.idle,
		Keepalive: time.Duration(s.keepalive) * time.Second,
		Inspect:   s.watching(),
		Key:       s.key,
	})
}

func (s *session) mayRetry() bool { return int(s.attempts) <= s.pool.Retries() }

func (s *session) dialPhase() relay.Phase {
	if len(s.tried) > 0 {
		return relay.PhaseDial
	}
	return relay.PhaseDecide
}

// next tries another server, if the connection may.
func (s *session) next(reason Reason) relay.Verdict {
	s.reason = reason
	switch {
	case !s.mayRetry():
		return s.turnAway(reason, relay.PhaseDial, alertInternalError)
	case s.again:
		return pause
	}
	return s.dial(reason)
}

var pause = relay.Verdict{Op: relay.Wait, Timeout: retryPause}

// Resume follows a pause, the wait for a name, or the client's silence.
func (s *session) Resume(error) relay.Verdict {
	switch {
	case s.wait != nil:
		return s.resolved()
	case s.reading != nil && !s.heard:
		return s.silent()
	}
	return s.dial(s.reason)
}

func (s *session) DialFailed(err error, took time.Duration) relay.Verdict {
	s.err = err
	failed := s.endpoint
	failed.Release()
	s.endpoint = nil
	s.tried = append(s.tried, failed)
	if asked, ok := errors.AsType[*relay.AskError](err); ok {
		return s.notAgreed(failed, asked.Err, took)
	}
	if local, ok := errors.AsType[*relay.LocalError](err); ok {
		return s.dialFailedHere(local.Cause)
	}
	if err == relay.ErrTimeout || err == unix.ETIMEDOUT { // the edge's patience, or the kernel's
		s.pool.TimedOut(failed, took)
		return s.next(DialTimeout)
	}
	return s.next(DialRefused)
}

// dialFailedHere goes on to the next server without counting an attempt: no
// server has been asked. Where the machine has no descriptor or no memory left
// the next would fare no better.
func (s *session) dialFailedHere(cause relay.Local) relay.Verdict {
	switch cause {
	case relay.NoLocalDescriptor:
		return s.turnAway(TooManyConnections, relay.PhaseDial, alertInternalError)
	case relay.NoLocalMemory:
		return s.turnAway(NoResources, relay.PhaseDial, alertInternalError)
	}
	if !s.again {
		s.attempts--
	}
	if cause == relay.NoLocalPort {
		return s.next(NoLocalPort)
	}
	return s.next(NoLocalRoute)
}

func (s *session) Connected(took time.Duration) {
	s.endpoint.Connected(took)
	s.forget()
}

func (s *session) Answered() {}
