package client

import (
	"crypto/sha256"
	"slices"
)

// seenLimit is how many ids are remembered. It has to be more than the
// messages that can be on their way at once; the window of a server is 64.
const seenLimit = 1024

// A seenID stands for the id of a message. Ids are up to the publisher and of
// any length; 16 bytes of a hash are not.
type seenID [16]byte

func hashID(id string) seenID {
	sum := sha256.Sum256([]byte(id))
	return seenID(sum[:])
}

// seen is a set of the last seenLimit ids. It is searched from end to end,
// which takes a microsecond; a map beside it would be four times its size, and
// there are processes with thousands of terminals.
type seen struct {
	ids  []seenID // grows to seenLimit, and is a ring from then on
	next int      // the oldest of the ring
}

func (s *seen) has(id string) bool { return slices.Contains(s.ids, hashID(id)) }

func (s *seen) add(id string) {
	if len(s.ids) < seenLimit {
		s.ids = append(s.ids, hashID(id))
		return
	}
	s.ids[s.next] = hashID(id)
	s.next = (s.next + 1) % seenLimit
}

// appendTo appends the ids to b, oldest first, 16 bytes each.
func (s *seen) appendTo(b []byte) []byte {
	for i := range s.ids {
		id := s.ids[(s.next+i)%len(s.ids)]
		b = append(b, id[:]...)
	}
	return b
}

// readSeen reads what appendTo wrote; of too many it keeps the newest.
func readSeen(b []byte) (s seen) {
	n := len(b) / len(seenID{})
	for i := max(0, n-seenLimit); i < n; i++ {
		s.ids = append(s.ids, seenID(b[i*len(seenID{}):]))
	}
	return s
}
