package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"keyhole/push/channel"
	"keyhole/push/condition"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// A page is the reply to a pull as it is put together.
type page struct {
	reply      pullReply
	sources    []source
	state      map[string]string
	now        time.Time
	limit      int
	bytes      int
	considered int
	pos        uint64 // the last that was considered
}

// A source is one subject, read a piece at a time.
type source struct {
	subject     string
	after, upTo uint64
	done        bool
	messages    []store.Message
	cursor      store.Cursor
}

// newPage has nothing yet of what is stored up to upTo.
func (s *Server) newPage(token store.Token, terminal store.Terminal, q pullQuery, upTo uint64) *page {
	version := q.version
	if version == "" {
		version = terminal.AppVersion
	}
	p := &page{
		reply: pullReply{Messages: []wire.Message{}},
		state: withVersion(terminal.State, version), now: s.now(), limit: q.limit,
	}
	// AppLast knows of what this node was handed, which lags behind the store.
	known := s.channels.Last() >= upTo
	p.sources = append(p.sources, source{subject: store.TokenFilter(token.Hash), after: q.after, upTo: upTo})
	for _, subject := range appSubjects(token.App, version) {
		c := terminal.Cursors[subject]
		after := max(q.after, c.Floor)
		p.sources = append(p.sources, source{
			subject: subject, after: after, upTo: upTo, cursor: c, done: known && s.config.Store.AppLast(subject) <= after,
		})
	}
	return p
}

// withVersion is the state with the key app_version, which conditions name.
func withVersion(state map[string]string, version string) map[string]string {
	all := maps.Clone(state)
	if version == "" {
		return all
	}
	if all == nil {
		all = map[string]string{}
	}
	all["app_version"] = version
	return all
}

// appSubjects are those of every version and, where it is known, of one.
func appSubjects(app, version string) []string {
	if version == "" {
		version = store.EveryVersion
	}
	return slices.Compact(store.AppSubjects(app, version))
}

// wanted says whether the page has room for one more. Where it has not, Next
// says that there may be more.
func (p *page) wanted() bool {
	full := len(p.reply.Messages) >= p.limit || p.bytes >= pullBytes || p.considered >= pullConsider
	if full {
		p.reply.Next = p.pos
	}
	return !full
}

// fill considers stored messages until the page is full or there are no more.
func (p *page) fill(ctx context.Context, from *store.Store) error {
	for p.wanted() {
		first, err := p.first(ctx, from)
		if err != nil || first == nil {
			return err
		}
		p.consider(first)
	}
	return nil
}

// first returns the source that has the message with the lowest sequence, or
// nil when none has any.
func (p *page) first(ctx context.Context, from *store.Store) (first *source, err error) {
	for i := range p.sources {
		s := &p.sources[i]
		if err := s.read(ctx, from); err != nil {
			return nil, err
		}
		if len(s.messages) > 0 && (first == nil || s.messages[0].Seq < first.messages[0].Seq) {
			first = s
		}
	}
	return first, nil
}

// read reads more of a source that has nothing at hand.
func (s *source) read(ctx context.Context, from *store.Store) error {
	if len(s.messages) > 0 || s.done || s.after >= s.upTo {
		return nil
	}
	messages, err := from.Backlog(ctx, s.subject, s.after, s.upTo, pullMost)
	if err != nil {
		return fmt.Errorf("backlog: %w", err)
	}
	if s.messages, s.done = messages, len(messages) == 0; !s.done {
		s.after = messages[len(messages)-1].Seq
	}
	return nil
}

// consider takes the first message of a source if it is due.
func (p *page) consider(s *source) {
	m := &s.messages[0]
	s.messages = s.messages[1:]
	p.pos = m.Seq
	p.considered++
	if _, acknowledged := slices.BinarySearch(s.cursor.Above, m.Seq); acknowledged || !p.now.Before(m.Expires) {
		return
	}
	c, err := condition.Parse(m.Condition)
	if err != nil || !c.Match(p.state) { // one that cannot be read is a newer server's, which delivers it
		return
	}
	p.bytes += len(m.Data)
	p.reply.Messages = append(p.reply.Messages, *channel.Wire(m, false))
}
