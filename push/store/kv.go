package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A bucket is a stream with one message for a key: its newest record.
type bucket struct{ stream, prefix string }

var (
	records   = bucket{recordStream, "r."}
	terminals = bucket{terminalStream, "s."}
)

// A record is what is stored under a key. Its revision is the sequence that it
// was written with.
type record struct {
	key      string
	data     []byte
	revision uint64
}

// Expectations of put; any other number is a revision.
const (
	create = 0
	always = ^uint64(0)
)

// name makes a part of a key or subject of any text.
func name(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// get returns the record under key, or ErrNotFound.
func (s *Store) get(ctx context.Context, b bucket, key string) (record, error) {
	m, err := s.stored(ctx, b.stream, getRequest{Last: b.prefix + key})
	if err != nil {
		return record{}, err
	}
	return record{key: key, data: m.data, revision: m.seq}, nil
}

// put stores data under key and returns its revision. What is there must have
// the revision expected, or be absent where that is create: ErrConflict or
// ErrExists otherwise. A ttl of zero is forever.
func (s *Store) put(ctx context.Context, b bucket, key string, data []byte, expected uint64, ttl time.Duration) (uint64, error) {
	msg := newMsg(b.prefix+key, data)
	write := nuid.Next()
	msg.Header.Set(writeHeader, write)
	if expected != always {
		msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expected, 10))
	}
	if ttl > 0 {
		msg.Header.Set(jetstream.MsgTTLHeader, wholeSeconds(ttl))
	}
	ack, err := s.write(ctx, msg)
	if isCode(err, codeWrongLastSequence) {
		return s.lost(ctx, b, key, write, expected)
	}
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// writeHeader tells one write of a record from another with the same content.
const writeHeader = "Write"

// lost decides whether somebody else's record is under key, or that of an
// attempt whose answer was lost.
func (s *Store) lost(ctx context.Context, b bucket, key, write string, expected uint64) (uint64, error) {
	m, err := s.stored(ctx, b.stream, getRequest{Last: b.prefix + key})
	switch {
	case err == nil && m.header.Get(writeHeader) == write:
		return m.seq, nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return 0, err
	case expected == create:
		return 0, ErrExists
	}
	return 0, ErrConflict
}

// drop removes the record with this revision. It is no error when it is gone,
// and it leaves a newer one alone: that has another sequence.
func (s *Store) drop(ctx context.Context, b bucket, revision uint64) error {
	return s.erase(ctx, b.stream, revision)
}

// under returns the keys that start with prefix and a dot.
func (s *Store) under(ctx context.Context, b bucket, prefix string) ([]string, error) {
	info, err := s.streamInfo(ctx, b.stream, b.prefix+prefix+".>")
	if err != nil {
		return nil, err
	}
	var keys []string
	for subject := range info.State.Subjects {
		keys = append(keys, strings.TrimPrefix(subject, b.prefix))
	}
	return keys, nil
}

// load reads the JSON under key into v.
func (s *Store) load(ctx context.Context, b bucket, key string, v any) (revision uint64, err error) {
	r, err := s.get(ctx, b, key)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(r.data, v); err != nil {
		return 0, fmt.Errorf("record %s%s of %s: %w", b.prefix, key, s.place(), err)
	}
	return r.revision, nil
}

// save is put with v as JSON.
func (s *Store) save(ctx context.Context, b bucket, key string, v any, expected uint64, ttl time.Duration) (uint64, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("record %s%s: %w", b.prefix, key, err)
	}
	return s.put(ctx, b, key, data, expected, ttl)
}

// wholeSeconds is what a TTL header holds: at least one, and never less than d.
func wholeSeconds(d time.Duration) string {
	n := max(1, (d+time.Second-1)/time.Second)
	return strconv.FormatInt(int64(n), 10) + "s"
}
