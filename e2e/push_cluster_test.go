package e2e

import (
	"testing"

	"keyhole/push/client"
	"keyhole/push/wire"
)

// Two nodes over one NATS cluster are one service: a session, a token and a message of one are the other's.
func TestPushClusterIsOneService(t *testing.T) {
	t.Parallel()
	s, nodes, _ := clusterFor(t, 2, "apps: {web: {binding: waived}}")
	here, there := s.at(nodes[0]), s.at(nodes[1])
	here.node.user("alice")
	key := here.node.publisher("newsroom")

	phone := here.phone(here.config("alice", "phone", "news"))
	tablet := there.phone(there.config("alice", "tablet", "news"))
	phone.until(client.Listening)
	tablet.until(client.Listening)
	there.publish(key, client.Publication{Token: phone.Token(), Data: []byte("to the phone, by the other node")})
	here.publish(key, client.Publication{Token: tablet.Token(), Data: []byte("to the tablet, by the other node")})
	here.publish(key, client.Publication{App: "news", Version: "1.0", Data: []byte("to both")})
	phone.expect("to the phone, by the other node", "to both")
	tablet.expect("to the tablet, by the other node", "to both")

	// A terminal that moves has its session and its token with it, and the connection that it left ends.
	profile := client.FileProfile(t.TempDir() + "/profile")
	c := here.config("alice", "watch", "news")
	c.Profile = profile
	watch := here.phone(c)
	watch.until(client.Listening)
	token := watch.Token()
	c = there.config("alice", "watch", "news")
	c.Profile, c.Password = profile, ""
	moved := there.phone(c)
	moved.until(client.Listening)
	if moved.Token() != token {
		t.Errorf("at the other node the token is %q, want %q", moved.Token(), token)
	}
	if waits := watch.until(client.Waiting); !isCode(waits.Err, wire.Replaced) {
		t.Errorf("the connection that was left ended with %v, want %s", waits.Err, wire.Replaced)
	}
	watch.hangUp()

	// What one node revokes ends at the other.
	here.node.pushd("token", "revoke", tablet.Token())
	if err := <-tablet.ended; !isCode(err, wire.TokenRevoked) {
		t.Errorf("the terminal of a revoked token ended with %v, want %s", err, wire.TokenRevoked)
	}
	there.node.pushd("user", "disable", "alice")
	if err := <-phone.ended; !isCode(err, wire.AccountDisabled) {
		t.Errorf("the terminal of a disabled account ended with %v, want %s", err, wire.AccountDisabled)
	}
}
