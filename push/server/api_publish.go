package server

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"time"

	"keyhole/push/condition"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// A shorter TTL counts as leastTTL. It means the terminals that are connected
// now, and under load or by another node's clock "now" takes a moment.
const leastTTL = 5 * time.Second

type publishRequest struct {
	Token           string  `json:"token"`
	App             string  `json:"app"`
	Version         string  `json:"version"`
	Data            []byte  `json:"data"`
	Text            *string `json:"text"`
	Condition       string  `json:"condition"`
	TTL             *int64  `json:"ttl"` // seconds
	Topic           string  `json:"topic"`
	Urgency         string  `json:"urgency"`
	ContentType     string  `json:"content_type"`
	ContentEncoding string  `json:"content_encoding"`
	ID              string  `json:"id"`
}

type publishReply struct {
	ID        string `json:"id"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate,omitempty"`
}

// publish (P3, T3) stores a message under a token, or under an app and a
// version of it, and answers when it is on disk.
func (s *Server) publish(w http.ResponseWriter, r *http.Request) error {
	publisher, err := s.publisher(w, r)
	if err != nil {
		return err
	}
	q, err := readJSON[publishRequest](w, r, publishLimit(s.config.Limits.PayloadBytes))
	if err != nil {
		return err
	}
	m, err := s.message(q)
	if err != nil {
		return err
	}
	if err := s.permit(r, publisher, q); err != nil {
		return err
	}
	m.Publisher, m.ID = publisher.Name, messageID(publisher.Name, q.ID)
	seq, duplicate, err := s.put(r, m)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, publishReply{ID: m.ID, Seq: seq, Duplicate: duplicate})
}

// publisher says whose key the request has in "Authorization: Bearer".
func (s *Server) publisher(w http.ResponseWriter, r *http.Request) (store.Publisher, error) {
	key, err := credential(r, "Bearer", "a publisher's key")
	if err == nil {
		var p store.Publisher
		if p, err = s.config.Auth.Publisher(r.Context(), key); err == nil {
			return p, nil
		}
	}
	w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750 section 3
	return store.Publisher{}, err
}

// permit wants a publisher's key to be for the app that is published to, and a
// token to be live.
func (s *Server) permit(r *http.Request, publisher store.Publisher, q *publishRequest) error {
	app := q.App
	if q.Token != "" {
		t, err := s.config.Auth.PushToken(r.Context(), q.Token)
		if err != nil {
			return err
		}
		app = t.App
	}
	if len(publisher.Apps) > 0 && !slices.Contains(publisher.Apps, app) {
		return fmt.Errorf("%w: the key of publisher %q is not for this app", wire.Forbidden, publisher.Name)
	}
	return nil
}

// put stores a message, measured and counted.
func (s *Server) put(r *http.Request, m store.Message) (seq uint64, duplicate bool, err error) {
	start := time.Now()
	seq, duplicate, err = s.config.Store.Publish(r.Context(), m)
	if err != nil {
		return 0, false, err
	}
	s.metrics.publishSeconds.Observe(time.Since(start).Seconds())
	if !duplicate {
		s.metrics.published.WithLabelValues(addressee(&m)).Inc()
	}
	return seq, duplicate, nil
}

// addressee is "token" or "app".
func addressee(m *store.Message) string {
	if m.Token == "" {
		return "app"
	}
	return "token"
}

// publishLimit is the size of a publication's body in bytes: each byte of a
// text takes six at most (\u0000), and all other fields fit into bodyLimit.
func publishLimit(payload int) int { return bodyLimit + 6*payload }

// messageID makes the id that terminals see. They take two messages of one id
// for the same, so that an id chosen by a publisher must not be another's.
func messageID(publisher, chosen string) string {
	if chosen != "" {
		return publisher + ":" + chosen // an id has no colon: no two of these are alike
	}
	b := make([]byte, 16)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// message checks what is asked for, field by field.
func (s *Server) message(q *publishRequest) (store.Message, error) {
	m := store.Message{
		App: q.App, Version: q.Version, Data: q.Data, Condition: q.Condition, Topic: q.Topic,
		Urgency: q.Urgency, ContentType: q.ContentType, ContentEncoding: q.ContentEncoding,
	}
	if q.Token != "" {
		m.Token = store.TokenHash(q.Token)
	}
	if q.Text != nil {
		m.Data = []byte(*q.Text)
		if m.ContentType == "" {
			m.ContentType = "text/plain; charset=utf-8"
		}
	}
	for _, check := range []func(*publishRequest) error{checkAddress, checkData, checkHeaders} {
		if err := check(q); err != nil {
			return m, err
		}
	}
	if len(m.Data) > s.config.Limits.PayloadBytes {
		return m, fmt.Errorf("%w: it has %d bytes, want at most %d", wire.PayloadTooLarge, len(m.Data), s.config.Limits.PayloadBytes)
	}
	if _, err := condition.Parse(q.Condition); err != nil {
		return m, fmt.Errorf("%w: %w", wire.ConditionInvalid, err)
	}
	return m, s.setTimes(&m, q.TTL)
}

// setTimes: a ttl that is absent is the longest there is. A longer one is
// refused, since a publisher who asks for a year would count on it.
func (s *Server) setTimes(m *store.Message, ttl *int64) error {
	most := s.config.Store.Retention()
	seconds := int64(most / time.Second)
	if ttl != nil {
		if seconds = *ttl; seconds < 0 || seconds > int64(most/time.Second) {
			return fmt.Errorf("%w: %d is not within 0 and %d seconds", wire.TTLInvalid, seconds, int64(most/time.Second))
		}
	}
	m.Published = s.now()
	m.Expires = m.Published.Add(max(time.Duration(seconds)*time.Second, leastTTL))
	return nil
}
