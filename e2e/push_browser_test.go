package e2e

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"keyhole/push/client"
)

// TestP1PageThroughTheEdge has a browser be a terminal: what somebody who looks at the page sees.
func TestP1PageThroughTheEdge(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {web: {binding: waived}}")
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	p := s.page()
	p.signIn("alice", "web")
	p.shows("phase", "listening")
	p.shows("who", "alice · web 1.0 · browser")
	p.shows("binding", "waived by the server")
	if got := s.node.metric("pushd_binding_waived_total"); got != "1" {
		t.Errorf("pushd_binding_waived_total = %q, want 1", got)
	}
	token := p.token()
	s.publish(key, client.Publication{Token: token, Data: []byte("<b>one</b>")})
	s.publish(key, client.Publication{App: "web", Version: "1.0", Data: []byte("two")})
	p.expect("<b>one</b>", "two")

	s.publish(key, client.Publication{Token: token, Data: []byte("at home"), Condition: "place=home"})
	s.publish(key, client.Publication{Token: token, Data: []byte("anywhere")})
	p.expect("<b>one</b>", "two", "anywhere")
	if got := s.node.metric("pushd_held"); got != "1" {
		t.Errorf("pushd_held = %q, want 1", got)
	}
	p.fill("state-form", map[string]string{"key": "place", "value": "home"})
	p.expect("<b>one</b>", "two", "anywhere", "at home")
	p.quiet()
	p.underPolicy()
	p.close() // or its connections stay, and the edge has no record of them yet
	for _, r := range s.edge.atLeast(t, s.host, 1) {
		if r.Backend != "push" || r.Phase != "relay" {
			t.Errorf("record %+v, want backend push and phase relay", r)
		}
	}
}

// underPolicy has the page do what its Content-Security-Policy forbids.
func (p *pushPage) underPolicy() {
	p.t.Helper()
	for what, want := range map[string]string{
		`document.head.append(Object.assign(document.createElement("script"), { textContent: "window.run = 1" }))`:     "script-src-elem",
		`document.head.append(Object.assign(document.createElement("script"), { src: "https://elsewhere.example/" }))`: "script-src-elem",
		`document.body.append(Object.assign(document.createElement("iframe"), { src: "/" }))`:                          "frame-src",
		`fetch("https://elsewhere.example/").catch(() => {})`:                                                          "connect-src",
	} {
		got := evaluate[string](p, `new Promise((resolve) => {
			document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective), { once: true });
			setTimeout(() => resolve("nothing"), 5000);
			`+what+`;
		})`)
		if got != want {
			p.t.Errorf("the policy that %s violates is %s, want %s", what, got, want)
		}
	}
	if evaluate[bool](p, `"run" in window`) {
		p.t.Error("a script that the page does not come with has run")
	}
}

// TestP2PageResumes kills the edge while messages arrive, publishes more while the page has no connection, and wants
// each shown once.
func TestP2PageResumes(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {web: {binding: waived}}")
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	p := s.page()
	p.signIn("alice", "web")
	p.shows("phase", "listening")
	token := p.token()
	direct := s.at(s.node)
	var all []string
	publish := func(to *pushSite, n int) {
		for range n {
			all = append(all, fmt.Sprintf("message %d", len(all)))
			to.publish(key, client.Publication{Token: token, Data: []byte(all[len(all)-1])})
		}
	}
	publish(s, 10)
	s.edge.Stop()
	publish(direct, 10)
	p.until(`keyhole.status.phase === "waiting"`)
	publish(direct, 10)
	s.startEdge()
	p.shows("phase", "listening")
	publish(s, 10)
	p.expect(all...)

	p.do(chromedp.Reload())
	p.shows("phase", "listening") // without the password
	publish(s, 1)
	p.expect(all...)
	p.quiet("network: ") // of connections that failed
}

func TestK6PageRenewsItsKey(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {web: {binding: waived}}", "heartbeat: 1s", "keys: {renew: 1s}")
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	p := s.page()
	p.signIn("alice", "web")
	p.until("keyhole.status.renewals >= 2 && keyhole.status.epoch >= 2")
	s.publish(key, client.Publication{Token: p.token(), Data: []byte("to the renewed key")})
	p.expect("to the renewed key")
	if got := s.node.metric("pushd_renewals_total"); got == "" || got == "0" || got == "1" {
		t.Errorf("pushd_renewals_total = %q, want 2 or more", got)
	}
	p.do(chromedp.Reload())
	p.shows("phase", "listening") // with the key that it kept
	p.until("keyhole.status.epoch >= 2")
	p.quiet()
}

func TestV5PageIsRefusedWhereBindingIsRequired(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	p := s.page()
	p.signIn("alice", "bank")
	p.shows("error", "binding_required")
	p.shows("phase", "refused")
	if got := s.node.metric(`pushd_refused_total{reason="binding_required"}`); got != "1" {
		t.Errorf("pushd_refused_total of binding_required = %q, want 1", got)
	}
	p.quiet()
}

// TestK7PageOfAnEncryptedApp looks at the frames inside TLS: neither a payload nor a state is in them.
func TestK7PageOfAnEncryptedApp(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {sealed: {binding: waived, encrypt: true}}")
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	p := s.page()
	p.signIn("alice", "sealed")
	p.shows("phase", "listening")
	token, text := p.token(), "for alice's eyes alone"
	s.publish(key, client.Publication{Token: token, Data: []byte(text)})
	s.publish(key, client.Publication{Token: token, Data: []byte("there"), Condition: "place=hideout"})
	p.expect(text)
	p.fill("state-form", map[string]string{"key": "place", "value": "hideout"})
	p.expect(text, "there")
	sent, received := p.frames()
	if !strings.Contains(received, `"encryption":"hpke"`) || strings.Contains(received, base64.StdEncoding.EncodeToString([]byte(text))) {
		t.Errorf("the page received, want messages sealed with hpke:\n%s", received)
	}
	if !strings.Contains(sent, `"sealed":`) || strings.Contains(sent, "hideout") {
		t.Errorf("the page sent, want states sealed:\n%s", sent)
	}
	p.quiet()
}
