package e2e

import (
	"testing"

	"keyhole/push/client"
)

// A message goes from a publisher to a terminal, and neither the edge nor anybody between has to know.
func TestPushThroughTheEdge(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	p := s.phone(s.config("alice", "phone", "news"))
	p.until(client.Listening)
	s.publish(key, client.Publication{Token: p.Token(), Data: []byte("one")})
	s.publish(key, client.Publication{App: "news", Version: "1.0", Data: []byte("two")})
	p.expect("one", "two")
	p.hangUp()
	s.publish(key, client.Publication{Token: p.Token(), Data: []byte("three")})
	again := s.phone(s.config("alice", "phone", "news"))
	again.expect("three")
	if got := s.node.metric(`pushd_published_total{to="token"}`); got != "2" {
		t.Errorf("pushd_published_total of tokens = %q, want 2", got)
	}
	for _, r := range s.edge.atLeast(t, s.host, 3) {
		if r.Backend != "push" || r.Phase != "relay" {
			t.Errorf("record %+v, want backend push and phase relay", r)
		}
	}
}
