package client

import (
	"errors"
	"fmt"
	"time"

	"keyhole/push/keys"
	"keyhole/push/webpush"
	"keyhole/push/wire"
)

// infoMessage separates sealed payloads from whatever else is sealed to a
// client's key, and encryptionHPKE is what a message of such a payload says.
const (
	infoMessage    = "keyhole-push.v1 message"
	encryptionHPKE = "hpke"
)

// A Message is one message for the app.
type Message struct {
	ID              string // the same each time it is sent
	Seq             uint64
	To              string // "token", or "app" for all terminals of the app's version
	Time            time.Time
	Expires         time.Time
	Data            []byte // decrypted
	ContentType     string
	ContentEncoding string // of Data; "" once Web Push encryption is taken off
	Topic           string
	Urgency         string
	Redelivered     bool // it was, or may have been, sent before
}

// A result is what OnMessage returned for a message.
type result struct {
	from    *conn
	message *wire.Message
	err     error
}

// queued takes a message in behind those that wait. More than the window
// cannot be there unless the server miscounts, and nothing here grows without
// a bound.
func (ch *channel) queued(m *wire.Message) error {
	if len(ch.queue) >= ch.limits.Window {
		return fmt.Errorf("%w: more messages than the window of %d", wire.OutOfOrder, ch.limits.Window)
	}
	ch.queue = append(ch.queue, m)
	return nil
}

// handOver hands the next message over if none is in hand. Those that need no
// hand, it is done with: the duplicates, and what nobody can read. Whether one
// is a duplicate shows only when it is its turn, since its first copy may be
// the one in hand.
func (ch *channel) handOver() error {
	for !ch.inHand && !ch.draining && len(ch.queue) > 0 {
		m := ch.queue[0]
		if ch.queue = ch.queue[1:]; len(ch.queue) == 0 {
			ch.queue = nil // and its memory
		}
		if ch.hasSeen(m.ID) {
			if err := ch.ack(m); err != nil {
				return err
			}
			continue
		}
		opened, err := ch.who.open(m, ch.push, ch.previous)
		if err != nil {
			if err := ch.unreadable(m, err); err != nil {
				return err
			}
			continue
		}
		ch.inHand = true
		go func(from *conn) { ch.results <- result{from, m, ch.cfg.OnMessage(ch.handing, opened)} }(ch.conn)
	}
	return nil
}

// unreadable is for a message that no key here opens. One that the publisher
// encrypted will never be read, and would only come again until it fills the
// window: it is acknowledged, as RFC 8291 section 4 has it discarded. One that
// the server sealed to another key of this terminal comes again, sealed to the
// right one.
func (ch *channel) unreadable(m *wire.Message, err error) error {
	ch.cfg.Log.Error("message cannot be read", "id", printable(m.ID), "seq", m.Seq, "err", err)
	if errors.Is(err, errForPublisher) {
		return ch.ack(m)
	}
	return nil
}

// taken acknowledges what OnMessage took, if it came over this connection.
// A message of an earlier connection comes again, as a duplicate.
func (ch *channel) taken(res result) error {
	if !ch.take(res) || res.from != ch.conn {
		return nil
	}
	return ch.ack(res.message)
}

// take notes that nothing is in hand any more, and remembers what was taken.
func (r *run) take(res result) (ok bool) {
	r.inHand = false
	if res.err != nil {
		r.cfg.Log.Warn("message is not acknowledged and will come again", "id", printable(res.message.ID), "err", res.err)
		return false
	}
	r.addSeen(res.message.ID)
	if r.saveAt.IsZero() && r.cfg.Profile != nil {
		r.saveAt = time.Now().Add(saveEvery)
	}
	return true
}

func (ch *channel) ack(m *wire.Message) error {
	return ch.conn.write(&wire.Ack{Seq: []uint64{m.Seq}})
}

// errForPublisher is of a payload that the publisher has to encrypt anew.
var errForPublisher = errors.New("not encrypted for this subscription")

// open takes both encryptions off a message: the server's, for this terminal's
// key, and inside it the publisher's, for the Web Push subscription.
func (id *identity) open(m *wire.Message, push webPush, previous *keys.Private) (Message, error) {
	data, err := id.unseal(m, previous)
	if err != nil {
		return Message{}, err
	}
	encoding := m.ContentEncoding
	if encoding == webpush.Aes128gcm {
		if data, err = webpush.Decrypt(push.key, push.auth, data); err != nil {
			return Message{}, fmt.Errorf("%w: %w", errForPublisher, err)
		}
		encoding = ""
	}
	return Message{
		ID: m.ID, Seq: m.Seq, To: m.To, Time: time.UnixMilli(m.Time), Expires: time.UnixMilli(m.Expires), Data: data,
		ContentType: m.ContentType, ContentEncoding: encoding, Topic: m.Topic, Urgency: m.Urgency, Redelivered: m.Redelivered,
	}, nil
}

// unseal opens a payload that the server sealed. Around a renewal it can be to
// the key before it, or to the one that is still pending here.
func (id *identity) unseal(m *wire.Message, previous *keys.Private) (data []byte, err error) {
	switch m.Encryption {
	case "":
		return m.Data, nil
	case encryptionHPKE:
	default:
		return nil, fmt.Errorf("encryption %.40q is not known", m.Encryption)
	}
	for _, key := range []*keys.Private{id.key, id.pending, previous} {
		if key == nil {
			continue
		}
		if data, err = key.Open(infoMessage, m.Data); err == nil {
			return data, nil
		}
	}
	return nil, err
}
