package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A raw message as a stream holds it.
type raw struct {
	subject string
	seq     uint64
	header  nats.Header
	data    []byte
}

// A getRequest asks for one message.
type getRequest struct {
	Seq  uint64 `json:"seq,omitempty"`
	Last string `json:"last_by_subj,omitempty"` // the newest of a subject, which may hold wildcards
	Next string `json:"next_by_subj,omitempty"` // the first of a subject, from Seq on
}

// stored returns one message of a stream, or ErrNotFound. It asks the leader:
// another server might not have it yet.
func (s *Store) stored(ctx context.Context, stream string, r getRequest) (raw, error) {
	if s.local != nil {
		return s.direct(ctx, stream, r)
	}
	var reply struct {
		Message struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Header  []byte `json:"hdrs"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	err := s.call(ctx, "STREAM.MSG.GET."+stream, r, &reply)
	if isCode(err, jetstream.JSErrCodeMessageNotFound) {
		return raw{}, ErrNotFound
	}
	if err != nil {
		return raw{}, err
	}
	m := reply.Message
	var header nats.Header
	if len(m.Header) > 0 {
		if header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return raw{}, fmt.Errorf("message %d of %s: header: %w", m.Seq, s.place(), err)
		}
	}
	return raw{m.Subject, m.Seq, header, m.Data}, nil
}

// direct is stored for the only server there is, which answers in half the time.
func (s *Store) direct(ctx context.Context, stream string, r getRequest) (m raw, err error) {
	request, err := json.Marshal(r)
	if err != nil {
		return m, err
	}
	err = s.retry(ctx, func(ctx context.Context) error {
		answer, err := s.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+stream, request)
		if err != nil {
			return err
		}
		m, err = rawOf(answer)
		return err
	})
	return m, err
}

// rawOf reads an answer to a direct get: a message, or a status.
func rawOf(m *nats.Msg) (raw, error) {
	switch status := m.Header.Get("Status"); status {
	case "":
	case "404":
		return raw{}, ErrNotFound
	case "503":
		return raw{}, nats.ErrNoResponders
	default:
		return raw{}, fmt.Errorf("direct get: %s %s", status, m.Header.Get("Description"))
	}
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return raw{}, fmt.Errorf("direct get: sequence: %w", err)
	}
	return raw{m.Header.Get(jetstream.SubjectHeader), seq, m.Header, m.Data}, nil
}
