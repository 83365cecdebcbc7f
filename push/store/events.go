package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Kinds of events. Attached reaches the nodes that are connected at the moment;
// the others are as durable as a message, for an hour.
const (
	TokenRevoked   = "token_revoked"   // Key is the token's hash
	SessionRevoked = "session_revoked" // Key is the session's id
	SessionRenewed = "session_renewed" // Key is the session's id
	UserDisabled   = "user_disabled"   // Key is the user's name
	RingChanged    = "ring_changed"
	Attached       = "attached" // a terminal connected: Key is its token's hash
)

// An Event tells all nodes of something that one of them did.
type Event struct {
	Kind string `json:"kind"`
	Key  string `json:"key,omitempty"`
	Node string `json:"node,omitempty"` // that did it
	Conn string `json:"conn,omitempty"` // there, of Attached
}

const (
	eventTTL        = time.Hour
	attachedSubject = "pushd.attached"
)

// Announce hands e to the handlers of all nodes, this one's too. An older event
// of the same kind and key, if it was not handed over yet, may be left out.
func (s *Store) Announce(ctx context.Context, e Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("event %s: %w", e.Kind, err)
	}
	switch e.Kind {
	case Attached:
		return s.retry(ctx, func(context.Context) error { return s.nc.Publish(attachedSubject, body) })
	case TokenRevoked, SessionRevoked, SessionRenewed, UserDisabled, RingChanged:
	default:
		return fmt.Errorf("event of unknown kind %q", e.Kind)
	}
	msg := newMsg("ev."+e.Kind+"."+name(e.Key), body)
	msg.Header.Set(jetstream.MsgTTLHeader, wholeSeconds(eventTTL))
	_, err = s.write(ctx, msg)
	return err
}
