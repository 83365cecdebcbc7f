package channel

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// Event ends the channels that e is about; a store.Handler's method.
func (r *Registry) Event(e store.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Kind {
	case store.TokenRevoked:
		r.revoked.add(e.Kind, e.Key, r.c.Now())
		if c := r.tokens[e.Key]; c != nil {
			r.endLocked(c, wire.TokenRevoked, "the message token was revoked", true)
		}
	case store.SessionRevoked:
		r.revoked.add(e.Kind, e.Key, r.c.Now())
		r.endSessionLocked(e.Key)
	case store.UserDisabled:
		r.revoked.add(e.Kind, e.Key, r.c.Now())
		// From the end, since each that ends leaves the list.
		for own := r.users[e.Key]; len(own) > 0; own = r.users[e.Key] {
			r.endLocked(own[len(own)-1], wire.AccountDisabled, "by the operator", true)
		}
	case store.Attached:
		r.attachedLocked(e)
	}
}

// endSessionLocked looks at every channel: a revocation is rare, and an index
// would take memory of each.
func (r *Registry) endSessionLocked(id string) {
	var gone []*Channel
	for _, own := range r.users {
		for _, c := range own {
			if c.attributes.Session == id {
				gone = append(gone, c)
			}
		}
	}
	for _, c := range gone {
		r.endLocked(c, wire.SessionRevoked, "log in again", true)
	}
}

// attachedLocked ends the channel of a terminal that is on another node now.
func (r *Registry) attachedLocked(e store.Event) {
	c := r.tokens[e.Key]
	at, err := parseAttachment(e.Conn)
	if c == nil || err != nil || e.Node == r.c.Node {
		return
	}
	// The event may have been on its way for longer than the terminal stayed
	// there. With clocks that differ the wrong one of the two can win, and the
	// terminal connects again; both tell the same one.
	if cmp.Or(cmp.Compare(at, c.attachedAt), strings.Compare(e.Node, r.c.Node)) > 0 {
		r.endLocked(c, wire.Replaced, "the terminal has connected to another server", true)
	}
}

// attachment is the Conn of an event that says when a terminal attached: the
// time in nanoseconds of Unix time, and the name of the connection.
func attachment(at int64, conn string) string {
	return strconv.FormatInt(at, 10) + "/" + conn
}

func parseAttachment(text string) (at int64, err error) {
	digits, _, _ := strings.Cut(text, "/")
	return strconv.ParseInt(digits, 10, 64)
}

// revocations are those of late, for connections that are being made: a
// session may be revoked after it was looked up and before its channel is
// here to be ended. The zero value holds none.
type revocations struct {
	latest, before map[revocation]time.Time
}

type revocation struct{ kind, key string }

// maxRevocations is how many are known at the least, and half of how many at
// the most.
const maxRevocations = 2048

func (r *revocations) add(kind, key string, now time.Time) {
	if r.latest == nil || len(r.latest) >= maxRevocations {
		r.before, r.latest = r.latest, map[revocation]time.Time{}
	}
	r.latest[revocation{kind, key}] = now
}

// since reports whether key was revoked at t or after it.
func (r *revocations) since(kind, key string, t time.Time) bool {
	k := revocation{kind, key}
	at, known := r.latest[k]
	if !known {
		at, known = r.before[k]
	}
	return known && !at.Before(t)
}
