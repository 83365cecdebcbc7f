package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/backend"
	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// A rejection is one way not to be served.
type rejection struct {
	name   string
	hello  func(testing.TB) []byte
	alert  byte // 0: a client that cannot read alerts, and gets a clean close instead
	reason Reason
	phase  relay.Phase
}

var rejections = []rejection{
	{"no route", byName("none.example"), 112, NoRoute, relay.PhaseDecide},
	{"no name", byName(""), 112, NoSNI, relay.PhaseDecide},
	{"denied address", byName("denied.example"), 112, DeniedAddress, relay.PhaseDecide},
	{"route that rejects", byName("fence.example"), 112, RouteRejects, relay.PhaseDecide},
	{"all servers refuse", byName("down.example"), 80, DialRefused, relay.PhaseDial},
	{"no server", byName("full.example"), 80, NoHealthyServer, relay.PhaseDecide},
	{"IP literal", raw(named("192.0.2.1")), 112, NoSNI, relay.PhaseDecide},
	{"name outside ASCII", raw(named("b\xfccher.example")), 50, HelloMalformed, relay.PhaseDecide},
	{"name with a space", raw(named("a b.example")), 50, HelloMalformed, relay.PhaseDecide},
	{"name with a NUL", raw(named("a\x00.example")), 50, HelloMalformed, relay.PhaseHello},
	{"another message", raw([]byte("\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00")), 10, HelloMalformed, relay.PhaseHello},
	{"another record", raw([]byte("\x17\x03\x03\x00\x05abcde")), 10, HelloMalformed, relay.PhaseHello},
	{"long record", raw([]byte("\x16\x03\x01\x40\x01\x01\x00")), 22, HelloMalformed, relay.PhaseHello},
	{"malformed", raw([]byte("\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03")), 50, HelloMalformed, relay.PhaseHello},
	{"too large", raw([]byte("\x16\x03\x01\x40\x00\x01\x01\x00\x00\x03\x03")), 50, HelloTooLarge, relay.PhaseHello},
	{"HTTP", raw([]byte("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")), 0, NotTLS, relay.PhaseHello},
	{"one byte of SSH", raw([]byte("S")), 0, NotTLS, relay.PhaseHello},
	{"SOCKS", raw([]byte("\x05\x01\x00")), 0, NotTLS, relay.PhaseHello},
	{"PROXY header", raw([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")), 0, NotTLS, relay.PhaseHello},
	{"garbage", raw([]byte("\x00\x01\x02\x03\x04\x05\x06\x07")), 0, NotTLS, relay.PhaseHello},
}

func byName(name string) func(testing.TB) []byte {
	return func(t testing.TB) []byte { return hello(t, name) }
}

func raw(b []byte) func(testing.TB) []byte { return func(testing.TB) []byte { return b } }

// rejecting is a setup in which each rejection happens, in the given manner.
func rejecting(t *testing.T, how routes.Reject) setup {
	full := backend.Config{MaxConnections: 1, Servers: []backend.ServerConfig{{Address: refusing(t)}}}
	return setup{
		Config: Config{HelloBytes: 4096, Timeouts: relay.Timeouts{Hello: time.Second}},
		routes: []routes.Route{
			{SNI: []string{"denied.example"}, Access: access(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}), Reject: how},
			{SNI: []string{"fence.example"}, Backend: -1, Reject: how},
			{SNI: []string{"down.example"}, Backend: 0},
			{SNI: []string{"full.example"}, Backend: 1, Reject: how},
		},
		otherwise: routes.Route{Backend: -1, Reject: how},
		backends:  []backend.Config{{Retries: 1, Servers: []backend.ServerConfig{{Address: refusing(t)}, {Address: refusing(t)}}}, full},
	}
}

func TestRejections(t *testing.T) {
	for _, how := range []routes.Reject{routes.RejectAlert, routes.RejectClose, routes.RejectReset} {
		for _, r := range rejections {
			t.Run(fmt.Sprintf("%s/%s", how, r.name), func(t *testing.T) {
				testkit.NoLeaks(t)
				e := serve(t, rejecting(t, how))
				e.config.Load().Pools[1].Pick(netip.Addr{}, nil) // takes the one place
				client := e.dial()
				client.SendBytes(r.hello(t))
				b, err := readAll(client)
				wantBye(t, how, r.alert, b, err)
				client.Close()
				rec := e.wantRecord(1, r.reason, r.phase)
				if rec.Up != 0 || rec.Down != 0 {
					t.Errorf("record counts %d bytes up and %d down, want none", rec.Up, rec.Down)
				}
			})
		}
	}
}

// wantBye checks what a rejected client saw.
func wantBye(t *testing.T, how routes.Reject, alert byte, got []byte, err error) {
	t.Helper()
	switch {
	case how == routes.RejectReset:
		if len(got) != 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("client reads %q, %v, want %v", got, err, syscall.ECONNRESET)
		}
	case how == routes.RejectAlert && alert != 0:
		if want := []byte{21, 3, 1, 0, 2, 2, alert}; !bytes.Equal(got, want) || err != nil {
			t.Errorf("client reads %x, %v, want the fatal alert %d (%x)", got, err, alert, want)
		}
	default:
		if len(got) != 0 || err != nil {
			t.Errorf("client reads %q, %v, want a clean close", got, err)
		}
	}
}

// Silence: nothing, not even an end, until the time for a hello has passed
// once more.
func TestRejectWithSilence(t *testing.T) {
	testkit.NoLeaks(t)
	s := rejecting(t, routes.RejectSilence)
	s.Timeouts.Hello = 200 * time.Millisecond
	e := serve(t, s)
	client := e.dial()
	sent := time.Now()
	client.SendBytes(hello(t, "none.example"))
	b, err := readAll(client)
	if took := time.Since(sent); len(b) != 0 || err != nil || took < s.Timeouts.Hello {
		t.Errorf("client reads %q, %v after %s, want silence for %s and a close", b, err, took, s.Timeouts.Hello)
	}
	e.wantRecord(1, NoRoute, relay.PhaseDecide)
}

// The alert arrives although the client goes on sending: closing with unread
// bytes would reset the connection before the client has read it.
func TestAlertIsReadByAClientThatGoesOnSending(t *testing.T) {
	testkit.NoLeaks(t)
	e := serve(t, rejecting(t, routes.RejectAlert))
	h := hello(t, "none.example")
	for i := range 20 {
		client := e.dial()
		client.SendBytes(append(bytes.Clone(h), make([]byte, 100<<10)...))
		client.WantBytes([]byte{21, 3, 1, 0, 2, 2, 112})
		if b, err := readAll(client); len(b) != 0 || err != nil {
			t.Errorf("behind the alert client reads %q, %v, want a clean close", b, err)
		}
		if e.Active() != 1 {
			t.Error("the client was closed on before it was done")
		}
		client.Close()
		e.wantRecord(i+1, NoRoute, relay.PhaseDecide)
	}
}

func TestTooManyConnections(t *testing.T) {
	testkit.NoLeaks(t)
	s := one("shop.example", refusing(t))
	s.MaxConnections = 2
	e := serve(t, s)
	for range 2 {
		e.dial().Send("\x16")
	}
	testkit.Eventually(t, "two are open", func() bool { return e.Active() == 2 })
	e.Stats() // asked and answered: both are admitted
	third := e.dial()
	third.Send("\x16")
	if b, err := readAll(third); len(b) != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client reads %q, %v, want %v", b, err, syscall.ECONNRESET)
	}
	e.wantRecord(1, TooManyConnections, relay.PhaseAdmit)
}

// Of many that come at once, as many are admitted as there is room for:
// neither one more nor one less.
func TestExactlyAsManyConnectionsAsAllowed(t *testing.T) {
	testkit.NoLeaks(t)
	const room, clients = 10, 100
	s := one("shop.example", refusing(t))
	s.MaxConnections = room
	e := serve(t, s)
	for range clients {
		e.dial().Send("\x16")
	}
	testkit.Eventually(t, "the others are turned away", func() bool { return e.log.count() == clients-room })
	e.Stats() // asked and answered: nobody is between accept and admission
	if n := e.Active(); n != room || e.Accepted() != clients {
		t.Errorf("%d connections are open of %d accepted, want %d of %d", n, e.Accepted(), room, clients)
	}
	for _, r := range e.log.records(t) {
		if r.Reason != "too_many_connections" || r.Phase != "admit" {
			t.Errorf("record says %q in phase %q, want too_many_connections in admit", r.Reason, r.Phase)
		}
	}
}

// What a dial's failure is called: one that took too long is a timeout,
// whoever's clock it was.
func TestReasonOfAFailedDial(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Reason
	}{
		{relay.ErrTimeout, DialTimeout},
		{unix.ETIMEDOUT, DialTimeout},
		{unix.ECONNREFUSED, DialRefused},
		{unix.EHOSTUNREACH, DialRefused},
		{&relay.LocalError{Cause: relay.NoLocalDescriptor, Err: unix.EMFILE}, TooManyConnections},
		{&relay.LocalError{Cause: relay.NoLocalMemory, Err: unix.ENOBUFS}, NoResources},
		{&relay.LocalError{Cause: relay.NoLocalPort, Err: unix.EADDRNOTAVAIL}, NoLocalPort},
		{&relay.LocalError{Cause: relay.NoLocalRoute, Err: unix.ENETUNREACH}, NoLocalRoute},
	} {
		s := dialing(t, refusing(t))
		if v := s.DialFailed(c.err, 0); v.Op != relay.Reject || s.reason != c.want || s.phase != relay.PhaseDial {
			t.Errorf("DialFailed(%v) = %q in phase %q, want %q in %q", c.err, s.reason, s.phase, c.want, relay.PhaseDial)
		}
		s.Closed(relay.Summary{})
	}
}
