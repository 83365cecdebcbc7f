package backend

import (
	"net/netip"
	"testing"
)

func TestPublic(t *testing.T) {
	for _, tc := range []struct {
		public bool
		list   []string
	}{
		{true, []string{
			"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
			"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0",
			"198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15",
			"2001:200::1", "2001:db7:ffff::1", "2001:db9::1", "2600::1", "2a00:1450::1", "3ffe::1",
			"64:ff9b::8.8.8.8",
		}},
		{false, []string{
			"0.0.0.1", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.100.100.200", "100.127.255.255", "127.0.0.1", "127.255.255.255",
			"169.254.169.254", "169.254.0.1", "172.16.0.0", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
			"192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "168.63.129.16",
			"240.0.0.1", "255.255.255.254",
			"::1", "::127.0.0.1", "::8.8.8.8", "fd00:ec2::254", "fd20:ce::254", "fc00::1", "fdff::1", "fec0::1", "feff::1",
			"100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:1ff::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1",
			"3fff::1", "4000::1", "5f00::1", "1fff::1",
			"64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "64:ff9b::1:8.8.8.8",
		}},
	} {
		for _, s := range tc.list {
			a := netip.MustParseAddr(s)
			if err := public.check(a, nil); (err == nil) != tc.public {
				t.Errorf("public: check(%s) = %v, want public %v", a, err, tc.public)
			}
		}
	}
}

// This machine's own address is none of the internet, nor is what a NAT64 makes of it.
func TestPublicWithoutOwn(t *testing.T) {
	own := func(a netip.Addr) bool {
		return a == netip.MustParseAddr("8.8.8.8") || a == netip.MustParseAddr("2600::1")
	}
	for s, want := range map[string]bool{"8.8.8.8": false, "2600::1": false, "64:ff9b::8.8.8.8": false, "8.8.4.4": true, "64:ff9b::8.8.4.4": true} {
		if err := public.check(netip.MustParseAddr(s), own); (err == nil) != want {
			t.Errorf("public: check(%s) = %v, want it let through: %v", s, err, want)
		}
	}
}

// No fence lets through what no server can have, whatever its networks are.
func TestFenceOfAll(t *testing.T) {
	all := Fence{Public: true, Networks: prefixes("0.0.0.0/0", "::/0")}
	for _, s := range []string{"0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "fe80::1"} {
		if all.check(netip.MustParseAddr(s), nil) == nil {
			t.Errorf("a fence of all networks lets %s through, want it denied", s)
		}
	}
	for _, s := range []string{"10.0.0.1", "127.0.0.1", "::1", "8.8.8.8", "fd00::1"} {
		if err := all.check(netip.MustParseAddr(s), nil); err != nil {
			t.Errorf("a fence of all networks denies %s: %v", s, err)
		}
	}
}
