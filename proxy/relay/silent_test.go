package relay

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// after has the session asked when its client has been silent for d.
func afterSilence(d time.Duration) func(*script) Verdict {
	return func(*script) Verdict { return Verdict{Timeout: d} }
}

// A session may dial before the client has sent a byte: the origin speaks
// first. The bytes that come while it dials go to the origin as they came, and a
// dial that fails is followed by the next.
func TestOriginSpeaksFirst(t *testing.T) {
	testkit.NoLeaks(t)
	unixOrigin := testkit.ListenOrigin(t, "unix", filepath.Join(t.TempDir(), "origin"))
	for name, o := range map[string]*origins{"tcp": newOrigins(t), "unix": {unixOrigin}} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, options{
				targets: []Target{refusing(t), o.target()}, listen: ListenOptions{AtOnce: true}, open: (*script).dial,
			})
			client := e.dial()
			server := o.accept()
			server.Send("220 ready")
			client.Want("220 ready")
			client.Send("EHLO a")
			server.Want("EHLO a")
			client.FIN()
			server.WantEnd(nil)
			server.Send("bye")
			server.Close()
			client.Want("bye")
			client.WantEnd(nil)
			s := e.wantRecord(ClientClosed, PhaseRelay)
			wantBytes(t, s, len("EHLO a"), len("220 readybye"))
			if s.Hello < 0 || s.Dial < s.Hello {
				t.Errorf("decided after %v, connected after %v", s.Hello, s.Dial)
			}
			e.wantFailed(unix.ECONNREFUSED)
		})
	}
}

// The client's bytes that come before the origin accepts wait for it.
func TestBytesWhileTheOriginIsDialed(t *testing.T) {
	testkit.NoLeaks(t)
	full, makeRoom := fullBacklog(t)
	e := serve(t, options{targets: []Target{full.target()}, listen: ListenOptions{AtOnce: true}, open: (*script).dial})
	client := e.dial()
	e.dialing()
	early := strings.Repeat("early ", 20000)
	go client.Write([]byte(early))
	makeRoom()
	server := full.accept()
	server.Send("banner")
	client.Want("banner")
	server.Want(early)
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
}

// A session may turn a client away, or wait, before its first byte.
func TestVerdictsBeforeTheFirstByte(t *testing.T) {
	testkit.NoLeaks(t)
	e := serve(t, options{listen: ListenOptions{AtOnce: true}, open: func(*script) Verdict { return Verdict{Op: Reject} }})
	e.dial().WantEnd(nil)
	e.wantRecord(Rejected, PhaseAdmit)

	o := newOrigins(t)
	e = serve(t, options{targets: []Target{o.target()}, listen: ListenOptions{AtOnce: true}, open: func(*script) Verdict {
		return Verdict{Op: Wait, Timeout: 60 * time.Millisecond}
	}})
	client := e.dial()
	server := o.accept()
	e.wantFailed(ErrTimeout)
	server.Send("banner")
	client.Want("banner")
}

// A client that stays silent is asked about once; one that speaks is not.
func TestSilentClient(t *testing.T) {
	testkit.NoLeaks(t)
	const silence = 150 * time.Millisecond
	o := newOrigins(t)
	e := serve(t, options{
		targets: []Target{o.target()}, listen: ListenOptions{AtOnce: true}, open: afterSilence(silence),
		timeouts: Timeouts{Hello: testkit.Patience},
	})
	client := e.dial()
	server := o.accept()
	e.wantFailed(ErrTimeout)
	server.Send("SSH-2.0-x")
	client.Want("SSH-2.0-x")
	client.Send("hello\n") // which nobody reads as one
	server.Want("hello\n")
	client.Close()
	server.WantEnd(nil)
	server.Close()
	if s := e.wantRecord(ClientClosed, PhaseRelay); s.Hello < silence {
		t.Errorf("decided after %v, want %v or more", s.Hello, silence)
	}

	resume := e.pause()
	client = e.dial()
	client.Send("hel")
	resume()
	testkit.Eventually(t, "begun", func() bool { c := e.connection(); return c.flows[0].held != nil })
	e.overslept(2*silence, func() {})
	e.settle()
	client.Send("lo\n")
	server = o.accept()
	server.Want("hello\n")
	e.wantFailed(nil)
}

// Silence has the limit of a hello beside it, also once the session has let it
// go on, and a client that has begun to speak has all of that limit.
func TestSilenceAndTheHelloTimeout(t *testing.T) {
	testkit.NoLeaks(t)
	const limit = 300 * time.Millisecond
	for name, open := range map[string]func(*script) Verdict{
		"longer": afterSilence(limit + 1), "as long": afterSilence(limit), "shorter, with a byte": afterSilence(limit / 2),
	} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, options{open: open, timeouts: Timeouts{Hello: limit}, listen: ListenOptions{AtOnce: true}})
			resume := e.pause()
			client := e.dial()
			if name == "shorter, with a byte" {
				client.Send("h")
			}
			resume()
			client.WantEnd(nil)
			e.wantRecord(HelloTimeout, PhaseHello)
			e.wantFailed(nil)
		})
	}
	o := newOrigins(t)
	asked := false
	e := serve(t, options{
		open: afterSilence(limit / 10), targets: []Target{o.target()}, timeouts: Timeouts{Hello: limit}, listen: ListenOptions{AtOnce: true},
		verdict: func(_ *script, v Verdict) Verdict {
			asked = true
			return Verdict{}
		},
	})
	e.dial().WantEnd(nil)
	if s := e.wantRecord(HelloTimeout, PhaseHello); s.Total < limit || !asked {
		t.Errorf("ended after %v (asked: %t), want %v or more", s.Total, asked, limit)
	}
}

// A pause of the process makes no client silent whose bytes came in time.
func TestAPauseIsNoSilence(t *testing.T) {
	testkit.NoLeaks(t)
	const silence = 200 * time.Millisecond
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, open: afterSilence(silence), listen: ListenOptions{AtOnce: true}})
	client := e.dial()
	testkit.Eventually(t, "accepted", func() bool { return e.engine.Active() == 1 })
	e.overslept(2*silence, func() { client.Send("hello\n") })
	o.accept().Want("hello\n")
	e.wantFailed(nil)
}

// Without a hello to go with it, the last ACK of the handshake with the origin
// does not wait: the origin would accept, and speak, 40 ms later.
func TestNoDelayBeforeTheFirstByte(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, open: (*script).dial, listen: ListenOptions{AtOnce: true}})
	quickest := time.Hour
	for range 15 {
		begin := time.Now()
		client := e.dial()
		server := o.accept()
		server.Send("1")
		client.Want("1")
		quickest = min(quickest, time.Since(begin))
		client.Close()
		server.Close()
	}
	if quickest > 30*time.Millisecond {
		t.Errorf("the quickest greeting took %v", quickest)
	}
}

// A running listener takes silent clients at once, and then defers again.
func TestSetAtOnce(t *testing.T) {
	testkit.NoLeaks(t)
	e := serve(t, options{})
	ln, err := e.engine.Listen(netip.MustParseAddrPort("127.0.0.1:0"), ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fd := ln.fd
	for _, on := range []bool{false, true, true, false} {
		ln.SetAtOnce(on)
		got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT)
		if want := int(deferTime(on)); err != nil || got != want {
			t.Errorf("SetAtOnce(%t): TCP_DEFER_ACCEPT is %d (%v), want %d", on, got, err, want)
		}
	}
	ln.Close()
	ln.SetAtOnce(true) // harmless
}
