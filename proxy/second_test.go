package proxy

import (
	"slices"
	"testing"

	"keyhole/proxy/relay"
)

// A second hello, which a HelloRetryRequest asks for, must ask for what the
// first did: sent right behind it, or once the origin has asked.
func TestSecondHelloAsksForTheSame(t *testing.T) {
	for _, c := range []struct {
		what string
		name string
		alpn []string
		same bool
	}{
		{"the same", "shop.example", []string{"h2"}, true},
		{"the name in capitals", "SHOP.example", []string{"h2"}, true},
		{"another name", "admin.example", []string{"h2"}, false},
		{"no name", "", []string{"h2"}, false},
		{"other protocols", "shop.example", []string{"h2", "http/1.1"}, false},
		{"no protocols", "shop.example", nil, false},
	} {
		first, second := hello(t, "shop.example", "h2"), hello(t, c.name, c.alpn...)

		s := newSession(t, one("shop.example", refusing(t)))
		s.Open()
		v := s.Hello(slices.Concat(first, second))
		if got := v.Op == relay.Dial; got != c.same || !c.same && s.reason != NameChanged {
			t.Errorf("%s, behind the first: %+v for %q, want a dial: %v", c.what, v, s.reason, c.same)
		}
		s.Closed(relay.Summary{})

		s.Open()
		if v := s.Hello(first); v.Op != relay.Dial || v.Hold != 0 || v.Inspect != relay.ClientSide|relay.OriginSide {
			t.Errorf("first hello: %+v, want a dial that watches both sides", v)
		}
		if in := s.Inspect(relay.Client, second[:50]); in.Reject || in.Pass != 0 {
			t.Errorf("%s, half of it: %+v, want it held back", c.what, in)
		}
		in := s.Inspect(relay.Client, second)
		if in.Reject == c.same || c.same && (in.Pass != len(second) || in.Watch != relay.NoSide) {
			t.Errorf("%s, later: %+v, want it rejected: %v", c.what, in, !c.same)
		}
		if !c.same && (s.reason != NameChanged || !slices.Equal(in.Bytes, []byte{21, 3, 3, 0, 2, 2, alertIllegalParameter})) {
			t.Errorf("%s: %q with %x, want name_changed and illegal_parameter", c.what, s.reason, in.Bytes)
		}
		s.Closed(relay.Summary{})
	}
}
