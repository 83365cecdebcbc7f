package channel

import "keyhole/push/store"

// An audience is what a message to an app is addressed to.
type audience struct{ app, version string }

// A group is the channels of one audience.
type group struct {
	audience
	subject string // of the store, for its backlog
	members map[*Channel]struct{}
}

// subjectOf returns the store's subject of an audience.
func subjectOf(a audience) string {
	subjects := store.AppSubjects(a.app, a.version)
	if a.version == store.EveryVersion {
		return subjects[len(subjects)-1]
	}
	return subjects[0]
}

// joinLocked returns the group of a with c in it.
func (r *Registry) joinLocked(c *Channel, a audience) *group {
	g := r.groups[a]
	if g == nil {
		g = &group{audience: a, subject: subjectOf(a), members: map[*Channel]struct{}{}}
		r.groups[a] = g
	}
	g.members[c] = struct{}{}
	return g
}

// leaveLocked takes c out of the group of its feed. The feed keeps the group:
// it names the cursor in the record that is still to be written.
func (r *Registry) leaveLocked(c *Channel, f *feed) {
	if f.group == nil {
		return
	}
	delete(f.group.members, c)
	if len(f.group.members) == 0 && r.groups[f.group.audience] == f.group {
		delete(r.groups, f.group.audience)
	}
}
