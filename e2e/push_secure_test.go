package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"keyhole/push/client"
	"keyhole/push/wire"
)

// P1: whoever taps the line between a terminal and the edge sees records of TLS, and nothing that was said.
func TestP1EverythingBothWaysIsInsideTLS(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	tp := s.tap()
	h := s.stranger("alice", "phone", "news")
	h.way = tp.dial
	if err := h.login(pushPassword); err != nil {
		t.Fatal(err)
	}
	h.askToken()
	h.listen(map[string]string{"network": "wifi"})
	if v := h.tls.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("the terminal speaks %s, want TLS 1.3", tls.VersionName(v))
	}
	s.publish(s.node.publisher("newsroom"), client.Publication{Token: h.token, Data: []byte("for her eyes only")})
	h.wantMessage("for her eyes only")
	h.beat() // the acknowledgement is through
	copies := tp.copies()
	if len(copies) != 6 {
		t.Fatalf("%d halves of connections were tapped, want those of a login, a request for a token and a terminal", len(copies))
	}
	for _, b := range copies {
		if err := recordsOfTLS(b); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{pushPassword, "alice", h.session, h.token, "for her eyes only", "wifi", "HTTP/1.1", wire.Subprotocol} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("the line shows %q", secret)
			}
		}
	}
	old := s.http()
	old.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: shared.ca.pool, MaxVersion: tls.VersionTLS12}
	if resp, err := old.Get(s.url()); err == nil {
		t.Errorf("a client of TLS 1.2 is answered %s, want no connection", resp.Status)
	}
}

// recordsOfTLS checks that b is one record after the other, all of them encrypted but for the hellos (RFC 8446
// section 5), and that there are some.
func recordsOfTLS(b []byte) error {
	encrypted := 0
	for len(b) >= 5 {
		kind, length := b[0], int(binary.BigEndian.Uint16(b[3:]))
		if b[1] != 3 || length > 16384+256 || kind < 20 || kind > 23 {
			return fmt.Errorf("%x is not the head of a TLS record", b[:5])
		}
		if kind == 23 {
			encrypted++
		} else if encrypted > 0 {
			return fmt.Errorf("a record of type %d after %d encrypted ones", kind, encrypted)
		}
		b = b[min(5+length, len(b)):]
	}
	if encrypted < 2 {
		return fmt.Errorf("%d encrypted records, want more", encrypted)
	}
	return nil
}

// P2: TLS first, then the upgrade, then the attributes of whoever proved to have them, then a channel that is created
// or updated.
func TestP2ConnectionIsEstablishedInParts(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	h := s.handset("alice", "phone", "news")
	h.version = "2.0"

	h.dial()
	h.send(h.hello())
	h.challenged()
	if all := s.node.terminals(); len(all) != 0 {
		t.Errorf("before the confirmation there are terminals %+v, want none", all)
	}
	h.send(h.confirm())
	h.confirmed()
	attached := s.node.terminal()
	if a := attached; a.Conn == "" || a.User != "alice" || a.Device != "phone" || a.App != "news" || a.Version != "2.0" || a.State != nil {
		t.Errorf("the terminal is %+v, want alice, phone, news, 2.0 and no state yet", a)
	}

	h.send(&wire.Listen{Token: h.token, State: map[string]string{"network": "wifi"}})
	want[*wire.Listening](h)
	updated := s.node.terminal()
	if updated.Conn != attached.Conn || updated.State["network"] != "wifi" {
		t.Errorf("the terminal is %+v, want connection %s and network wifi", updated, attached.Conn)
	}
	h.send(&wire.State{Set: map[string]string{"app_version": "2.1"}})
	want[*wire.OK](h)
	if got := s.node.terminal(); got.Conn != attached.Conn || got.Version != "2.1" {
		t.Errorf("the terminal is %+v, want connection %s and version 2.1", got, attached.Conn)
	}

	tablet := s.handset("alice", "tablet", "news")
	tablet.listen(nil)
	again := *h
	again.line = nil
	again.listen(nil)
	t.Cleanup(again.hangUp)
	h.wantEnd(wire.Replaced)
	s.node.metricBecomes("pushd_terminals", "2")
	for _, one := range s.node.terminals() {
		if one.Conn == attached.Conn {
			t.Errorf("the channel of the replaced connection %s is still there", one.Conn)
		}
	}
	if got := s.node.metric("pushd_connections_total"); got != "3" {
		t.Errorf("pushd_connections_total = %s, want 3", got)
	}
}

// P3: what is published comes over the connection that the terminal has.
func TestP3PublishSideSendsToTheTerminal(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	p := s.phone(s.config("alice", "phone", "news"))
	p.until(client.Listening)
	before := s.node.terminal()
	receipt := s.publish(key, client.Publication{Token: p.Token(), Data: []byte("good morning"), ContentType: "text/plain", Topic: "greeting", Urgency: "high"})
	m := p.next()
	if string(m.Data) != "good morning" || m.ID != receipt.ID || m.Seq != receipt.Seq || m.To != "token" || m.ContentType != "text/plain" || m.Topic != "greeting" || m.Urgency != "high" || m.Redelivered {
		t.Errorf("message %+v, want the one of receipt %+v as it was published", m, receipt)
	}
	s.node.metricBecomes("pushd_acknowledged_total", "1")
	if after := s.node.terminal(); after.Conn != before.Conn || after.InFlight != 0 {
		t.Errorf("after the message the terminal is %+v, want connection %s and nothing in flight", after, before.Conn)
	}
	s.node.metricBecomes("pushd_delivered_total", "1") // counted once it is sent, which the acknowledgement may overtake
	s.node.metricBecomes("pushd_replayed_total", "0")
}

// P4: a terminal reports its state, whole and in parts, and what cannot be a state changes nothing.
func TestP4TerminalReportsItsState(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	h := s.handset("alice", "phone", "news")
	h.listen(map[string]string{"network": "wifi", "foreground": "true", "battery": "80", "app_version": "2.1", "home.door": "shut"})
	h.send(&wire.State{Set: map[string]string{"network": "cellular", "battery": "79"}, Unset: []string{"foreground"}})
	want[*wire.OK](h)
	reported := map[string]string{"network": "cellular", "battery": "79", "app_version": "2.1", "home.door": "shut"}
	if got := s.node.terminal().State; !maps.Equal(got, reported) {
		t.Errorf("state %v, want %v", got, reported)
	}
	for name, bad := range map[string]*wire.State{
		"a key that is none": {Set: map[string]string{"battery": "1", "No Key": "x"}},
		"a long value":       {Set: map[string]string{"battery": "1", "note": string(make([]byte, 257))}},
	} {
		h.send(bad)
		h.wantRefusal(wire.StateInvalid)
		if got := s.node.terminal().State; !maps.Equal(got, reported) {
			t.Errorf("after %s the state is %v, want %v", name, got, reported)
		}
	}

	// The client that apps embed keeps its state while it is away, and reports it when it is back.
	p := s.phone(s.config("alice", "tablet", "news"))
	if err := p.SetState(map[string]string{"network": "wifi"}); err != nil {
		t.Fatal(err)
	}
	p.until(client.Listening)
	h.hangUp()
	s.node.metricBecomes("pushd_terminals", "1")
	if got := s.node.terminal().State["network"]; got != "wifi" {
		t.Errorf("network of the tablet is %q, want wifi", got)
	}
}

// P5: a message with a condition is held while that is false, overtaken by others, and sent when a report makes it true.
func TestP5ConditionHoldsUntilTheStateMatches(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	c := s.config("alice", "phone", "news")
	c.AppVersion, c.State = "2.0", map[string]string{"network": "cellular"}
	p := s.phone(c)
	p.until(client.Listening)
	s.publish(key, client.Publication{Token: p.Token(), Data: []byte("a film"), Condition: "network=wifi"})
	s.publish(key, client.Publication{App: "news", Version: "*", Data: []byte("what is new in 2.10"), Condition: "app_version>=2.10"})
	s.publish(key, client.Publication{Token: p.Token(), Data: []byte("a text")})
	p.expect("a text")
	s.node.metricBecomes("pushd_held", "2")

	set := func(key, value string) {
		t.Helper()
		if err := p.SetState(map[string]string{key: value}); err != nil {
			t.Fatal(err)
		}
	}
	set("network", "wifi")
	p.expect("a film")
	s.publish(key, client.Publication{Token: p.Token(), Data: []byte("another film"), Condition: "network=wifi"})
	p.expect("another film")
	set("app_version", "2.9")
	s.publish(key, client.Publication{Token: p.Token(), Data: []byte("for 2.9"), Condition: "app_version=2.9"})
	p.expect("for 2.9")
	s.node.metricBecomes("pushd_held", "1")
	set("app_version", "2.11")
	p.expect("what is new in 2.10")
	s.node.metricBecomes("pushd_held", "0")

	_, err := s.tryPublish(key, map[string]any{"token": p.Token(), "text": "x", "condition": "network~wifi"})
	if !isCode(err, wire.ConditionInvalid) {
		t.Errorf("publish with a condition that is none: %v, want %s", err, wire.ConditionInvalid)
	}
}

// P6: what came while a terminal was away is sent when it is back, in order and once, and what may be there twice has
// one id.
func TestP6WhatWasDueWhileAwayIsSentInOrder(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	h := s.handset("alice", "phone", "news")
	h.listen(nil)
	h.hangUp()
	s.node.metricBecomes("pushd_terminals", "0") // what is sent to the connection that has gone is sent twice
	var texts []string
	ids := map[string]string{}
	for i := range 100 { // more than the window of 64
		p := client.Publication{Token: h.token, Data: fmt.Appendf(nil, "message %d", i)}
		if i%3 == 2 {
			p.Token, p.App, p.Version = "", "news", "1.0"
		}
		texts = append(texts, string(p.Data))
		ids[string(p.Data)] = s.publish(key, p).ID
	}
	h.listen(nil)
	for _, text := range texts {
		if m := h.wantMessage(text); m.ID != ids[text] || m.Redelivered {
			t.Fatalf("message %+v, want id %s, sent for the first time", m, ids[text])
		}
	}

	s.node.metricBecomes("pushd_store_messages", "33") // those to the app, which others may still come for

	// What was sent and not acknowledged comes again, under the same id.
	id := s.publish(key, client.Publication{Token: h.token, Data: []byte("twice")}).ID
	if m := want[*wire.Message](h); m.ID != id || m.Redelivered {
		t.Errorf("message %+v, want id %s, sent for the first time", m, id)
	}
	h.hangUp()
	h.listen(nil)
	if m := h.wantMessage("twice"); m.ID != id || !m.Redelivered {
		t.Errorf("message %+v, want id %s, redelivered", m, id)
	}
	h.beat() // the acknowledgement is through
	h.hangUp()
	s.publish(key, client.Publication{Token: h.token, Data: []byte("the last one")})
	h.listen(nil)
	h.wantMessage("the last one")
}

// P6: a connection that breaks with the edge is restored, and so is what was due meanwhile.
func TestP6RestoredConnectionMissesNothing(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	key := s.node.publisher("newsroom")
	c := s.config("alice", "phone", "news")
	c.MinBackoff, c.MaxBackoff = 50*time.Millisecond, 500*time.Millisecond
	p := s.phone(c)
	p.until(client.Listening)
	for round := range 3 {
		s.edge.Stop()
		p.until(client.Waiting)
		var texts []string
		for i := range 5 {
			texts = append(texts, fmt.Sprintf("round %d, message %d", round, i))
			s.at(s.node).publish(key, client.Publication{Token: p.Token(), Data: []byte(texts[i])})
		}
		s.startEdge()
		p.expect(texts...)
	}
}
