package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"keyhole/push/client"
	"keyhole/push/wire"
)

var (
	documentedMetric = regexp.MustCompile("`(pushd_[a-z_]+)")
	shownMetric      = regexp.MustCompile(`(?m)^# TYPE (pushd_[a-z_]+) `)
)

// Every metric of docs/pushd.md is there and counts what it says.
func TestPushMetricsCountWhatTheySay(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {web: {binding: waived}}")
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	h := s.handset("alice", "phone", "news")
	if err := s.stranger("alice", "phone", "news").login("not it"); !isCode(err, wire.LoginFailed) {
		t.Errorf("login with a wrong password: %v, want %s", err, wire.LoginFailed)
	}
	h.listen(nil)
	s.publish(key, client.Publication{Token: h.token, Data: []byte("live")})
	h.wantMessage("live")
	s.publish(key, client.Publication{App: "news", Version: "*", Data: []byte("held"), Condition: "network=wifi"})
	s.node.metricBecomes("pushd_held", "1")
	h.send(&wire.State{Set: map[string]string{"network": "wifi"}})
	want[*wire.OK](h)
	h.wantMessage("held")
	s.node.metricBecomes("pushd_store_messages", "1") // other terminals may come for it
	last := h.last
	next := newClientKey(t)
	h.send(h.renewal(next, last.STime, last.Epoch, last.Nonce))
	h.key, h.session = next, want[*wire.HeartbeatReply](h).Session
	h.hangUp()
	s.node.metricBecomes("pushd_terminals", "0") // or the next message is sent to the connection that has gone, too
	s.publish(key, client.Publication{Token: h.token, Data: []byte("away")})
	tablet := s.handset("alice", "tablet", "bank")
	tablet.listen(nil)
	s.publish(key, client.Publication{Token: tablet.token, Data: []byte("live too")})
	tablet.wantMessage("live too") // so the node knows of the one before by now
	h.listen(nil)
	h.wantMessage("away")
	web := s.handset("alice", "browser", "web")
	web.binding = wire.BindingNone
	web.verify()

	for line, want := range map[string]string{
		"pushd_terminals":                            "3",
		"pushd_connections_total":                    "4",
		`pushd_published_total{to="token"}`:          "3",
		`pushd_published_total{to="app"}`:            "1",
		"pushd_delivered_total":                      "4",
		"pushd_acknowledged_total":                   "4",
		"pushd_replayed_total":                       "2",
		"pushd_held":                                 "0",
		`pushd_refused_total{reason="login_failed"}`: "1",
		"pushd_publish_seconds_count":                "4",
		"pushd_delivery_seconds_count":               "2",
		`pushd_logins_total{result="ok"}`:            "3",
		`pushd_logins_total{result="login_failed"}`:  "1",
		"pushd_renewals_total":                       "1",
		"pushd_binding_waived_total":                 "1",
	} {
		s.node.metricBecomes(line, want)
	}
	if bytes, err := strconv.ParseFloat(s.node.metric("pushd_store_bytes"), 64); err != nil || bytes <= 0 {
		t.Errorf("pushd_store_bytes = %g, %v, want those of one message", bytes, err)
	}

	text, err := os.ReadFile("../docs/pushd.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown := s.node.health("/metrics")
	types := map[string]bool{}
	for _, m := range shownMetric.FindAllStringSubmatch(shown, -1) {
		types[m[1]] = true
	}
	documented := documentedMetric.FindAllStringSubmatch(string(text), -1)
	if len(documented) < 15 {
		t.Errorf("docs/pushd.md names %d metrics, want 15 or more", len(documented))
	}
	for _, m := range documented {
		if !types[m[1]] {
			t.Errorf("docs/pushd.md names %s, which /metrics does not have", m[1])
		}
	}
}

// Health is for who restarts the process, readiness for who sends it traffic.
func TestPushHealthAndReadiness(t *testing.T) {
	t.Parallel()
	n := pushNodeFor(t, "push")
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, text := n.health(path); status != http.StatusOK || strings.TrimSpace(text) != "ok" {
			t.Errorf("%s is %d %q, want 200 ok", path, status, text)
		}
	}
}

// The log is for programs, has what an operator did, and no secrets.
func TestPushLogIsStructured(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	h := s.handset("alice", "phone", "news")
	h.listen(nil)
	s.publish(key, client.Publication{Token: h.token, Data: []byte("a payload")})
	h.wantMessage("a payload")
	h.sendText("no frame")
	h.wantEnd(wire.BadFrame)
	s.node.pushd("token", "revoke", h.token)
	s.node.pushd("key", "revoke", "newsroom")
	s.node.pushd("session", "revoke", "alice")
	s.node.pushd("user", "disable", "alice")
	s.node.Terminate()
	printed := s.node.Printed()
	said := map[string]bool{}
	for line := range strings.Lines(printed) {
		var event struct {
			Time  time.Time
			Level string
			Msg   string
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.Time.IsZero() || event.Msg == "" {
			t.Errorf("log line %q: %v, want an object with a time and a msg", line, err)
		}
		if event.Level != "INFO" {
			t.Errorf("log line %q, want nothing above INFO", line)
		}
		said[event.Msg] = true
	}
	for _, want := range []string{"listening", "draining", "stopped", "user added", "user disabled", "key added", "key revoked", "token revoked", "sessions revoked"} {
		if !said[want] {
			t.Errorf("the log does not say %q:\n%s", want, printed)
		}
	}
	for _, secret := range []string{pushPassword, key, h.token, h.session, "a payload"} {
		if strings.Contains(printed, secret) {
			t.Errorf("the log has %q in it", secret)
		}
	}
}

// Two servers on one folder would each take the other's messages apart.
func TestPushSecondServerOnAFolderIsRefused(t *testing.T) {
	t.Parallel()
	n := pushNodeFor(t, "push")
	out := run(t, n.program, "serve", "--data", n.dir, "--listen", "127.0.0.1:0", "--admin", "off", "--cert", n.origin.id.certFile, "--key", n.origin.id.keyFile)
	if out.status != 1 || !strings.Contains(out.stderr, n.dir) || !strings.Contains(out.stderr, strconv.Itoa(n.Process.Pid)) {
		t.Errorf("the second server ends with %d and says %q, want 1, the folder %s and the process %d", out.status, out.stderr, n.dir, n.Process.Pid)
	}
	n.user("alice") // the first one goes on
}
