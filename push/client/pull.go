package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"keyhole/push/wire"
)

// pullPage is how many messages are asked for at once, pullLimit how many
// Pull returns at most.
const (
	pullPage  = 100
	pullLimit = 10_000
)

type pullReply struct {
	Messages []wire.Message `json:"messages"`
	Next     uint64         `json:"next"` // what the next page is after; 0: this is the last
}

type ackRequest struct {
	Token string   `json:"token"`
	Seq   []uint64 `json:"seq"`
}

// Pull asks once for what is stored for this terminal's token and for its app
// and version, and is due by the state that it reported last, oldest first and
// at most 10,000 messages. It needs no Run, and logs in if it has to.
//
// The messages stay stored, and come again to Pull and to Run until Acknowledge
// is called for them. What was handed to OnMessage before is left out, as is
// what cannot be read. The context bounds it all; each request has
// HandshakeTimeout too.
func (t *Terminal) Pull(ctx context.Context) ([]Message, error) {
	defer t.http.CloseIdleConnections()
	var all []Message
	for after := uint64(0); ; {
		reply, who, err := t.pullPage(ctx, after)
		if err != nil {
			return nil, fmt.Errorf("pull: %w", err)
		}
		for i := range reply.Messages {
			m := &reply.Messages[i]
			if t.hasSeen(m.ID) {
				continue
			}
			opened, err := who.open(m, t.push, nil)
			if err != nil {
				t.cfg.Log.Error("message cannot be read", "id", printable(m.ID), "seq", m.Seq, "err", err)
				continue
			}
			all = append(all, opened)
		}
		if reply.Next <= after || len(all) >= pullLimit {
			return all, nil
		}
		after = reply.Next
	}
}

func (t *Terminal) pullPage(ctx context.Context, after uint64) (reply pullReply, who *identity, err error) {
	err = t.authorized(ctx, func(ctx context.Context, as *identity) error {
		who = as
		query := url.Values{"token": {as.token}, "limit": {strconv.Itoa(pullPage)}}
		if t.cfg.AppVersion != "" {
			query.Set("version", t.cfg.AppVersion)
		}
		if after > 0 {
			query.Set("after", strconv.FormatUint(after, 10))
		}
		return t.call(ctx, as, http.MethodGet, "/v1/messages?"+query.Encode(), nil, &reply)
	})
	return reply, who, err
}

// Acknowledge says that messages of Pull are in the app's hands for good. They
// do not come again, and are remembered like those of OnMessage.
func (t *Terminal) Acknowledge(ctx context.Context, messages ...Message) error {
	defer t.http.CloseIdleConnections()
	if len(messages) == 0 {
		return nil
	}
	ask := ackRequest{}
	for _, m := range messages {
		ask.Seq = append(ask.Seq, m.Seq)
	}
	err := t.authorized(ctx, func(ctx context.Context, who *identity) error {
		ask.Token = who.token
		return t.call(ctx, who, http.MethodPost, "/v1/messages/ack", ask, nil)
	})
	if err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	for _, m := range messages {
		t.addSeen(m.ID)
	}
	return t.save()
}

// authorized makes a request as this terminal. A session or a message token
// that is lost it replaces once, the session with the password if there is
// one.
func (t *Terminal) authorized(ctx context.Context, request func(context.Context, *identity) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.HandshakeTimeout)
	defer cancel()
	who, err := t.signedIn(ctx)
	if err != nil {
		return err
	}
	err = request(ctx, who)
	switch v := judge(err); {
	case v == loginAgain && t.cfg.Password != "":
		t.forget(who)
	case v == tokenAgain:
		t.forgetToken(who)
	case isCode(err, wire.TokenRevoked):
		t.forgetToken(who) // the next call asks for another, once the caller knows
		return err
	default:
		return err
	}
	if who, err = t.signedIn(ctx); err != nil {
		return err
	}
	return request(ctx, who)
}
