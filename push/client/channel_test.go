package client

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"keyhole/push/wire"
)

// pipeClose is what it takes to close TLS over a net.Pipe: both ends write
// their close_notify, which nobody reads, for the 5 s that crypto/tls gives it.
const pipeClose = 6 * time.Second

func decode64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestP4StateIsKeptAndSentWholeThenInChanges(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.State = map[string]string{"network": "wifi", "battery": "80"}
	r := start(t, cfg)
	c := f.next()
	if err := r.SetState(map[string]string{"battery": "79"}, "nothing"); err != nil {
		t.Fatal(err)
	}
	if got, want := c.listening().State, (map[string]string{"network": "wifi", "battery": "79"}); !maps.Equal(got, want) {
		t.Errorf("Listen.State = %v, want %v", got, want)
	}
	r.SetState(map[string]string{"battery": "79", "foreground": "true"}, "network")
	got := must[*wire.State](c)
	if !maps.Equal(got.Set, map[string]string{"foreground": "true"}) || len(got.Unset) != 1 || got.Unset[0] != "network" || got.Ref == "" {
		t.Errorf("State = %+v, want what changed and a ref", got)
	}
	c.send(&wire.OK{Ref: got.Ref})
	r.SetState(map[string]string{"foreground": "true"}) // as it is: nothing is sent
	r.SetState(map[string]string{"battery": "78"})
	if got := must[*wire.State](c); !maps.Equal(got.Set, map[string]string{"battery": "78"}) {
		t.Errorf("State.Set = %v, want what changed", got.Set)
	}
	c.close()
	if got, want := f.next().listening().State, (map[string]string{"battery": "78", "foreground": "true"}); !maps.Equal(got, want) {
		t.Errorf("Listen.State = %v after a reconnect, want %v", got, want)
	}
}

func TestP4StateOutsideTheLimitsChangesNothing(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.State = map[string]string{"network": "wifi"}
	terminal, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	many := map[string]string{}
	for i := range stateKeys + 1 {
		many[fmt.Sprint("k", i)] = "v"
	}
	large := map[string]string{}
	for i := range 40 {
		large[fmt.Sprint("k", i)] = strings.Repeat("v", stateValueBytes)
	}
	for name, set := range map[string]map[string]string{
		"upper case":  {"Network": "wifi"},
		"empty key":   {"": "v"},
		"long key":    {strings.Repeat("k", 65): "v"},
		"long value":  {"k": strings.Repeat("v", stateValueBytes+1)},
		"many keys":   many,
		"much in all": large,
	} {
		if err := terminal.SetState(set, "network"); !isCode(err, wire.StateInvalid) {
			t.Errorf("%s: SetState() = %v, want %s", name, err, wire.StateInvalid)
		}
	}
	if got := terminal.currentState(); !maps.Equal(got, cfg.State) {
		t.Errorf("the state is %v, want %v as before", got, cfg.State)
	}
}

// The server refuses a frame that the connection survives.
func TestRefusedFrameIsNotTheEnd(t *testing.T) {
	f := newFake(t)
	r := start(t, f.config())
	c := f.connected()
	c.send(&wire.Error{Code: wire.StateInvalid, Ref: "2"}, &wire.Error{Code: wire.AckUnknown}, message("m", 1))
	r.message()
}

func TestRefusedListenEndsTheConnection(t *testing.T) {
	f := newFake(t)
	r := start(t, f.config())
	c := f.next().verified()
	c.send(&wire.Error{Code: wire.StateInvalid, Ref: must[*wire.Listen](c).Ref})
	r.waitingFor(wire.StateInvalid)
}

// A server of this version may say what this client has never heard of.
func TestUnknownFramesAndFieldsAreIgnored(t *testing.T) {
	f := newFake(t)
	r := start(t, f.config())
	c := f.connected()
	for _, text := range []string{`{"type":"weather"}`, `{"type":"message","id":"m","seq":1,"data":"","colour":"red"}`} {
		if err := c.ws.Write(context.Background(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.message().ID; got != "m" {
		t.Errorf("message %q, want m", got)
	}
}

func TestGarbageEndsTheConnection(t *testing.T) {
	for name, write := range map[string]func(*fakeConn) error{
		"not JSON": func(c *fakeConn) error {
			return c.ws.Write(context.Background(), websocket.MessageText, []byte("{"))
		},
		"null": func(c *fakeConn) error {
			return c.ws.Write(context.Background(), websocket.MessageText, []byte("null"))
		},
		"binary": func(c *fakeConn) error {
			return c.ws.Write(context.Background(), websocket.MessageBinary, []byte(`{"type":"ok"}`))
		},
		"a client's frame after the exchange": func(c *fakeConn) error {
			return c.ws.Write(context.Background(), websocket.MessageText, []byte(`{"type":"challenge"}`))
		},
		"reply to no heartbeat": func(c *fakeConn) error {
			return c.ws.Write(context.Background(), websocket.MessageText, []byte(`{"type":"heartbeat_reply"}`))
		},
		"too large": func(c *fakeConn) error {
			large := message("m", 1)
			large.Data = make([]byte, 1<<20)
			b, err := wire.Encode(large)
			if err != nil {
				return err
			}
			_ = c.ws.Write(context.Background(), websocket.MessageText, b) // the client has closed by then
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			f := newFake(t)
			r := start(t, f.config())
			if err := write(f.connected()); err != nil {
				t.Fatal(err)
			}
			if s := r.until(Waiting); s.Err == nil {
				t.Error("the connection ended without an error")
			}
			r.nothing()
			f.connected()
		})
	}
}

// Whatever a server says of itself, there is a bound to what it can ask for.
func TestOddLimitsAreBounded(t *testing.T) {
	const odd = math.MaxInt64
	for _, c := range []wire.Confirmed{
		{},
		{HeartbeatMS: -1, RenewMS: -1, Limits: wire.Limits{PayloadBytes: -1, Window: -1}},
		{HeartbeatMS: odd, RenewMS: odd, Limits: wire.Limits{PayloadBytes: odd, Window: odd, FrameBytes: odd}},
		{HeartbeatMS: 1, RenewMS: 1},
	} {
		f := newFake(t)
		f.confirmed = c
		r := start(t, f.config())
		conn := f.connected()
		conn.send(&wire.Drain{DelayMS: odd}, &wire.Error{Code: wire.AckUnknown, RetryAfterMS: -odd}, message("m", 1))
		r.message()
	}
	for ms, want := range map[int64]time.Duration{
		-1: defaultHeartbeat, 0: defaultHeartbeat, 1: minHeartbeat, odd: defaultHeartbeat, 1000 * 86400: maxHeartbeat, 60_000: time.Minute,
	} {
		if got := newHeartbeat(&wire.Confirmed{HeartbeatMS: ms}, 0).every; got != want {
			t.Errorf("heartbeats each %s for heartbeat_ms %d, want %s", got, ms, want)
		}
	}
}

// A close whose reason is a code says as much as an error frame.
func TestCloseReasonIsACode(t *testing.T) {
	f := newFake(t)
	r := start(t, f.config())
	_ = f.connected().ws.Close(websocket.StatusPolicyViolation, string(wire.AccountDisabled))
	if err := r.end(); !isCode(err, wire.AccountDisabled) {
		t.Errorf("Run() = %v, want %s", err, wire.AccountDisabled)
	}
}

func TestHeartbeatsComeWithinTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPipeFake(t)
		const every = 4 * time.Minute
		f.confirmed.HeartbeatMS = every.Milliseconds()
		start(t, f.config())
		c := f.connected()
		last, spread := time.Now(), map[time.Duration]bool{}
		for range 20 {
			h := must[*wire.Heartbeat](c)
			gap := time.Since(last)
			if gap > every || gap < every*9/10 {
				t.Errorf("a heartbeat after %s, want one in the last tenth of %s", gap, every)
			}
			spread[gap] = true
			last = time.Now()
			c.reply(h)
		}
		if len(spread) < 10 {
			t.Errorf("%d different intervals of 20, want jitter", len(spread))
		}
	})
}

func TestMissingHeartbeatReplyBreaksTheConnection(t *testing.T) {
	for every, want := range map[time.Duration]time.Duration{
		4 * time.Minute:       maxReplyWait,
		10 * time.Second:      20 * time.Second,
		50 * time.Millisecond: minReplyWait,
	} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newPipeFake(t)
				f.confirmed.HeartbeatMS = every.Milliseconds()
				r := start(t, f.config())
				must[*wire.Heartbeat](f.connected())
				sent := time.Now()
				r.until(Waiting)
				if got := time.Since(sent); got < want || got > want+pipeClose {
					t.Errorf("the connection ended %s after the heartbeat, want %s", got, want)
				}
				f.connected()
			})
		})
	}
}

// OnMessage may take as long as it likes; the heartbeats go on.
func TestHeartbeatsGoOnWithAMessageInHand(t *testing.T) {
	f := newFake(t)
	f.confirmed.HeartbeatMS = 20
	cfg := f.config()
	release := make(chan struct{})
	cfg.OnMessage = func(context.Context, Message) error { <-release; return nil }
	start(t, cfg)
	c := f.connected()
	c.send(message("m", 1))
	for range 5 {
		c.reply(must[*wire.Heartbeat](c))
	}
	close(release)
	for {
		switch f := c.read().(type) {
		case *wire.Heartbeat:
			c.reply(f)
		case *wire.Ack:
			return
		default:
			t.Fatalf("the terminal sent %T, want an ack", f)
		}
	}
}

// Before the delay is over all goes on; then the message in hand is finished
// and acknowledged, those behind it are left for the next connection, and that
// one comes without a wait.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newPipeFake(t)
		cfg := f.config()
		cfg.MinBackoff, cfg.MaxBackoff = time.Hour, time.Hour
		came, release := make(chan string, 10), make(chan struct{})
		cfg.OnMessage = func(_ context.Context, m Message) error {
			came <- m.ID
			if m.ID == "slow" {
				<-release
			}
			return nil
		}
		r := start(t, cfg)
		c := f.connected()
		r.until(Listening)
		time.Sleep(2 * livedAfter) // of the bubble's clock
		c.send(&wire.Drain{DelayMS: 5000})
		r.until(Drained)
		c.send(message("quick", 1))
		if got := c.acked(); got != 1 {
			t.Fatalf("ack of %d during the delay, want 1", got)
		}
		c.send(message("slow", 2), message("behind", 3))
		<-came
		<-came
		time.Sleep(10 * time.Second) // past the delay
		close(release)
		if got := c.acked(); got != 2 {
			t.Fatalf("ack of %d, want that of the message in hand", got)
		}
		f.connected()
		for s := <-r.statuses; s.Phase != Listening; s = <-r.statuses {
			if s.Phase == Waiting {
				t.Errorf("the next connection comes after %s, want it without a wait", s.Wait)
			}
		}
		if len(came) > 0 {
			t.Errorf("message %q was handed over after the delay", <-came)
		}
	})
}

// A server that drains terminals as they come is not tried without a pause.
func TestDrainOfAYoungConnectionBacksOff(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.MinBackoff, cfg.MaxBackoff = time.Hour, time.Hour
	r := start(t, cfg)
	f.connected().send(&wire.Drain{})
	r.until(Waiting)
}

func TestHandshakeTimeout(t *testing.T) {
	for name, silent := range map[string]func(*fake){
		"no challenge": func(f *fake) { f.next() },
		"no second confirmation": func(f *fake) {
			c := f.next()
			c.sendChallenge()
			must[*wire.Confirm](c)
		},
		"no listening": func(f *fake) {
			must[*wire.Listen](f.next().verified())
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newPipeFake(t)
				r := start(t, f.config())
				began := time.Now()
				silent(f)
				r.waitingFor(wire.HandshakeTimeout)
				if got := time.Since(began); got < defaultHandshakeTimeout || got > defaultHandshakeTimeout+pipeClose {
					t.Errorf("given up after %s, want %s", got, defaultHandshakeTimeout)
				}
			})
		})
	}
}
