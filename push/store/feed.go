package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A feed is one consumer of the message stream, from one sequence on. It lives
// in the memory of one server and is not mended: whenever something is missing
// or in doubt, the next feed starts where this one was.
//
// The ordered consumer of nats.go does the same, but waits a second before it
// starts again, and up to ten while a leader is elected.
type feed struct {
	s           *Store
	name        string
	inbox       string
	answers     chan *nats.Msg
	sub         *nats.Subscription
	reconnected chan nats.Status
	silence     *time.Timer
	seen        uint64 // deliveries of this consumer
	asked       int    // messages that the server still owes to the last request
}

const (
	feedBatch     = 512                    // messages for one request
	feedHeartbeat = 500 * time.Millisecond // while there is none
	feedSilence   = 3 * feedHeartbeat      // and none of these: the server is gone
	feedRequest   = 30 * time.Second
)

// Why a feed is given up.
var (
	errSilence     = errors.New("no heartbeat from the server")
	errReconnected = errors.New("connected to another server")
	errGap         = errors.New("a message is missing")
)

func (s *Store) newFeed(ctx context.Context, from uint64) (*feed, error) {
	f := &feed{s: s, inbox: s.nc.NewInbox(), answers: make(chan *nats.Msg, 2*feedBatch)}
	f.reconnected = s.nc.StatusChanged(nats.CONNECTED)
	err := s.retry(ctx, func(ctx context.Context) error {
		f.name = "pushd_" + nuid.Next() // anew: an attempt whose answer is lost may have made one
		_, err := s.js.CreateConsumer(ctx, messageStream, jetstream.ConsumerConfig{
			Name:              f.name,
			DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
			OptStartSeq:       from,
			AckPolicy:         jetstream.AckNonePolicy,
			Replicas:          1,
			MemoryStorage:     true,
			InactiveThreshold: 2 * feedRequest,
		})
		return err
	})
	if err == nil {
		f.sub, err = s.nc.ChanSubscribe(f.inbox, f.answers)
	}
	if err != nil {
		s.nc.RemoveStatusListener(f.reconnected)
		return nil, fmt.Errorf("consumer of %s: %w", messageStream, err)
	}
	f.silence = time.NewTimer(feedSilence)
	return f, nil
}

// ask requests the next messages.
func (f *feed) ask() error {
	f.asked = feedBatch
	f.silence.Reset(feedSilence)
	request := fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, feedBatch, feedRequest, feedHeartbeat)
	return f.s.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+messageStream+"."+f.name, f.inbox, request)
}

// next reads one answer: a message, or one without a sequence when it is a
// heartbeat. An error means that the feed is of no use any more.
func (f *feed) next(m *nats.Msg) (raw, error) {
	f.silence.Reset(feedSilence)
	switch status := m.Header.Get("Status"); status {
	case "":
	case "100":
		return raw{}, nil
	case "408": // the request is over; or it came before the consumer was there, which ends in silence
		return raw{}, f.ask()
	default:
		return raw{}, fmt.Errorf("%s %s", status, m.Header.Get("Description"))
	}
	d, err := m.Metadata()
	if err != nil {
		return raw{}, err
	}
	if f.seen++; d.Sequence.Consumer != f.seen {
		return raw{}, fmt.Errorf("%w: delivery %d came after %d", errGap, d.Sequence.Consumer, f.seen-1)
	}
	if f.asked--; f.asked == 0 {
		if err := f.ask(); err != nil {
			return raw{}, err
		}
	}
	return raw{m.Subject, d.Sequence.Stream, m.Header, m.Data}, nil
}

// close leaves the consumer to the server, which ends it when nobody asks.
func (f *feed) close() {
	f.silence.Stop()
	f.s.nc.RemoveStatusListener(f.reconnected)
	if err := f.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		f.s.cfg.Log.Warn("store: consumer", "error", err)
	}
}
