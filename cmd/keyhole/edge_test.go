package main

import (
	"net/netip"
	"strings"
	"testing"

	"keyhole/proxy/relay"
)

// TestFit shows how many connections a descriptor limit lets in.
func TestFit(t *testing.T) {
	base := uint64(relay.Descriptors(0))
	for _, c := range []struct {
		asked int
		limit uint64
		want  int
		err   string
	}{
		{0, base + 2000, 1000, ""},
		{0, base + 2*fewest, fewest, ""},
		{0, base + 2*fewest - 1, 0, "too few descriptors: "},
		{500, base + 1000, 500, ""},
		{500, base + 999, 0, "limits.connections: 500 connections need "},
		{3, base + 10, 0, "too few descriptors: "},
		{0, 1<<64 - 1, 1<<29 - int(base)/2, ""}, // no limit at all
	} {
		got, err := fit(c.asked, c.limit)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
			t.Errorf("fit(%d, %d) = %d, %v, want %d, %q", c.asked, c.limit, got, err, c.want, c.err)
		}
	}
}

// TestIsOwn shows which server addresses would lead back to the edge.
func TestIsOwn(t *testing.T) {
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
	} {
		e := &edge{bound: []netip.AddrPort{netip.MustParseAddrPort(c.bound)}}
		if got := e.isOwn(netip.MustParseAddrPort(c.server)); got != c.want {
			t.Errorf("listening on %s, isOwn(%s) = %v, want %v", c.bound, c.server, got, c.want)
		}
	}
}
