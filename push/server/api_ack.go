package server

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"sync"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// ackMost is how many messages one request acknowledges.
const ackMost = 256

// cursorMost is how many acknowledgements a cursor keeps beyond its floor
// (store.Cursor). The oldest are forgotten first, and cost a duplicate.
const cursorMost = 1000

type ackRequest struct {
	Token string   `json:"token"`
	Seq   []uint64 `json:"seq"`
}

// acks are the acknowledgements that come by request.
type acks struct {
	*Server
	// records are locked, by the hash of the token, while the record of a
	// terminal is changed: or of two requests at once one is lost.
	records [64]sync.Mutex
}

func newAcks(s *Server) *acks { return &acks{Server: s} }

// ack takes pulled messages as delivered for good: those to the token are
// deleted, those to the app are noted for this terminal. A message that is not
// there any more is taken for acknowledged, since the reply to the first time
// may have been lost; one that is not this terminal's has the whole request
// refused.
func (s *acks) ack(w http.ResponseWriter, r *http.Request) error {
	session, err := s.session(r)
	if err != nil {
		return err
	}
	q, err := readJSON[ackRequest](w, r, bodyLimit)
	if err != nil {
		return err
	}
	if len(q.Seq) == 0 || len(q.Seq) > ackMost {
		return fmt.Errorf("%w: seq has %d sequences, want 1 to %d", wire.BadRequest, len(q.Seq), ackMost)
	}
	token, err := s.config.Auth.CheckToken(r.Context(), session, q.Token)
	if err != nil {
		return err
	}
	own, app, err := s.acknowledged(r.Context(), token, q.Seq)
	if err != nil {
		return err
	}
	if err := s.moveCursors(r.Context(), token.Hash, app); err != nil {
		return err
	}
	// Not in the background: a pull after the answer would return them again.
	if err := s.config.Store.DeleteNow(r.Context(), own...); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	s.metrics.Acknowledged(len(own) + len(app))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// acknowledged returns which of seqs are messages to the token, and which are
// messages to its app.
func (s *acks) acknowledged(ctx context.Context, token store.Token, seqs []uint64) (own []uint64, app []store.Message, err error) {
	for _, seq := range slices.Compact(slices.Sorted(slices.Values(seqs))) {
		m, err := s.config.Store.Message(ctx, seq)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, nil, fmt.Errorf("message %d: %w", seq, err)
		case m.Token == token.Hash:
			own = append(own, seq)
		case m.Token == "" && m.App == token.App:
			app = append(app, m)
		default:
			return nil, nil, fmt.Errorf("%w: %d is not under this token or for its app", wire.AckUnknown, seq)
		}
	}
	return own, app, nil
}

// moveCursors notes messages to the app in the record of a terminal. The
// terminal may be connected meanwhile, and its channel write another record
// over this one: these messages are sent once more then.
func (s *acks) moveCursors(ctx context.Context, hash string, app []store.Message) error {
	if len(app) == 0 {
		return nil
	}
	record := &s.records[crc32.ChecksumIEEE([]byte(hash))%uint32(len(s.records))]
	record.Lock()
	defer record.Unlock()
	terminal, err := s.terminal(ctx, hash)
	if err != nil {
		return err
	}
	if terminal.Cursors == nil {
		terminal.Cursors = map[string]store.Cursor{}
	}
	touched := map[string]bool{}
	for _, m := range app {
		subject := subjectOf(&m)
		c := terminal.Cursors[subject]
		terminal.Cursors[subject] = acknowledge(c, m.Seq)
		touched[subject] = true
	}
	for subject := range touched {
		if terminal.Cursors[subject], err = s.compact(ctx, subject, terminal.Cursors[subject]); err != nil {
			return err
		}
	}
	if err := s.config.Store.PutTerminal(ctx, hash, terminal); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	return nil
}

// subjectOf is the one of store.AppSubjects that a message to an app is of.
func subjectOf(m *store.Message) string {
	subjects := store.AppSubjects(m.App, m.Version)
	if m.Version == store.EveryVersion {
		return subjects[len(subjects)-1]
	}
	return subjects[0]
}

func acknowledge(c store.Cursor, seq uint64) store.Cursor {
	at, found := slices.BinarySearch(c.Above, seq)
	if !found && seq > c.Floor {
		c.Above = slices.Insert(slices.Clone(c.Above), at, seq)
	}
	return c
}

// compact raises the floor of a cursor to the message before the first stored
// one that is not acknowledged.
func (s *acks) compact(ctx context.Context, subject string, c store.Cursor) (store.Cursor, error) {
	if len(c.Above) == 0 {
		return c, nil
	}
	messages, err := s.config.Store.Backlog(ctx, subject, c.Floor, c.Above[len(c.Above)-1], cursorMost)
	if err != nil {
		return c, fmt.Errorf("backlog: %w", err)
	}
	for _, m := range messages {
		if _, found := slices.BinarySearch(c.Above, m.Seq); !found {
			break
		}
		c.Floor = m.Seq
	}
	at, _ := slices.BinarySearch(c.Above, c.Floor+1)
	c.Above = slices.Clone(c.Above[max(at, len(c.Above)-cursorMost):])
	return c, nil
}
