package proxy

import (
	"reflect"
	"testing"
)

// handed says for each field of a session how another process gets it; see the
// list of the same name in package relay.
var handed = map[string]string{
	"conn":      "rebuilt: the slot's",
	"desk":      "rebuilt: the loop's",
	"reading":   "sent, but for the configuration and the parser: a hello that is half read is read anew, by the new process's; what was said before it is not, so postgres is sent",
	"clear":     "sent",
	"asks":      "sent",
	"from":      "sent",
	"fromPort":  "sent",
	"guarding":  "sent",
	"proxied":   "sent: what else the header said is sent while the connection has no server yet",
	"heard":     "rebuilt: from the bytes that were held",
	"pool":      "sent: its name; one that is not known keeps the endpoint alone",
	"wait":      "rebuilt: the name is looked up anew",
	"endpoint":  "sent: its server and address",
	"tried":     "sent: their servers and addresses",
	"idle":      "sent",
	"keepalive": "sent",
	"key":       "sent",
	"id":        "sent, with the random bits of the process before it",
	"reject":    "sent",
	"outcome":   "sent",
	"literal":   "sent",
	"attempts":  "sent",
	"again":     "sent",
	"reason":    "sent",
	"phase":     "sent",
	"err":       "sent: its text",
	"name":      "sent",
	"alpn":      "sent",
	"ja4":       "sent",
	"route":     "sent",
}

func TestEveryFieldSaysHowItIsHandedOver(t *testing.T) {
	typ := reflect.TypeFor[session]()
	for i := range typ.NumField() {
		if name := typ.Field(i).Name; handed[name] == "" {
			t.Errorf("session.%s does not say how it is handed over: add it to the list, and to what hands it over", name)
		}
	}
	if typ.NumField() != len(handed) {
		t.Errorf("session has %d fields, and the list has %d", typ.NumField(), len(handed))
	}
}
