package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"keyhole/push/wire"
)

// Publish stores m and returns its sequence once it is on disk, or on a
// majority of the cluster's. duplicate reports that a message with this id and
// content had been stored already, in the last two minutes or not acknowledged
// yet; so may be one that this very call stored, where the first answer was
// lost. An error wraps wire.IDConflict when the content was another,
// wire.BacklogFull, wire.DiskFull or wire.StoreUnavailable. After the last, m
// may have been stored: publish it again with the same id to know.
func (s *Store) Publish(ctx context.Context, m Message) (seq uint64, duplicate bool, err error) {
	if err := m.check(); err != nil {
		return 0, false, err
	}
	if err := s.room(); err != nil {
		return 0, false, err
	}
	msg, err := m.encode(s.cfg.Now(), s.cfg.Retention)
	if err != nil {
		return 0, false, err
	}
	if err := s.admit(ctx, &m); err != nil {
		return 0, false, err
	}
	err = s.retryWrite(ctx, func(ctx context.Context) (err error) {
		seq, duplicate, err = s.tryPublish(ctx, &m, msg)
		return err
	})
	if err != nil {
		return 0, false, err
	}
	return seq, duplicate, nil
}

func (s *Store) tryPublish(ctx context.Context, m *Message, msg *nats.Msg) (seq uint64, duplicate bool, err error) {
	ack, err := s.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	switch {
	case isCode(err, codeWrongLastSequence): // there is a message of that id
		seq, err = s.same(ctx, m, getRequest{Last: msg.Subject})
		return seq, true, err
	case err != nil:
		return 0, false, err
	case !ack.Duplicate:
		s.sums.saw(m.key(), m.sum())
		return ack.Sequence, false, nil
	}
	seq, err = s.same(ctx, m, getRequest{Seq: ack.Sequence})
	if errors.Is(err, errAgain) && s.sums.another(m) {
		return 0, false, m.conflict()
	}
	if errors.Is(err, errAgain) { // acknowledged, and so not to be stored again
		return ack.Sequence, true, nil
	}
	return seq, true, err
}

// maxData leaves room for the header in what NATS takes, which is 1 MiB.
const maxData = 960 << 10

func (m *Message) check() error {
	switch {
	case m.ID == "":
		return errors.New("message without an id")
	case m.Token == "" && (m.App == "" || m.Version == ""):
		return fmt.Errorf("message %q goes neither to a token nor to an app and version", m.ID)
	case len(m.Data) > maxData:
		return fmt.Errorf("%w: message %q has %d bytes, more than the %d that the store takes", wire.PayloadTooLarge, m.ID, len(m.Data), maxData)
	case m.Token != "" && (m.App != "" || m.Version != ""):
		return fmt.Errorf("message %q goes both to a token and to an app", m.ID)
	}
	return nil
}

// same returns the sequence of the stored message that has m's id, when it is
// m. It fails with errAgain when it is not stored any more.
func (s *Store) same(ctx context.Context, m *Message, where getRequest) (uint64, error) {
	r, err := s.stored(ctx, messageStream, where)
	if errors.Is(err, ErrNotFound) {
		return 0, errAgain
	}
	if err != nil {
		return 0, err
	}
	_, h, err := decode(r)
	if err != nil {
		return 0, err
	}
	if h.Sum != m.sum() {
		return 0, m.conflict()
	}
	return r.seq, nil
}

func (m *Message) conflict() error {
	return fmt.Errorf("%w: id %q of publisher %q was used for another message: give each message an id of its own",
		wire.IDConflict, m.ID, m.Publisher)
}
