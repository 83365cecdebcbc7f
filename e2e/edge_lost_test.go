package e2e

import (
	"io"
	"syscall"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// prompt is a bound for a peer that has vanished, well above three times the keep-alive of these
// tests, 1 s, and well below the kernel's own patience: 2 hours when nothing is sent, a quarter of
// an hour when something is.
const prompt = 60_000 // milliseconds

// lostPlan is an edge whose peers are asked each second.
func (w three) lostPlan(t *testing.T) (*edge, *testkit.Origin) {
	t.Helper()
	o := w.origins.listen(threeOrigin)
	return planFor(t, plan{
		through: w.middle.through(), listen: threeListen, settings: "timeouts: {keepalive: 1s}\n",
		routes: route("*.test", threeOrigin) +
			"  - {sni: off.example, backend: \"" + threeOrigin + "\", keepalive: off}\n",
	}), o
}

// A peer that vanishes sends no end. The edge notices within some seconds, whether it has something
// to send or not, and whichever end of the link goes down.
func TestPeerVanishes(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		link         func(w three) (*netns, string)
		busy         bool
	}{
		{"client-idle", "client_lost", func(w three) (*netns, string) { return w.clients, "client-far" }, false},
		{"client-busy", "client_lost", func(w three) (*netns, string) { return w.clients, "client-far" }, true},
		{"client-idle-here", "client_lost", func(w three) (*netns, string) { return w.middle, "client" }, false},
		{"client-busy-here", "client_lost", func(w three) (*netns, string) { return w.middle, "client" }, true},
		{"origin-idle", "origin_lost", func(w three) (*netns, string) { return w.origins, "origin-far" }, false},
		{"origin-busy", "origin_lost", func(w three) (*netns, string) { return w.origins, "origin-far" }, true},
		{"origin-idle-here", "origin_lost", func(w three) (*netns, string) { return w.middle, "origin" }, false},
		{"origin-busy-here", "origin_lost", func(w three) (*netns, string) { return w.middle, "origin" }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newThree(t)
			e, o := w.lostPlan(t)
			client, server := w.pair(t, o, "lost.test")
			at, name := c.link(w)
			at.ip("link", "set", name, "down")
			stays := server
			if c.reason == "origin_lost" {
				stays = client
			}
			if c.busy {
				stays.Send("to nobody")
			}
			r := e.only(t, "lost.test", c.reason)
			if r.Total > prompt || r.Error != "" {
				t.Errorf("record %+v, want total_ms below %d, and no error", r, prompt)
			}
			t.Logf("noticed after %.0f ms", r.Total)
			stays.WantEnd(syscall.ECONNRESET)
		})
	}
}

// A peer that resets the connection has not vanished.
func TestPeerResets(t *testing.T) {
	t.Parallel()
	w := newThree(t)
	e, o := w.lostPlan(t)
	client, server := w.pair(t, o, "client.test")
	client.Reset()
	server.WantEnd(syscall.ECONNRESET)
	e.only(t, "client.test", "client_reset")
	client, server = w.pair(t, o, "origin.test")
	server.Reset()
	client.WantEnd(syscall.ECONNRESET)
	e.only(t, "origin.test", "origin_reset")
}

// A peer that reads nothing for longer than a lost one is looked for answers the kernel, and is not
// lost.
func TestSlowReaderIsNotLost(t *testing.T) {
	for _, side := range []string{"client", "origin"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			w := newThree(t)
			e, o := w.lostPlan(t)
			reader, writer := w.pair(t, o, "slow.test")
			if side == "origin" {
				reader, writer = writer, reader
			}
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				writer.SendBytes(shared.blob)
			}()
			<-time.After(5 * time.Second)
			got := make([]byte, len(shared.blob))
			if n, err := io.ReadFull(reader, got); err != nil {
				t.Fatalf("read %d bytes of %d: %v", n, len(got), err)
			}
			if hexSum(got) != hexSum(shared.blob) {
				t.Errorf("SHA-256 of the %d bytes is %s, want %s", len(got), hexSum(got), hexSum(shared.blob))
			}
			<-sent
			// It goes on as before.
			reader.Send("thanks")
			writer.Want("thanks")
			writer.Close()
			reader.WantEnd(nil)
			reader.Close()
			e.only(t, "slow.test", map[string]string{"client": "origin_closed", "origin": "client_closed"}[side])
		})
	}
}

// A reader that stopped reading and then vanished is lost all the same. The kernel asks it ever more
// rarely, up to two minutes apart, so the longer it had stalled the later that is noticed.
func TestSlowReaderVanishes(t *testing.T) {
	const stalled = 2500 * time.Millisecond
	for _, side := range []string{"client", "origin"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			w := newThree(t)
			e, o := w.lostPlan(t)
			reader, writer := w.pair(t, o, "slow.test")
			gone := w.clients
			if side == "origin" {
				reader, writer = writer, reader
				gone = w.origins
			}
			failed := make(chan error)
			go func() {
				_, err := writer.Write(make([]byte, 64<<20))
				failed <- err
			}()
			<-time.After(stalled)
			gone.ip("link", "set", side+"-far", "down")
			if err := <-failed; err == nil {
				t.Errorf("64 MiB were written to a reader that is gone")
			}
			r := e.only(t, "slow.test", side+"_lost")
			t.Logf("noticed after %.0f ms, with the link up for %s", r.Total, stalled)
		})
	}
}

// A route may do without: its connections outlast a link that is down for a while.
func TestKeepaliveOff(t *testing.T) {
	t.Parallel()
	w := newThree(t)
	e, o := w.lostPlan(t)
	w.pair(t, o, "on.test")
	client, server := w.pair(t, o, "off.example")
	w.clients.ip("link", "set", "client-far", "down")
	w.origins.ip("link", "set", "origin-far", "down")
	if r := e.expect(t, "on.test", 1)[0]; r.Reason != "client_lost" && r.Reason != "origin_lost" {
		t.Errorf("record %+v, want one of the reasons client_lost and origin_lost", r)
	}
	w.clients.ip("link", "set", "client-far", "up")
	w.origins.ip("link", "set", "origin-far", "up")
	client.Send("still here")
	server.Want("still here")
	server.Send("so am I")
	client.Want("so am I")
}

// A route may have its own, and its peers are asked although those of the others are not.
func TestKeepaliveOfARoute(t *testing.T) {
	for _, side := range []string{"client", "origin"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			w := newThree(t)
			o := w.origins.listen(threeOrigin)
			e := planFor(t, plan{
				through: w.middle.through(), listen: threeListen, settings: "timeouts: {keepalive: off}\n",
				routes: "  - {sni: on.test, backend: \"" + threeOrigin + "\", keepalive: 1s}\n",
			})
			w.pair(t, o, "on.test")
			w.middle.ip("link", "set", side, "down")
			e.only(t, "on.test", side+"_lost")
		})
	}
}
