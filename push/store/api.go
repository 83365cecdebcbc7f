package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func newMsg(subject string, data []byte) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = data
	return m
}

// write stores msg, and tries again until it is or ctx ends.
func (s *Store) write(ctx context.Context, msg *nats.Msg) (ack *jetstream.PubAck, err error) {
	err = s.retryWrite(ctx, func(ctx context.Context) (err error) {
		ack, err = s.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
		return err
	})
	return ack, err
}

// call asks the leader of a stream for something by the JetStream API.
func (s *Store) call(ctx context.Context, subject string, request, reply any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: %w", subject, err)
	}
	return s.retry(ctx, func(ctx context.Context) error {
		answer, err := s.nc.RequestWithContext(ctx, "$JS.API."+subject, body)
		if err != nil {
			return err
		}
		var failed struct {
			Error *jetstream.APIError `json:"error"`
		}
		// Most answers are not errors, and some are long.
		if bytes.Contains(answer.Data, []byte(`"error":`)) {
			if err := json.Unmarshal(answer.Data, &failed); err != nil {
				return fmt.Errorf("%s: %w", subject, err)
			}
		}
		if failed.Error != nil {
			return failed.Error
		}
		return json.Unmarshal(answer.Data, reply)
	})
}

// streamInfo returns the state of a stream; with a filter, the subjects of all
// stored messages that match it too.
func (s *Store) streamInfo(ctx context.Context, stream, filter string) (*jetstream.StreamInfo, error) {
	return s.streamInfoUpTo(ctx, stream, filter, 0)
}

// streamInfoUpTo waits for a server that has come to upTo: while there is no
// leader, any other answers.
func (s *Store) streamInfoUpTo(ctx context.Context, stream, filter string, upTo uint64) (info *jetstream.StreamInfo, err error) {
	var opts []jetstream.StreamInfoOpt
	if filter != "" {
		opts = append(opts, jetstream.WithSubjectFilter(filter))
	}
	err = s.retry(ctx, func(ctx context.Context) (err error) {
		info, err = s.streams[stream].Info(ctx, opts...)
		if err == nil {
			err = behind(info.State.LastSeq, upTo)
		}
		return err
	})
	return info, err
}

func behind(seen, upTo uint64) error {
	if seen < upTo {
		return fmt.Errorf("%w: the server that answers has come to %d of %d", errAgain, seen, upTo)
	}
	return nil
}
