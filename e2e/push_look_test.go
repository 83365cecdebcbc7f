package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"keyhole/push/client"
)

// A terminalLine is what `pushd terminals` says of one.
type terminalLine struct {
	Conn     string            `json:"conn"`
	User     string            `json:"user"`
	Device   string            `json:"device"`
	App      string            `json:"app"`
	Version  string            `json:"version"`
	Since    time.Time         `json:"since"`
	State    map[string]string `json:"state"`
	InFlight int               `json:"in_flight"`
	Held     int               `json:"held"`
	Behind   bool              `json:"behind"`
}

// terminals is who is connected to the node.
func (n *pushNode) terminals() (all []terminalLine) {
	n.t.Helper()
	for line := range strings.Lines(n.pushd("terminals")) {
		var one terminalLine
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			n.t.Fatalf("pushd terminals: %q: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

// terminal is the only one.
func (n *pushNode) terminal() terminalLine {
	n.t.Helper()
	all := n.terminals()
	if len(all) != 1 {
		n.t.Fatalf("pushd terminals lists %+v, want one", all)
	}
	return all[0]
}

// metricBecomes waits until a line of /metrics has this value.
func (n *pushNode) metricBecomes(line, want string) {
	n.t.Helper()
	var got string
	if !eventually(n.t, func() bool { got = n.metric(line); return got == want }) {
		n.t.Fatalf("%s = %q, want %q", line, got, want)
	}
}

// health asks for /healthz or /readyz.
func (n *pushNode) health(path string) (status int, text string) {
	n.t.Helper()
	resp, err := http.Get("http://" + n.admin + path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// tryPublish sends one request to publish, and returns a refusal as it comes.
func (s *pushSite) tryPublish(key string, message map[string]any) (receipt client.Receipt, err error) {
	s.t.Helper()
	err = ask(s.t, s.http(), http.Header{"Authorization": {"Bearer " + key}}, http.MethodPost, s.url()+"/v1/messages", message, &receipt)
	return receipt, err
}

// eventually asks again and again, for what nothing tells of, and reports whether it came true.
func eventually(t *testing.T, holds func() bool) bool {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	end := late()
	for !holds() {
		select {
		case <-again.C:
		case <-end:
			return false
		}
	}
	return true
}
