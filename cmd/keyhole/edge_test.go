package main

import (
	"net/netip"
	"strings"
	"testing"

	"keyhole/proxy/relay"
)

// TestFit shows how many connections a descriptor limit lets in, and that pipes make way for them.
func TestFit(t *testing.T) {
	base := uint64(relay.Descriptors(0, 2))
	for _, c := range []struct {
		asked, loops int
		lookups      int
		limit        uint64
		want         room
		err          string
	}{
		{0, 2, 0, 20000, room{9833, 32}, ""},
		{0, 2, 0, base + 2*fewest, room{fewest, -1}, ""},
		{0, 2, 0, base + 2*fewest - 1, room{}, "too few descriptors: "},
		{500, 2, 0, base + 1000, room{500, -1}, ""},
		{500, 2, 0, base + 1008, room{500, 1}, ""},
		{500, 2, 0, base + 999, room{}, "limits.connections: 500 connections need "},
		{0, 2, 128, base + 128 + 2*fewest, room{fewest, -1}, ""},
		{0, 2, 128, base + 127 + 2*fewest, room{}, "too few descriptors: "},
		{500, 2, 128, base + 1127, room{}, "limits.connections: 500 connections need "},
		{3, 2, 0, base + 10, room{}, "too few descriptors: "},
		{0, 128, 0, 1024, room{32, -1}, ""},
		{0, 128, 0, 8800, room{3408, 2}, ""},
		{0, 2, 0, 1<<64 - 1, room{1<<29 - int(base)/2 - 128, 32}, ""}, // no limit at all
	} {
		got, err := fit(c.asked, c.loops, c.lookups, c.limit)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
			t.Errorf("fit(%d, %d, %d) = %+v, %v, want %+v, %q", c.asked, c.loops, c.limit, got, err, c.want, c.err)
		}
	}
}

// TestOwnAddresses shows which server addresses would lead back to the edge.
func TestOwnAddresses(t *testing.T) {
	for _, c := range []struct {
		bound, server string
		want          bool
	}{
		{"192.0.2.1:443", "192.0.2.1:443", true},
		{"192.0.2.1:443", "192.0.2.1:8443", false},
		{"192.0.2.1:443", "192.0.2.2:443", false},
		{"127.0.0.1:443", "0.0.0.0:443", true},
		{"[::1]:443", "[::]:443", true},
		{"192.0.2.1:443", "0.0.0.0:443", false},
		{"[::]:443", "127.0.0.1:443", true},
		{"[::]:443", "[::1]:443", true},
		{"[::]:443", "0.0.0.0:443", true},
		{"[::]:443", "192.0.2.1:443", false}, // no machine has a documentation address
		{"0.0.0.0:443", "127.0.0.53:443", true},
		{"0.0.0.0:443", "0.0.0.0:443", true},
		{"0.0.0.0:443", "[::1]:443", false}, // it takes IPv4 only
		{"0.0.0.0:443", "[::]:443", false},
		{"127.0.0.1:443", "[::]:443", false},
		{"[::1]:443", "0.0.0.0:443", false},
		{"[::]:443", "[::]:443", true},
	} {
		own := addresses{bound: []bound{{AddrPort: netip.MustParseAddrPort(c.bound)}}}
		if got := own.reachedBy(netip.MustParseAddrPort(c.server)); got != c.want {
			t.Errorf("listening on %s, reachedBy(%s) = %v, want %v", c.bound, c.server, got, c.want)
		}
	}
}
