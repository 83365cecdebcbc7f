package store

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// EveryVersion is the version of a message to all versions of an app.
const EveryVersion = "*"

// A Message is one stored message, under a token or to an app.
type Message struct {
	ID              string // of the publisher's choice, and unique among that publisher's
	Seq             uint64 // its place in the one sequence of all messages; given by Publish
	Token           string // TokenHash of the token; "" for a message to an app
	App             string // of a message to an app
	Version         string // of the app, or EveryVersion
	Data            []byte
	ContentType     string
	ContentEncoding string
	Topic           string // takes the place of a stored message of the same topic and target
	Urgency         string
	Condition       string
	Publisher       string
	Published       time.Time // to the millisecond; zero: now
	Expires         time.Time // to the millisecond; zero, and what is later: after Retention
}

// meta is the header of a message: what is neither its subject nor its body.
// It is JSON in one header, since a header of its own for each would have to
// keep out line breaks and spaces at the ends.
type meta struct {
	ID              string `json:"id"`
	App             string `json:"app,omitempty"`
	Version         string `json:"version,omitempty"`
	ContentType     string `json:"type,omitempty"`
	ContentEncoding string `json:"encoding,omitempty"`
	Topic           string `json:"topic,omitempty"`
	Urgency         string `json:"urgency,omitempty"`
	Condition       string `json:"if,omitempty"`
	Publisher       string `json:"by,omitempty"`
	Published       int64  `json:"at"`
	Expires         int64  `json:"until"`
	Sum             string `json:"sum"`
}

const metaHeader = "Push"

// Subject is where m is stored: its own, but for the messages of one topic to
// one target, which share theirs.
func (m *Message) Subject() string {
	last := m.key()
	if m.Topic != "" {
		last = name("topic", m.Topic)
	}
	return strings.TrimSuffix(m.target(), ">") + last
}

// key tells m from every other message.
func (m *Message) key() string { return name("id", m.Publisher, m.ID) }

// target is the filter for all messages to where m goes.
func (m *Message) target() string {
	if m.Token != "" {
		return TokenFilter(m.Token)
	}
	return appSubject(m.App, m.Version)
}

// TokenFilter is the subject filter for the messages under a token.
func TokenFilter(hash string) string {
	sum, err := hex.DecodeString(hash)
	if err != nil || len(sum) != sha256.Size { // of no token; never a wildcard
		h := sha256.Sum256([]byte("no token\x00" + hash))
		sum = h[:]
	}
	return "m.t." + base64.RawURLEncoding.EncodeToString(sum) + ".>"
}

// AppSubjects are the subject filters for the messages to one version of an
// app: those to it alone, and those to every version.
func AppSubjects(app, version string) []string {
	return []string{appSubject(app, version), appSubject(app, EveryVersion)}
}

func appSubject(app, version string) string {
	v := "all"
	if version != EveryVersion {
		v = name("version", version)
	}
	return "m.a." + name("app", app) + "." + v + ".>"
}

// targetOf is the filter that the message with this subject was found by.
func targetOf(subject string) string {
	return subject[:strings.LastIndexByte(subject, '.')+1] + ">"
}

// sum tells whether two messages with one id are the same: all that a publisher
// said, but for the times, which are taken anew when it says it again.
func (m *Message) sum() string {
	h := sha256.New()
	for _, part := range []string{m.Token, m.App, m.Version, m.ContentType, m.ContentEncoding, m.Topic, m.Urgency, m.Condition, string(m.Data)} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		h.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// encode returns m as it is stored from now on.
func (m *Message) encode(now time.Time, retention time.Duration) (*nats.Msg, error) {
	if m.Published.IsZero() {
		m.Published = now
	}
	if last := now.Add(retention); m.Expires.IsZero() || m.Expires.After(last) {
		m.Expires = last
	}
	header, err := json.Marshal(meta{
		ID: m.ID, App: m.App, Version: m.Version, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Topic: m.Topic,
		Urgency: m.Urgency, Condition: m.Condition, Publisher: m.Publisher,
		Published: m.Published.UnixMilli(), Expires: m.Expires.UnixMilli(), Sum: m.sum(),
	})
	if err != nil {
		return nil, fmt.Errorf("message %q: %w", m.ID, err)
	}
	msg := newMsg(m.Subject(), m.Data)
	msg.Header.Set(metaHeader, string(header))
	msg.Header.Set(jetstream.MsgIDHeader, m.key())
	if m.Topic == "" {
		// An id that is used again must not take the place of a stored message.
		msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
	}
	if ttl := m.Expires.Sub(now); ttl < retention { // that of the stream costs no memory
		msg.Header.Set(jetstream.MsgTTLHeader, wholeSeconds(ttl))
	}
	return msg, nil
}

// decode reads what encode wrote.
func decode(r raw) (*Message, meta, error) {
	var h meta
	if err := json.Unmarshal([]byte(r.header.Get(metaHeader)), &h); err != nil {
		return nil, h, fmt.Errorf("message %d: header: %w", r.seq, err)
	}
	m := &Message{
		ID: h.ID, Seq: r.seq, App: h.App, Version: h.Version, Data: r.data, ContentType: h.ContentType,
		ContentEncoding: h.ContentEncoding, Topic: h.Topic, Urgency: h.Urgency, Condition: h.Condition, Publisher: h.Publisher,
		Published: time.UnixMilli(h.Published).UTC(), Expires: time.UnixMilli(h.Expires).UTC(),
	}
	part := strings.Split(r.subject, ".")
	if len(part) == 4 && part[1] == "t" {
		hash, err := base64.RawURLEncoding.DecodeString(part[2])
		if err != nil {
			return nil, h, fmt.Errorf("message %d: subject %s: %w", r.seq, r.subject, err)
		}
		m.Token = hex.EncodeToString(hash)
	}
	return m, h, nil
}
