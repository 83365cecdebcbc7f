package relay

import (
	"reflect"
	"testing"
)

// handed says for each field of a connection how another process gets it, as a
// live upgrade will. "Sent" is written down as it is; a descriptor is sent with
// what is in it; "rebuilt" is made anew from what was sent.
var handed = map[reflect.Type]map[string]string{
	reflect.TypeFor[Conn](): {
		"fds":       "descriptors",
		"gen":       "rebuilt: no event of the former epoll reaches the new one",
		"flows":     "sent, field by field",
		"peek":      "sent: its bytes",
		"session":   "sent, by the session",
		"loop":      "rebuilt: any loop",
		"listener":  "sent: its address",
		"from":      "sent",
		"fromPort":  "sent",
		"dropped":   "sent",
		"idle":      "sent",
		"start":     "sent, as a time of CLOCK_MONOTONIC, which both processes share",
		"decided":   "sent, likewise",
		"dialed":    "sent, likewise",
		"active":    "sent, likewise",
		"deadline":  "sent, likewise",
		"wnext":     "rebuilt: put on the wheel for the deadline",
		"wprev":     "rebuilt",
		"wtick":     "rebuilt",
		"slot":      "rebuilt: any free one",
		"open":      "not sent: it is asked for at the accept only",
		"left":      "sent",
		"skipped":   "sent",
		"ahead":     "sent",
		"waits":     "not sent: who would wake the connection stays behind, so the session asks again",
		"key":       "sent: it is noted with the new number of the descriptor",
		"port":      "sent",
		"keepalive": "sent",
		"tended":    "sent: the sockets keep their options",
		"local":     "sent",
		"watched":   "rebuilt: both sockets are added to the new epoll, which reports what is ready",
		"asking":    "sent: where ahead is 0 the question has gone, and is not put again",
		"quiet":     "sent",
		"again":     "rebuilt: set while dialing without an epoll registration of the origin",
		"state":     "sent",
		"phase":     "sent",
		"reason":    "sent",
		"queued":    "rebuilt: everything readable is reported anew",
		"turns":     "rebuilt: 0",
		"first":     "rebuilt: either side may begin",
	},
	reflect.TypeFor[flow](): {
		"moved": "sent",
		"held":  "sent: its bytes",
		"pipe":  "both descriptors, with the bytes inside",
		"flags": "sent, but for readable, ending and finQueued, which are reported anew, and roomAsked, which is cleared",
		"calm":  "rebuilt: 0",
		"looks": "sent: the socket keeps its limit",
	},
	reflect.TypeFor[block](): {
		"buf":    "sent: what is between off and end",
		"off":    "rebuilt",
		"end":    "rebuilt",
		"mapped": "rebuilt",
		"owner":  "rebuilt, for an unfinished hello",
		"older":  "rebuilt",
		"newer":  "rebuilt",
	},
	reflect.TypeFor[pipe](): {
		"r":      "a descriptor",
		"w":      "a descriptor",
		"size":   "sent",
		"queued": "sent",
	},
}

// A connection's state is in one place and can be written down. A new field has
// to say how it is handed over.
func TestEveryFieldSaysHowItIsHandedOver(t *testing.T) {
	for typ, fields := range handed {
		for i := range typ.NumField() {
			if name := typ.Field(i).Name; fields[name] == "" {
				t.Errorf("%s.%s does not say how it is handed over: add it to the list, and to what hands it over", typ, name)
			}
		}
		if typ.NumField() != len(fields) {
			t.Errorf("%s has %d fields, and the list has %d", typ, typ.NumField(), len(fields))
		}
	}
}
