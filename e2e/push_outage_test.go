package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"keyhole/push/client"
	"keyhole/push/wire"
)

// A cluster that is not there is named; once it is there, the server starts.
func TestPushUnreachableCluster(t *testing.T) {
	t.Parallel()
	stores, urls := natsFor(t)
	first, _, _ := strings.Cut(urls, ",")
	n := newPushNode(t, "push", fmt.Sprintf("store: {url: %q, secret: %q}", urls, secretFile(t)))
	for _, store := range stores {
		store.Stop()
	}
	n.run()
	n.Expect(t, `"level":"WARN".*`+strings.TrimPrefix(first, "nats://"))
	n.Process.Signal(syscall.SIGTERM)
	if status := n.Status(t); status != 1 || !strings.Contains(n.Printed(), first) || !strings.Contains(n.Printed(), "not reached") {
		t.Errorf("without its cluster pushd ends with %d and says %q, want 1 and that %s was not reached", status, n.Printed(), first)
	}
	n.run()
	n.Expect(t, `"level":"WARN".*`+strings.TrimPrefix(first, "nats://"))
	for _, store := range stores {
		store.start()
	}
	n.Expect(t, pushListening.String())
	n.user("alice")
}

// A cluster that goes away is named to publishers and in /readyz, and nothing has to be restarted when it is back.
func TestPushClusterThatGoesAway(t *testing.T) {
	t.Parallel()
	s, nodes, stores := clusterFor(t, 1)
	n := nodes[0]
	n.user("alice")
	key := n.publisher("newsroom")
	h := s.handset("alice", "phone", "news")
	h.listen(nil)
	for _, store := range stores {
		store.Stop()
	}
	if _, err := s.tryPublish(key, map[string]any{"token": h.token, "text": "lost?", "id": "1"}); !isCode(err, wire.StoreUnavailable) {
		t.Errorf("publish without the cluster: %v, want %s", err, wire.StoreUnavailable)
	}
	if status, text := n.health("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, stores[0].url) {
		t.Errorf("/readyz is %d %q without the cluster, want 503 and %s", status, text, stores[0].url)
	}
	for _, store := range stores {
		store.start()
	}
	s.publish(key, client.Publication{Token: h.token, Data: []byte("it is back"), ID: "2"})
	h.wantMessage("it is back")
}

// At SIGTERM the terminals are told, go to the other node of the same backend, and miss nothing; one that stays is
// closed at the end.
func TestPushDrainMovesTerminals(t *testing.T) {
	t.Parallel()
	s, nodes, _ := clusterFor(t, 2, "drain: 20s")
	leaving := s.at(nodes[0])
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	var moved atomic.Bool // before it, everybody is at the first node
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if moved.Load() {
			return s.dial(ctx, network, address)
		}
		return leaving.dial(ctx, network, address)
	}
	var phones []*phone
	for i := range 4 {
		c := s.config("alice", fmt.Sprintf("phone%d", i), "news")
		c.Dial = dial
		phones = append(phones, s.phone(c))
	}
	for _, p := range phones {
		p.until(client.Listening)
	}
	stays := leaving.handset("alice", "tablet", "news")
	stays.listen(nil)

	moved.Store(true)
	nodes[0].Process.Signal(syscall.SIGTERM)
	if d := want[*wire.Drain](stays); d.DelayMS < 0 || d.DelayMS >= 20_000 {
		t.Errorf("the terminal is to leave after %d ms, want less than 20000", d.DelayMS)
	}
	if status, text := nodes[0].health("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "draining") {
		t.Errorf("/readyz is %d %q, want 503 draining", status, text)
	}
	var texts []string
	for i := range 20 { // while they move
		texts = append(texts, fmt.Sprintf("message %d", i))
		s.publish(key, client.Publication{App: "news", Version: "1.0", Data: []byte(texts[i])})
	}
	for _, p := range phones {
		p.until(client.Drained)
		p.until(client.Listening)
	}
	texts = append(texts, "at the other node")
	s.publish(key, client.Publication{App: "news", Version: "1.0", Data: []byte("at the other node")})
	for _, p := range phones {
		p.expect(texts...)
	}
	stays.servedUntilTheEnd(texts)
	if status := nodes[0].Status(t); status != 0 || !strings.Contains(nodes[0].Printed(), `"msg":"stopped"`) {
		t.Errorf("pushd ends with %d, want 0 and that it has stopped", status)
	}
	if got := nodes[1].metric("pushd_terminals"); got != "4" {
		t.Errorf("the other node has %s terminals, want 4", got)
	}
}

// servedUntilTheEnd wants messages in their order until the server says that it drains.
func (h *handset) servedUntilTheEnd(texts []string) {
	h.t.Helper()
	for i := 0; ; i++ {
		f, err := h.receive()
		if err != nil {
			h.t.Fatalf("after %d messages: %v", i, err)
		}
		switch f := f.(type) {
		case *wire.Message:
			if i >= len(texts) || string(f.Data) != texts[i] {
				h.t.Fatalf("a message %q has come, want number %d of %q", f.Data, i, texts)
			}
		case *wire.Error:
			if f.Code != wire.Draining {
				h.t.Errorf("the terminal that stays is closed with %+v, want %s", f, wire.Draining)
			}
			return
		}
	}
}
