package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// Limits of one page.
const (
	pullDefault  = 50      // messages
	pullMost     = 100     // messages
	pullBytes    = 1 << 20 // of payloads; the message that passes it is the last
	pullConsider = 1000    // stored messages looked at: most of them may be for another state
)

type pullReply struct {
	Messages []wire.Message `json:"messages"`
	Next     uint64         `json:"next,omitempty"` // what after is for the next page; absent: there is none now
}

// A pullQuery is the query of a pull.
type pullQuery struct {
	token   string
	version string // of the app; "": as reported last
	after   uint64
	limit   int
}

// pull (T4) returns what is stored for a terminal and due by its last state:
// under its token, and for its app and version. It deletes nothing. A
// message that was published before, through any node, is among them.
func (s *Server) pull(w http.ResponseWriter, r *http.Request) error {
	session, err := s.session(r)
	if err != nil {
		return err
	}
	q, err := parsePull(r.URL.RawQuery)
	if err != nil {
		return err
	}
	token, err := s.config.Auth.CheckToken(r.Context(), session, q.token)
	if err != nil {
		return err
	}
	terminal, err := s.terminal(r.Context(), token.Hash)
	if err != nil {
		return err
	}
	upTo, err := s.config.Store.Last(r.Context())
	if err != nil {
		return fmt.Errorf("last message: %w", err)
	}
	p := s.newPage(token, terminal, q, upTo)
	if err := p.fill(r.Context(), s.config.Store); err != nil {
		return err
	}
	if s.config.Auth.Policy(token.App).Encrypt {
		if err := sealAll(session.Client, p.reply.Messages); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, p.reply)
}

// sealAll has messages read by the holder of the client's key alone (K7).
func sealAll(client keys.Public, messages []wire.Message) error {
	for i := range messages {
		m := &messages[i]
		data, err := client.Seal(infoMessage, m.Data)
		if err != nil {
			return fmt.Errorf("message %d: %w", m.Seq, err)
		}
		m.Data, m.Encryption = data, "hpke"
	}
	return nil
}

// terminal is what is known of the terminal of a token: nothing, before it was
// connected for the first time.
func (s *Server) terminal(ctx context.Context, hash string) (store.Terminal, error) {
	t, err := s.config.Store.Terminal(ctx, hash)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return t, fmt.Errorf("terminal: %w", err)
	}
	return t, nil
}

// parsePull reads token, limit, after and version, each at most once.
func parsePull(raw string) (pullQuery, error) {
	q := pullQuery{limit: pullDefault}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("%w: query: %w", wire.BadRequest, err)
	}
	for name, all := range values {
		if len(all) != 1 {
			return q, fmt.Errorf("%w: query: %.20q is there %d times, want it once", wire.BadRequest, name, len(all))
		}
		if err := q.set(name, all[0]); err != nil {
			return q, fmt.Errorf("%w: query: %w", wire.BadRequest, err)
		}
	}
	if q.token == "" {
		return q, fmt.Errorf("%w: query: token is missing", wire.BadRequest)
	}
	return q, nil
}

func (q *pullQuery) set(name, value string) (err error) {
	switch name {
	case "token":
		q.token = value
	case "version":
		q.version = value
		err = checkText("version", value, maxVersion)
	case "after":
		if q.after, err = strconv.ParseUint(value, 10, 64); err != nil {
			err = fmt.Errorf("after is %.30q, want a sequence", value)
		}
	case "limit":
		if q.limit, err = strconv.Atoi(value); err != nil || q.limit < 1 || q.limit > pullMost {
			err = fmt.Errorf("limit is %.30q, want 1 to %d", value, pullMost)
		}
	default:
		err = fmt.Errorf("unknown parameter %.20q; there are token, version, after, limit", name)
	}
	return err
}
