package store

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams. Subjects of the first are
//
//	m.t.<token>.<id>           a message under a token
//	m.a.<app>.<version>.<id>   a message to an app
//	ev.<kind>.<key>            an event
//	w                          a mark, see mark
//
// where every part but the kind is a hash. The last part makes each message's
// subject its own, and every stream keeps one message for a subject. So a
// token's messages are found by their subjects, however many others lie between
// them: asked for the messages of one subject, JetStream looks along the
// sequence, which takes most of a second when there are a million. And a
// message takes the place of an older one of its topic at once.
const (
	messageStream  = "PUSH_MESSAGES"
	recordStream   = "PUSH_RECORDS"
	terminalStream = "PUSH_TERMINALS"

	markSubject = "w"
)

// duplicateWindow is for how long an id is remembered after its message was
// acknowledged. One that is still stored is known without.
const duplicateWindow = 2 * time.Minute

func (s *Store) makeStreams(ctx context.Context) error {
	for _, c := range s.streamConfigs() {
		err := s.retry(ctx, func(ctx context.Context) (err error) {
			s.streams[c.Name], err = s.js.CreateOrUpdateStream(ctx, c)
			return err
		})
		if err != nil {
			return fmt.Errorf("stream %s: %w", c.Name, err)
		}
	}
	if s.local != nil {
		return nil
	}
	return s.mark(ctx)
}

func (s *Store) streamConfigs() []jetstream.StreamConfig {
	// A record is read where it was written, or a session that was just made
	// would be unknown to a server that lags; the only server does not.
	direct := s.local != nil
	messages := s.stream(messageStream, "m.>", "ev.>", markSubject)
	messages.MaxAge = s.cfg.Retention
	messages.AllowDirect = true // Backlog checks how far the one that answers has come
	messages.Duplicates = min(duplicateWindow, s.cfg.Retention)
	rec := s.stream(recordStream, records.prefix+">")
	rec.AllowDirect = direct
	terminals := s.stream(terminalStream, terminals.prefix+">")
	terminals.AllowDirect = direct
	if s.cfg.Replicas == 1 {
		terminals.PersistMode = jetstream.AsyncPersistMode
	}
	return []jetstream.StreamConfig{messages, rec, terminals}
}

func (s *Store) stream(name string, subjects ...string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              name,
		Subjects:          subjects,
		Storage:           jetstream.FileStorage,
		Replicas:          s.cfg.Replicas,
		MaxMsgsPerSubject: 1,
		AllowMsgTTL:       true,
		Duplicates:        time.Second, // ids are for messages only
	}
}

// mark writes the message that every read of a backlog from a cluster asks for
// too, so that there is an answer, with the sequence that its server has come
// to, when there is nothing else. It is as durable as any other, which makes
// it the proof that a write can be.
func (s *Store) mark(ctx context.Context) error {
	msg := newMsg(markSubject, nil)
	msg.Header.Set(jetstream.MsgTTLHeader, "never")
	_, err := s.write(ctx, msg)
	return err
}
