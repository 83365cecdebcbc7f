package store

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// A Handler is told of every message and event of all nodes, in the order of
// their sequence, by one goroutine. It must not block. An event may come twice.
type Handler interface {
	Message(*Message)
	Event(Event)
}

// A Subscription hands to a Handler whatever is stored.
type Subscription struct {
	s        *Store
	h        Handler
	last     atomic.Uint64
	attached chan *nats.Msg
	events   *nats.Subscription
	ctx      context.Context
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

// attachedQueue is how many events that are not durable wait; others are lost.
const attachedQueue = 1024

// Subscribe hands to h what is stored from now on, without a gap, until the
// Subscription or the Store is closed. ctx limits the start only.
func (s *Store) Subscribe(ctx context.Context, h Handler) (*Subscription, error) {
	info, err := s.streamInfo(ctx, messageStream, "")
	if err != nil {
		return nil, err
	}
	sub := &Subscription{s: s, h: h, attached: make(chan *nats.Msg, attachedQueue)}
	sub.last.Store(info.State.LastSeq)
	f, err := s.newFeed(ctx, info.State.LastSeq+1)
	if err != nil {
		return nil, err
	}
	if err = s.primeApps(ctx, info.State.LastSeq); err == nil {
		err = sub.start(f)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return sub, nil
}

func (sub *Subscription) start(f *feed) (err error) {
	s := sub.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return s.isClosed()
	}
	if sub.events, err = s.nc.ChanSubscribe(attachedSubject, sub.attached); err != nil {
		return err
	}
	sub.ctx, sub.cancel = context.WithCancel(s.ctx)
	sub.done.Go(func() { sub.run(f) })
	s.wg.Go(sub.done.Wait)
	return nil
}

// Last returns the sequence of the last message or event that was handed to the
// handler, or is being handed to it; at first, that of the last one stored when
// Subscribe was called.
func (sub *Subscription) Last() uint64 { return sub.last.Load() }

// Close returns when the handler will not be called any more. The handler
// itself must not call it.
func (sub *Subscription) Close() {
	sub.cancel()
	sub.done.Wait()
}

// run reads feed after feed, each from where the one before it broke off.
func (sub *Subscription) run(f *feed) {
	defer func() {
		if err := sub.events.Unsubscribe(); err != nil && sub.s.ctx.Err() == nil {
			sub.s.cfg.Log.Warn("store: attached events", "error", err)
		}
	}()
	for {
		err := sub.read(f)
		f.close()
		if sub.ctx.Err() != nil {
			return
		}
		sub.s.cfg.Log.Warn("store: reading again", "after", sub.Last(), "cause", err)
		if f = sub.reopen(); f == nil {
			return
		}
	}
}

// reopen returns nil when the subscription was closed meanwhile.
func (sub *Subscription) reopen() *feed {
	for {
		f, err := sub.reopenOnce()
		if err == nil {
			return f
		}
		if sub.ctx.Err() != nil {
			return nil
		}
		sub.s.cfg.Log.Error("store: nothing can be delivered", "error", err)
		select {
		case <-sub.ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// reopenLimit is how long a cluster may be without a leader before the log says
// so, again and again.
const reopenLimit = 15 * time.Second

// reopenOnce does not wait for a message after Last where the stream is not
// there: a cluster that lost its disks counts anew, and its messages would be
// taken for old ones without a word.
func (sub *Subscription) reopenOnce() (*feed, error) {
	ctx, cancel := context.WithTimeout(sub.ctx, reopenLimit)
	defer cancel()
	if _, err := sub.s.streamInfoUpTo(ctx, messageStream, "", sub.Last()); err != nil {
		return nil, err
	}
	return sub.s.newFeed(ctx, sub.Last()+1)
}

// read hands over what f brings, until it breaks.
func (sub *Subscription) read(f *feed) error {
	if err := f.ask(); err != nil {
		return err
	}
	for {
		select {
		case <-sub.ctx.Done():
			return sub.ctx.Err()
		case m := <-sub.attached:
			sub.event(m.Data)
		case <-f.silence.C:
			return errSilence
		case <-f.reconnected:
			return errReconnected
		case m := <-f.answers:
			r, err := f.next(m)
			if err != nil {
				return err
			}
			if r.seq > sub.last.Load() { // a server that lags may start earlier than asked
				sub.handle(r)
			}
		}
	}
}

// handle passes on one message of the stream. What cannot be read is passed
// over: it would not be any better the next time.
func (sub *Subscription) handle(r raw) {
	target := targetOf(r.subject)
	if isApp(r.subject) {
		// Before Last: a reader that has come so far believes AppLast.
		sub.s.apps.saw(target, r.seq)
	}
	sub.last.Store(r.seq)
	switch {
	case strings.HasPrefix(r.subject, "ev."):
		sub.event(r.data)
	case strings.HasPrefix(r.subject, "m."):
		sub.s.limits.saw(target)
		m, h, err := decode(r)
		if err != nil {
			sub.s.cfg.Log.Error("store: not a message", "error", err)
			return
		}
		sub.s.sums.saw(m.key(), h.Sum)
		sub.h.Message(m)
	}
}

func (sub *Subscription) event(body []byte) {
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		sub.s.cfg.Log.Error("store: not an event", "error", err)
		return
	}
	sub.h.Event(e)
}
