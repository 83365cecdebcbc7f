package backend

import (
	"fmt"
	"net/netip"
	"testing"
)

const hashClients = 4000

// hashed returns where each of the clients 10.1.0.0 and on goes.
func hashed(p *Pool) (to [hashClients]*Endpoint) {
	for i := range to {
		to[i] = p.Pick(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), nil)
		to[i].Release()
	}
	return to
}

func TestClientHashFollowsWeights(t *testing.T) {
	p := newPool(t, Config{Servers: weights(1, 2, 5), Balance: ClientHash})
	got := make(map[string]int)
	for _, e := range hashed(p) {
		got[e.String()]++
	}
	wantAbout(t, "weight 1", got["10.0.0.1:443"], hashClients/8)
	wantAbout(t, "weight 2", got["10.0.0.2:443"], hashClients/4)
	wantAbout(t, "weight 5", got["10.0.0.3:443"], hashClients*5/8)
}

func TestClientHashIsTheSameEverywhere(t *testing.T) {
	one := newPool(t, Config{Servers: weights(1, 2, 3), Balance: ClientHash})
	list := weights(1, 2, 3)
	list[0], list[2] = list[2], list[0]
	two := newPool(t, Config{Servers: list, Balance: ClientHash})
	a, b := hashed(one), hashed(two)
	for i := range a {
		if a[i].AddrPort != b[i].AddrPort {
			t.Fatalf("client %d goes to %v, and with the list the other way round to %v", i, a[i], b[i])
		}
	}
}

func TestClientHashMovesOnlyWhatItMust(t *testing.T) {
	before := hashed(newPool(t, Config{Servers: weights(1, 1, 1, 1), Balance: ClientHash}))
	after := hashed(newPool(t, Config{Servers: weights(1, 1, 1), Balance: ClientHash}))
	moved := 0
	for i := range before {
		if before[i].AddrPort == after[i].AddrPort {
			continue
		}
		if moved++; before[i].String() != "10.0.0.4:443" {
			t.Fatalf("client %d moved from %v to %v, want it to stay: only 10.0.0.4 went", i, before[i], after[i])
		}
	}
	wantAbout(t, "the server that went", moved, hashClients/4)
}

func TestClientHashWhenNameMoves(t *testing.T) {
	p := newPool(t, Config{Servers: servers("a.internal:443", "b.internal:443"), Balance: ClientHash})
	answer(t, p, "b.internal", "10.0.1.1", "10.0.1.2", "10.0.1.3")
	answer(t, p, "a.internal", "10.0.0.1")
	before := hashed(p)
	answer(t, p, "a.internal", "10.0.0.9")
	answer(t, p, "b.internal", "10.0.1.1", "10.0.1.3")
	for i, e := range hashed(p) {
		switch was := before[i]; {
		case was.Server != e.Server:
			t.Fatalf("client %d moved from %v to %v, want the same server", i, was, e)
		case was.Server == "b.internal:443" && was != e && was.String() != "b.internal:443 (10.0.1.2:443)":
			t.Fatalf("client %d moved from %v to %v, want it to stay: only 10.0.1.2 went", i, was, e)
		}
	}
}

func TestClientHashFallsToTheNextBest(t *testing.T) {
	p := newPool(t, Config{Servers: weights(1, 1, 1), Balance: ClientHash, MaxConnections: 1})
	first := p.Pick(client, nil)
	second := p.Pick(client, nil)
	if second == first || second == nil {
		t.Fatalf("Pick = %v with %v full, want another", second, first)
	}
	first.Release()
	second.Release()
	wantPick(t, p, []*Endpoint{first}, second.String()).Release()
	wantPick(t, p, nil, first.String()).Release()
}

func TestClientKey(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1:2:3", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
	} {
		a, b := netip.MustParseAddr(tc.a), netip.MustParseAddr(tc.b)
		if got := clientKey(a) == clientKey(b); got != tc.same {
			t.Errorf("clientKey(%v) == clientKey(%v) is %v, want %v", a, b, got, tc.same)
		}
	}
	if a, b := fmt.Sprintf("%x", clientKey(client)), "e345f7b1d459776e"; a != b {
		t.Errorf("clientKey(%v) = %s, want %s: edges of two versions must agree", client, a, b)
	}
}
