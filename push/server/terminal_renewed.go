package server

import (
	"context"
	"fmt"
	"strconv"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// A follower hears what is new in the store.
type follower struct{ *Server }

// Message is a store.Handler's method.
func (f follower) Message(m *store.Message) { f.channels.Message(m) }

// Event is a store.Handler's method.
func (f follower) Event(e store.Event) {
	f.channels.Event(e)
	if e.Kind != store.SessionRenewed {
		return
	}
	if epoch, err := strconv.ParseUint(e.Conn, 10, 64); err == nil {
		f.retire(e.Key, epoch)
	}
}

// announceRenewal has every node end the connections that were proved by a
// client key which does not hold any more (K4). It is against a thief of the
// key: the terminal itself has one connection, and that has renewed.
func (t *terminal) announceRenewal(ctx context.Context) {
	err := t.s.config.Store.Announce(ctx, store.Event{
		Kind: store.SessionRenewed, Key: t.claim, Node: t.s.config.Node, Conn: strconv.FormatUint(t.epoch.Load(), 10),
	})
	if err != nil {
		t.s.log.Warn("renewal of a client key not announced", "conn", t.id, "err", err)
	}
}

// retire ends the connections of a session that are of an epoch before this
// one, and those that come to be. It does not block.
func (s *Server) retire(session string, epoch uint64) {
	s.verifier.renewed.set(session, epoch)
	for _, t := range s.live.list() {
		if t.expires.Load() != 0 && t.claim == session && t.epoch.Load() < epoch {
			go t.fail(retired())
		}
	}
}

// retired reports a connection whose exchange was under way while the key was
// renewed. It is called after retire can see the connection.
func (t *terminal) retired() error {
	if epoch, found := t.s.verifier.renewed.get(t.claim); found && t.epoch.Load() < epoch {
		return retired()
	}
	return nil
}

func retired() error {
	return fmt.Errorf("%w: the client key that it is by was renewed on another connection", wire.ProofInvalid)
}
