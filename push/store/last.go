package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// Answers of lastOf that are not messages.
var (
	errTooMany = errors.New("more subjects than one request returns")
	errNoMatch = errors.New("no message, and no word of how far the server has come")
)

// lastRequest asks for the newest message of every subject that a filter
// matches: for all of them, where no two share a subject.
type lastRequest struct {
	Filters []string `json:"multi_last"`
	From    uint64   `json:"seq,omitempty"` // the lowest sequence
	Batch   int      `json:"batch,omitempty"`
}

// lastAnswer holds messages by ascending sequence, as they were when the
// server that answered had come to seen.
type lastAnswer struct {
	messages []raw
	seen     uint64
}

// maxLast is the number of subjects above which a server refuses to look for
// their messages.
const maxLast = 1024

// lastOf makes one attempt, at whichever server answers. It fails with
// errTooMany or errNoMatch.
func (s *Store) lastOf(ctx context.Context, r lastRequest) (a lastAnswer, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	answers := make(chan *nats.Msg, r.Batch+2) // never full: the server sends Batch and a status
	inbox := s.nc.NewInbox()
	sub, err := s.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return a, err
	}
	defer sub.Unsubscribe()
	if err := s.nc.PublishRequest("$JS.API.DIRECT.GET."+messageStream, inbox, body); err != nil {
		return a, err
	}
	for {
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case m := <-answers:
			if done, err := a.add(m); done || err != nil {
				return a, err
			}
		}
	}
}

// add reads one answer; done reports that it was the last.
func (a *lastAnswer) add(m *nats.Msg) (done bool, err error) {
	switch m.Header.Get("Status") {
	case "204":
		a.seen, err = strconv.ParseUint(m.Header.Get("Nats-UpTo-Sequence"), 10, 64)
		return true, err
	case "404":
		if m.Header.Get("Description") == "No Results" {
			return true, errNoMatch
		}
		return true, fmt.Errorf("%w: a message was found and not read: see the log of the server", errAgain)
	case "413":
		return true, errTooMany
	}
	one, err := rawOf(m)
	a.messages = append(a.messages, one)
	return false, err
}
