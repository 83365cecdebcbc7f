package channel

import (
	"context"
	"errors"
	"slices"

	"keyhole/push/store"
)

// A past is what is known of the connections of a terminal before this one.
type past struct {
	store.Terminal
	recent []uint64 // acknowledged of late: they may still be in the store
}

// past returns that of the terminal of a token: from the journal if its record
// is not written yet. It is empty for a terminal that was never here.
func (r *Registry) past(ctx context.Context, token string) (past, error) {
	if c := r.journal.find(token); c != nil {
		return past{c.record(), c.recently()}, nil
	}
	t, err := r.c.Store.Terminal(ctx, token)
	if errors.Is(err, store.ErrNotFound) {
		return past{}, nil
	}
	return past{Terminal: t}, err
}

// record returns what is to be kept of c: the state, and where the next
// connection goes on. While c lives it names the node, so that one who finds
// the record after the server has died knows that it may be out of date.
func (c *Channel) record() store.Terminal {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := store.Terminal{
		State: c.state, AppVersion: c.state[appVersion], Seen: c.r.c.Now().UTC(),
		Cursors: make(map[string]store.Cursor, len(c.cursors)+len(c.feeds)),
	}
	if c.ended == nil {
		t.Node = c.attributes.Node
	}
	for subject, cursor := range c.cursors {
		t.Cursors[subject] = cloned(cursor)
	}
	for i := range c.feeds {
		if f := &c.feeds[i]; f.group != nil {
			c.compact(f)
			t.Cursors[f.group.subject] = cloned(f.cursor)
		}
	}
	if c.sent != 0 {
		t.Cursors[store.TokenFilter(c.attributes.Token)] = store.Cursor{Floor: c.sent}
	}
	return t
}

func cloned(c store.Cursor) store.Cursor {
	c.Above = slices.Clone(c.Above)
	return c
}
