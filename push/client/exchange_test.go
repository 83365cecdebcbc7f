package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// The attacks on V2. Each ends in its own error, and the server learns nothing
// after it: no confirmation, no state.
func TestV3ClientChecksTheChallenge(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*wire.Challenge)
		want   wire.Code
	}{
		"token of another exchange": {func(c *wire.Challenge) { c.ClientToken = make([]byte, 32) }, wire.ClientTokenMismatch},
		"no client token":           {func(c *wire.Challenge) { c.ClientToken = nil }, wire.ClientTokenMismatch},
		"client token cut":          {func(c *wire.Challenge) { c.ClientToken = c.ClientToken[:31] }, wire.ClientTokenMismatch},
		"client token sent back":    {func(c *wire.Challenge) { c.ServerToken = c.ClientToken }, wire.BadFrame},
		"short server token":        {func(c *wire.Challenge) { c.ServerToken = c.ServerToken[:16] }, wire.BadFrame},
		"version not offered":       {func(c *wire.Challenge) { c.Version = "keyhole-push.v0" }, wire.Downgrade},
		"version not supported":     {func(c *wire.Challenge) { c.Versions = []string{"keyhole-push.v0"} }, wire.Downgrade},
		"no versions":               {func(c *wire.Challenge) { c.Versions = nil }, wire.Downgrade},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			f := newFake(t)
			f.challenge = tt.change
			r := start(t, f.config())
			c := f.next()
			c.sendChallenge()
			if got := c.read(); got != nil {
				t.Errorf("the client went on with a %s frame, want the end of the connection", got.Kind())
			}
			r.waitingFor(tt.want)
		})
	}
}

func TestV3ClientTokenIsNewForEachExchange(t *testing.T) {
	f := newFake(t)
	start(t, f.config())
	seen := map[string]bool{}
	for range 3 {
		c := f.next()
		if token := string(c.hello.ClientToken); len(token) != 32 || seen[token] {
			t.Errorf("client token %x, want 32 bytes that were not sent before", token)
		} else {
			seen[token] = true
		}
		c.close()
	}
}

// What comes before the second confirmation is neither handed over nor looked
// at.
func TestV4NothingPassesBeforeTheSecondConfirmation(t *testing.T) {
	early := map[string]struct {
		frame wire.Frame
		want  wire.Code
	}{
		"message":         {message("m", 1), wire.NotVerified},
		"listening":       {&wire.Listening{}, wire.NotVerified},
		"heartbeat_reply": {&wire.HeartbeatReply{}, wire.NotVerified},
		"drain":           {&wire.Drain{}, wire.NotVerified},
		"ok":              {&wire.OK{}, wire.NotVerified},
	}
	for name, tt := range early {
		t.Run(name+" for the challenge", func(t *testing.T) {
			noLeaks(t)
			f := newFake(t)
			r := start(t, f.config())
			c := f.next()
			c.send(tt.frame)
			r.waitingFor(tt.want)
			r.nothing()
		})
		t.Run(name+" for the confirmation", func(t *testing.T) {
			noLeaks(t)
			f := newFake(t)
			r := start(t, f.config())
			c := f.next()
			c.sendChallenge()
			must[*wire.Confirm](c)
			c.send(tt.frame)
			r.waitingFor(tt.want)
			r.nothing()
		})
	}
	t.Run("confirmed for the challenge", func(t *testing.T) {
		f := newFake(t)
		r := start(t, f.config())
		f.next().send(&wire.Confirmed{})
		r.waitingFor(wire.OutOfOrder)
	})
	t.Run("challenge again", func(t *testing.T) {
		f := newFake(t)
		r := start(t, f.config())
		c := f.next()
		c.sendChallenge()
		must[*wire.Confirm](c)
		c.sendChallenge()
		r.waitingFor(wire.OutOfOrder)
	})
}

func TestV4ServerHasToProveItsKey(t *testing.T) {
	stranger, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*wire.Confirmed, *wire.Exchange){
		"no proof":      func(c *wire.Confirmed, _ *wire.Exchange) { c.Proof = nil },
		"changed proof": func(c *wire.Confirmed, _ *wire.Exchange) { c.Proof[10] ^= 1 },
		"another key": func(c *wire.Confirmed, x *wire.Exchange) {
			forged := *x
			forged.Server = stranger.Public()
			c.Proof, _ = forged.ServerProof(stranger, []byte("the client's proof"))
		},
		"waived without being asked": func(c *wire.Confirmed, _ *wire.Exchange) { c.Binding = wire.BindingWaived },
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			f := newFake(t)
			f.confirm = change
			c := f.config()
			c.State = map[string]string{"network": "wifi"}
			r := start(t, c)
			conn := f.next().verified()
			if got := conn.read(); got != nil {
				t.Errorf("the client went on with a %s frame, want the end of the connection", got.Kind())
			}
			r.waitingFor(wire.ServerProofInvalid)
		})
	}
}

// terminator is a proxy that ends the TLS of the client and begins another to
// the server, with a certificate that the client trusts.
func terminator(t *testing.T, f *fake) func(context.Context, string, string) (net.Conn, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", serverTLS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go relay(f, in)
		}
	}()
	return dialTo(l.Addr().String())
}

func relay(f *fake, in net.Conn) {
	defer in.Close()
	raw, err := f.dial(context.Background(), "tcp", "")
	if err != nil {
		return
	}
	out := tls.Client(raw, &tls.Config{RootCAs: testRoots(), ServerName: "push.test", NextProtos: []string{"http/1.1"}})
	defer out.Close()
	go func() {
		_, _ = io.Copy(out, in)
		out.Close()
	}()
	_, _ = io.Copy(in, out)
}

// A proxy in between passes every byte on, and is found by the exporter: by
// the server, to which the client's tag and proof are of another connection,
// and by the client, to which a server that does not care cannot prove its own.
func TestV5ProxyThatTerminatesTLSIsFound(t *testing.T) {
	t.Run("by the server", func(t *testing.T) {
		noLeaks(t)
		f := newFake(t)
		c := f.config()
		c.Dial = terminator(t, f)
		c.MaxBackoff = 1 << 40
		r := start(t, c)
		conn := f.next()
		conn.sendChallenge()
		confirm := must[*wire.Confirm](conn)
		if slices.Equal(confirm.ChannelBinding, conn.x.BindingTag()) || conn.x.VerifyClient(confirm.Proof) {
			t.Error("the confirmation holds on both sides of a proxy, want another exporter")
		}
		conn.refuse(conn.check(confirm))
		if s := r.waitingFor(wire.BindingMismatch); s.Wait < c.MaxBackoff/2 {
			t.Errorf("Wait = %s, want the longest", s.Wait)
		}
	})
	t.Run("by the client", func(t *testing.T) {
		noLeaks(t)
		f := newFake(t)
		c := f.config()
		c.Dial = terminator(t, f)
		r := start(t, c)
		conn := f.next()
		conn.sendChallenge()
		conn.sendConfirmed(must[*wire.Confirm](conn))
		r.waitingFor(wire.ServerProofInvalid)
	})
}

func TestV5ConfirmationIsOverTheWholeExchange(t *testing.T) {
	f := newFake(t)
	r := start(t, f.config())
	c := f.next()
	c.sendChallenge()
	confirm := must[*wire.Confirm](c)
	if code := c.check(confirm); code != "" {
		t.Fatalf("the confirmation is refused: %s", code)
	}
	if !slices.Equal(confirm.Versions, c.hello.Versions) {
		t.Errorf("Confirm.Versions = %q, want %q as offered", confirm.Versions, c.hello.Versions)
	}
	other := *c.x
	other.AppVersion = "9"
	if other.VerifyClient(confirm.Proof) {
		t.Error("the proof holds for another app version")
	}
	c.sendConfirmed(confirm)
	if s := r.until(Verified); s.Binding != wire.BindingExporter {
		t.Errorf("Status.Binding = %q, want %q", s.Binding, wire.BindingExporter)
	}
}

// Without the exporter the client says so, and so does its status.
func TestV5WaivedBindingIsNeverSilent(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.Binding = wire.BindingNone
	r := start(t, c)
	conn := f.next()
	if conn.hello.Binding != wire.BindingNone {
		t.Errorf("Hello.Binding = %q, want %q", conn.hello.Binding, wire.BindingNone)
	}
	conn.sendChallenge()
	confirm := must[*wire.Confirm](conn)
	if len(confirm.ChannelBinding) > 0 {
		t.Errorf("Confirm.ChannelBinding = %x, want none", confirm.ChannelBinding)
	}
	conn.sendConfirmed(confirm)
	if s := r.until(Verified); s.Binding != wire.BindingWaived {
		t.Errorf("Status.Binding = %q, want %q", s.Binding, wire.BindingWaived)
	}
}

func TestTLS12IsRefused(t *testing.T) {
	f := newFake(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{testCert()}, MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	c := f.config()
	c.Dial = dialTo(l.Addr().String())
	r := start(t, c)
	if s := r.until(Waiting); s.Err == nil || errors.Is(s.Err, io.EOF) {
		t.Errorf("the attempt ended with %v, want a refusal of the version", s.Err)
	}
	if f.logins != 0 {
		t.Error("the password went over TLS 1.2")
	}
}
