package proxy

import (
	"testing"

	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
	"keyhole/routes"
	"keyhole/sni"
)

// ja4Of returns the fingerprint of a hello.
func ja4Of(t testing.TB, b []byte) sni.JA4 {
	t.Helper()
	h, err := (&sni.Parser{}).Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return h.JA4(nil)
}

func fingerprints(t testing.TB, allow, deny []sni.JA4) *routes.Fingerprints {
	t.Helper()
	f, err := routes.NewFingerprints(allow, deny)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A record has the JA4 when the log or a list asks for it, and no other connection's.
func TestJA4InRecords(t *testing.T) {
	h := hello(t, "shop.example", "h2")
	for what, c := range map[string]struct {
		change func(*setup)
		want   string
	}{
		"off":           {func(*setup) {}, ""},
		"by the log":    {func(s *setup) { s.JA4 = true }, ja4Of(t, h).String()},
		"by a list":     {func(s *setup) { s.routes[0].JA4 = fingerprints(t, nil, []sni.JA4{{'t'}}) }, ja4Of(t, h).String()},
		"by the limits": {func(s *setup) { s.ja4 = fingerprints(t, nil, []sni.JA4{{'t'}}) }, ja4Of(t, h).String()},
	} {
		t.Run(what, func(t *testing.T) {
			testkit.NoLeaks(t)
			o := testkit.NewOrigin(t)
			o.Echo()
			s := one("shop.example", o.Address())
			c.change(&s)
			e := serve(t, s)
			for i := range 2 {
				client := e.dial()
				client.SendBytes(h)
				client.WantBytes(h)
				client.Close()
				if rec := e.wantRecord(2*i+1, ClientClosed, relay.PhaseRelay); rec.JA4 != c.want {
					t.Errorf("record has ja4 %q, want %q", rec.JA4, c.want)
				}
				client = e.dial() // perhaps in the same slot
				client.Send("SSH-2.0-x\r\n")
				client.WantEnd(nil)
				client.Close()
				if rec := e.record(2*i + 2); rec.JA4 != "" {
					t.Errorf("record of no hello has ja4 %q, want none", rec.JA4)
				}
			}
		})
	}
}

// A hello that a list does not let in is rejected as a client is whose address is denied.
func TestDeniedJA4(t *testing.T) {
	h := hello(t, "shop.example", "h2")
	own := []sni.JA4{ja4Of(t, h)}
	for what, change := range map[string]func(*setup){
		"deny of the route":   func(s *setup) { s.routes[0].JA4 = fingerprints(t, nil, own) },
		"allow of the route":  func(s *setup) { s.routes[0].JA4 = fingerprints(t, []sni.JA4{{'t'}}, nil) },
		"deny of the limits":  func(s *setup) { s.ja4 = fingerprints(t, nil, own) },
		"allow of the limits": func(s *setup) { s.ja4 = fingerprints(t, []sni.JA4{{'t'}}, nil) },
	} {
		t.Run(what, func(t *testing.T) {
			testkit.NoLeaks(t)
			s := one("shop.example", testkit.NewOrigin(t).Address())
			change(&s)
			e := serve(t, s)
			client := e.dial()
			client.SendBytes(h)
			b, err := readAll(client)
			wantBye(t, routes.RejectAlert, alertUnrecognizedName, b, err)
			client.Close()
			if rec := e.wantRecord(1, DeniedJA4, relay.PhaseDecide); rec.JA4 != own[0].String() {
				t.Errorf("record has ja4 %q, want %s", rec.JA4, own[0])
			}
		})
	}
}

func TestDecisionByJA4DoesNotAllocate(t *testing.T) {
	x := manyRoutes()
	x.JA4 = true
	s := newSession(t, x)
	h := hello(t, "siteea.example", "h2", "http/1.1")
	if n := testing.AllocsPerRun(1000, func() {
		s.Open()
		s.Hello(h)
		s.Closed(relay.Summary{})
	}); n != 0 {
		t.Errorf("a decision with JA4 allocates %v times, want 0", n)
	}
}
