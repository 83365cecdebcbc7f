package backend

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	long := "/" + strings.Repeat("x", maxPath-1)
	for _, tc := range []struct{ in, key string }{
		{"10.0.0.5:443", "10.0.0.5:443"},
		{"[2001:db8::5]:443", "[2001:db8::5]:443"},
		{"[2001:DB8:0::5]:443", "[2001:db8::5]:443"},
		{"[::ffff:10.0.0.5]:443", "10.0.0.5:443"},
		{"[fe80::1%eth0]:443", "[fe80::1%eth0]:443"},
		{"origin.internal:443", "origin.internal:443"},
		{"Origin.INTERNAL.:443", "origin.internal.:443"},
		{"my_origin:1", "my_origin:1"},
		{"4you:65535", "4you:65535"},
		{"unix:/run/x.sock", "unix:/run/x.sock"},
		{"unix:" + long, "unix:" + long},
	} {
		a, err := parseAddress(tc.in)
		if err != nil {
			t.Errorf("parseAddress(%q) = %v, want no error", tc.in, err)
		} else if got := a.key(); got != tc.key {
			t.Errorf("parseAddress(%q).key() = %q, want %q", tc.in, got, tc.key)
		}
	}
}

func TestParseAddressErrors(t *testing.T) {
	label := strings.Repeat("a", 64)
	for _, tc := range []struct{ in, want string }{
		{"", "empty address, want IP:port, host:port or unix:PATH"},
		{"10.0.0.5", `missing port, write "10.0.0.5:443"`},
		{"::1", `an IPv6 address needs brackets and a port, as in "[2001:db8::1]:443"`},
		{"fe80::1%eth0:443", `an IPv6 address needs brackets and a port, as in "[2001:db8::1]:443"`},
		{"[::1]", `missing port, write "[::1]:443"`},
		{"origin.internal", `missing port, write "origin.internal:443"`},
		{"/run/x.sock", `missing port; for a Unix socket write "unix:/run/x.sock"`},
		{"a:b:443", "too many colons in address, want IP:port, [IPv6]:port, host:port or unix:PATH"},
		{"[::1:443", "missing ']' in address, want IP:port, [IPv6]:port, host:port or unix:PATH"},
		{"https://origin.internal", "a URL, write only its host and port"},
		{"10.0.0.5:", "missing port after the colon, want a number from 1 to 65535"},
		{"10.0.0.5:0", `bad port "0", want a number from 1 to 65535`},
		{"10.0.0.5:65536", `bad port "65536", want a number from 1 to 65535`},
		{"10.0.0.5:+1", `bad port "+1", want a number from 1 to 65535`},
		{"10.0.0.5:https", `bad port "https", want a number from 1 to 65535`},
		{":443", `empty host, write "127.0.0.1:443" for this machine`},
		{"0.0.0.0:443", "0.0.0.0 is no server's address, write 127.0.0.1 or [::1] for this machine"},
		{"[::]:443", ":: is no server's address, write 127.0.0.1 or [::1] for this machine"},
		{"224.0.0.1:443", "224.0.0.1 is a multicast address, want a unicast one"},
		{"10.0.0.256:443", `"10.0.0.256" is neither an IP address nor a host name`},
		{"a..b:443", `host name "a..b" has a label of 0 bytes, want 1 to 63`},
		{".:443", `host name "." has a label of 0 bytes, want 1 to 63`},
		{label + ":443", `host name "` + label + `" has a label of 64 bytes, want 1 to 63`},
		{strings.Repeat("a.", 127) + ":443", ""},
		{strings.Repeat("a.", 127) + "a:443", "host name of 255 bytes is too long, want 253 or fewer"},
		{"bücher.example:443", `host name "bücher.example" is not ASCII, write it in its xn-- form`},
		{"a b:443", `bad character ' ' in host name "a b"`},
		{"unix:", "empty path after unix:, want an absolute one"},
		{"unix:run/x.sock", `relative path "run/x.sock", want an absolute one: unix:/run/NAME`},
		{"unix:@abstract", `relative path "@abstract", want an absolute one: unix:/run/NAME`},
		{"unix:/run/\x00", `zero byte in path "/run/\x00"`},
		{"unix:/" + strings.Repeat("x", maxPath), "path of 108 bytes is too long for a Unix socket, want 107 or fewer"},
	} {
		_, err := parseAddress(tc.in)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("parseAddress(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

// FuzzParseAddress holds that what was parsed is spelled in one way: parsing its key yields the same key.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"10.0.0.5:443", "[fe80::1%eth0]:443", "Origin.:1", "unix:/run/x", "[::ffff:1.2.3.4]:1", ":", "[]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s)
		if err != nil {
			return
		}
		b, err := parseAddress(a.key())
		if err != nil || a.key() != b.key() {
			t.Errorf("parseAddress(%q) has key %q, which parses as %q, %v", s, a.key(), b.key(), err)
		}
	})
}
