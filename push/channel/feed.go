package channel

import (
	"slices"

	"keyhole/push/store"
)

// The feeds of a channel.
const (
	ofToken   = iota
	ofApp     // what is for every version of the app
	ofVersion // what is for one
	feedCount
)

// maxAbove is how many acknowledgements beyond the first message that is not
// acknowledged a cursor keeps. Those that it forgets are sent once more on the
// next connection.
const maxAbove = 1000

// maxCursors is how many cursors of versions that the terminal has left are
// kept: a terminal may name any version, as often as it likes.
const maxCursors = 8

// A feed is one of the subjects that a channel delivers.
type feed struct {
	group   *group       // nil: of the token, or there is none
	pos     uint64       // every message up to here was considered
	missed  uint64       // the last that was offered while the channel was behind
	skipped uint64       // the first that was passed over to be considered again; 0: none
	cursor  store.Cursor // of an app: what is done with
}

// openFeeds joins the groups that the attributes and the state name. It and the
// functions below expect the locks of the registry and of the channel.
func (c *Channel) openFeeds() {
	c.openFeed(ofApp, store.EveryVersion)
	c.openVersion()
}

// openVersion opens the feed of the version. Without one, or with a version
// that has the name of all, there is none.
func (c *Channel) openVersion() {
	if v := c.state[appVersion]; v != "" && v != store.EveryVersion {
		c.openFeed(ofVersion, v)
	}
}

func (c *Channel) openFeed(i int, version string) {
	g := c.r.joinLocked(c, audience{c.attributes.App, version})
	cursor := c.cursors[g.subject]
	delete(c.cursors, g.subject)
	c.feeds[i] = feed{group: g, pos: cursor.Floor, cursor: cursor}
}

// changeVersion leaves the feed of one version for that of another.
func (c *Channel) changeVersion() {
	if f := &c.feeds[ofVersion]; f.group != nil {
		c.r.leaveLocked(c, f)
		c.compact(f)
		c.keepCursor(f.group, f.cursor)
		c.dropHeld(func(h *held) bool { return h.feed == ofVersion })
		*f = feed{}
	}
	c.openVersion()
	c.fallBehind()
}

// keepCursor remembers how far an app subject that is not a feed was followed.
func (c *Channel) keepCursor(g *group, cursor store.Cursor) {
	if c.cursors == nil {
		c.cursors = map[string]store.Cursor{}
	}
	c.cursors[g.subject] = cursor
	c.trimCursors()
}

func (c *Channel) trimCursors() {
	for len(c.cursors) > maxCursors {
		delete(c.cursors, lowest(c.cursors))
	}
}

// lowest returns the subject whose cursor was moved least lately.
func lowest(cursors map[string]store.Cursor) string {
	var low string
	for subject, cursor := range cursors {
		if low == "" || cursor.Floor < cursors[low].Floor {
			low = subject
		}
	}
	return low
}

// feedOf returns the index of the feed that m came by.
func feedOf(m *store.Message) int {
	switch {
	case m.Token != "":
		return ofToken
	case m.Version == store.EveryVersion:
		return ofApp
	}
	return ofVersion
}

// subject returns what the store calls feed i, and "" where there is none.
func (c *Channel) subject(i int) string {
	switch g := c.feeds[i].group; {
	case i == ofToken:
		return store.TokenFilter(c.attributes.Token)
	case g != nil:
		return g.subject
	}
	return ""
}

// acknowledge notes in an app's cursor that seq is done with.
func (c *Channel) acknowledge(g *group, seq uint64) {
	if i := slices.IndexFunc(c.feeds[:], func(f feed) bool { return f.is(g) }); i >= 0 {
		c.feeds[i].cursor = passed(c.feeds[i].cursor, seq)
		c.compact(&c.feeds[i])
		return
	}
	// Of a version that the terminal has left since.
	c.keepCursor(g, passed(c.cursors[g.subject], seq))
}

// is reports whether f is the feed of g. A group that was left and joined again
// is another one for the same audience.
func (f *feed) is(g *group) bool { return f.group != nil && f.group.audience == g.audience }

// passed returns the cursor that knows that seq is done with too.
func passed(c store.Cursor, seq uint64) store.Cursor {
	at, found := slices.BinarySearch(c.Above, seq)
	if !found && seq > c.Floor {
		c.Above = slices.Insert(c.Above, at, seq)
	}
	return raised(c, c.Floor)
}

// raised returns the cursor that knows that everything up to floor is done
// with.
func raised(c store.Cursor, floor uint64) store.Cursor {
	c.Floor = max(c.Floor, floor)
	at, _ := slices.BinarySearch(c.Above, c.Floor+1)
	at = max(at, len(c.Above)-maxAbove)
	if at == len(c.Above) {
		c.Above = nil
	} else {
		c.Above = slices.Delete(c.Above, 0, at)
	}
	return c
}

// compact raises the floor of f to the message before the first that is not
// done with.
func (c *Channel) compact(f *feed) {
	floor := f.pos
	if open := c.firstOpen(f); open != 0 {
		floor = min(floor, open-1)
	}
	f.cursor = raised(f.cursor, floor)
}

// firstOpen returns the first message of f that is in flight, held or passed
// over for now, and 0 if none is.
func (c *Channel) firstOpen(f *feed) uint64 {
	first := f.skipped
	lower := func(seq uint64) {
		if first == 0 || seq < first {
			first = seq
		}
	}
	for i := range c.inflight {
		if o := &c.inflight[i]; o.group != nil && f.is(o.group) {
			lower(o.seq)
			break
		}
	}
	for i := range c.held {
		if h := &c.held[i]; &c.feeds[h.feed] == f {
			lower(h.seq)
			break
		}
	}
	return first
}
