package address

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := "/" + strings.Repeat("x", maxPath-1)
	both := []func(string) (Address, error){ParseServer, ParseListener}
	for _, tc := range []struct {
		in, want string
		by       []func(string) (Address, error)
	}{
		{"10.0.0.5:443", "10.0.0.5:443", both},
		{"10.0.0.5:0443", "10.0.0.5:443", both},
		{"[2001:db8::5]:443", "[2001:db8::5]:443", both},
		{"[2001:DB8:0::5]:443", "[2001:db8::5]:443", both},
		{"[::ffff:10.0.0.5]:443", "10.0.0.5:443", both},
		{"[fe80::1%eth0]:443", "[fe80::1%eth0]:443", both},
		{"[fe80::1%2]:443", "[fe80::1%2]:443", both},
		{"169.254.0.1:443", "169.254.0.1:443", both},
		{"origin.internal:443", "origin.internal:443", both},
		{"Origin.INTERNAL.:443", "origin.internal.:443", both},
		{"bücher.example:443", "xn--bcher-kva.example:443", both},
		{"my_origin:1", "my_origin:1", both},
		{"4you:65535", "4you:65535", both},
		{"unix:/run/x.sock", "unix:/run/x.sock", both[:1]},
		{"10.0.0.5:listen", "10.0.0.5:listen", both[:1]},
		{"[fe80::1%eth0]:listen", "[fe80::1%eth0]:listen", both[:1]},
		{"Origin.internal:listen", "origin.internal:listen", both[:1]},
		{"{sni}:443", "{sni}:443", both[:1]},
		{"{sni}:listen", "{sni}:listen", both[:1]},
		{"{sni}.Internal.:0443", "{sni}.internal:443", both[:1]},
		{"unix:" + long, "unix:" + long, both[:1]},
		{":443", ":443", both[1:]},
		{"10.0.0.5:0", "10.0.0.5:0", both[1:]},
		{"0.0.0.0:443", "0.0.0.0:443", both[1:]},
		{"[::]:443", "[::]:443", both[1:]},
		{"[::ffff:0.0.0.0]:443", "0.0.0.0:443", both[1:]},
	} {
		for _, parse := range tc.by {
			if a, err := parse(tc.in); err != nil || a.String() != tc.want {
				t.Errorf("parsing %q gives %q, %v, want %q", tc.in, a, err, tc.want)
			}
		}
	}
}

// Errors that servers and listeners have in common.
func TestParseErrors(t *testing.T) {
	label := strings.Repeat("a", 64)
	for _, tc := range []struct{ in, want string }{
		{"", "empty address, write host:port"},
		{"10.0.0.5", "missing port, did you mean 10.0.0.5:443?"},
		{"10.0.0.5:", "missing port, did you mean 10.0.0.5:443?"},
		{"[::1]", "missing port, did you mean [::1]:443?"},
		{"[::1]:", "missing port, did you mean [::1]:443?"},
		{"Origin.internal", "missing port, did you mean origin.internal:443?"},
		{"a\nb", "host name has a character that no host name has"},
		{"::1", "an IPv6 address needs brackets and a port, did you mean [::1]:443?"},
		{"2001:db8::1:8443", "an IPv6 address needs brackets and a port, did you mean [2001:db8::1]:8443 or [2001:db8::1:8443]:443?"},
		{"a:b:443", "too many colons, an IPv6 address is written [2001:db8::1]:443"},
		{"[::1:443", "brackets are for an IPv6 address, such as [2001:db8::1]:443"},
		{"[127.0.0.1]:443", "brackets are for an IPv6 address, such as [2001:db8::1]:443"},
		{"[::1]443", "after the bracket comes the port, such as [2001:db8::1]:443"},
		{"https://origin.internal", `an address has no scheme, leave out "https://"`},
		{"10.0.0.5:65536", `port "65536" is not a number up to 65535`},
		{"10.0.0.5:+1", `port "+1" is not a number up to 65535`},
		{"10.0.0.5:https", `port "https" is not a number up to 65535`},
		{"224.0.0.1:443", "224.0.0.1 is a multicast address, want a unicast one"},
		{"[::ffff:224.0.0.1]:443", "224.0.0.1 is a multicast address, want a unicast one"},
		{"[ff02::1]:443", "ff02::1 is a multicast address, want a unicast one"},
		{"255.255.255.255:443", "255.255.255.255 is the broadcast address, want a unicast one"},
		{"[fe80::1]:443", "a link-local address needs its interface, as in [fe80::1%eth0]:443"},
		{"[febf::1]:443", "a link-local address needs its interface, as in [febf::1%eth0]:443"},
		{"[::1%lo]:443", `only a link-local address has a zone, leave out "%lo"`},
		{"[2001:db8::1%eth0]:443", `only a link-local address has a zone, leave out "%eth0"`},
		{"[fe80::1%eth/0]:443", `zone "eth/0" is not the name of an interface`},
		{"[fe80::1%0123456789abcdef]:443", `zone "0123456789abcdef" is not the name of an interface`},
		{"10.0.0.256:443", "neither an IP address nor a host name, whose last label is no number"},
		{"a..b:443", "host name has an empty label"},
		{".:443", "host name has an empty label"},
		{label + ":443", "host name has a label longer than 63 bytes"},
		{strings.Repeat("a.", 127) + "a:443", "host name is longer than 253 bytes"},
		{"a b:443", "host name has a character that no host name has"},
	} {
		for what, parse := range map[string]func(string) (Address, error){"ParseServer": ParseServer, "ParseListener": ParseListener} {
			wantError(t, what, tc.in, parse, tc.want)
		}
	}
}

func wantError(t *testing.T, what, in string, parse func(string) (Address, error), want string) {
	t.Helper()
	a, err := parse(in)
	if err == nil || err.Error() != want || a != (Address{}) {
		t.Errorf("%s(%q) = %q, %v, want the error: %s", what, in, a, err, want)
	}
}

func TestParseServerErrors(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{":443", "missing host, write 127.0.0.1:443 for this machine"},
		{"10.0.0.5:0", "port 0 cannot be connected to, want 1 to 65535"},
		{":listen", "missing host, the port of the listener on this machine is the edge itself"},
		{"0.0.0.0:listen", "0.0.0.0 is no server's address, write 127.0.0.1 for this machine"},
		{"{sni}:0", "port 0 cannot be connected to, want 1 to 65535"},
		{"{sni}:https", `port "https" is not a number up to 65535`},
		{"{sni}", "missing port, did you mean {sni}:443?"},
		{"{sni}:", "missing port, did you mean {sni}:443?"},
		{"{sni}.internal", "missing port, did you mean {sni}.internal:443?"},
		{"{sni}.a..b:443", "host name has an empty label"},
		{"{sni}.:443", errBehindSNI.Error()},
		{"{sni}443", errBehindSNI.Error()},
		{"{sni}-x.internal:443", errBehindSNI.Error()},
		{"{sni}.10.0.0.5:443", errBehindSNI.Error()},
		{"{sni}.5:443", "neither an IP address nor a host name, whose last label is no number"},
		{"{sni}:443:443", "too many colons, an IPv6 address is written [2001:db8::1]:443"},
		{"www.{sni}:443", `{sni} is the whole name that the client asks for, leave out "www."`},
		{"https://{sni}:443", `{sni} is the whole name that the client asks for, leave out "https://"`},
		{"{sni}{sni}:443", errNotSNI.Error()},
		{"{SNI}:443", errNotSNI.Error()},
		{"$ssl_preread_server_name:443", errNotSNI.Error()},
		{"${SNI}.internal:443", errNotSNI.Error()},
		{"0.0.0.0:443", "0.0.0.0 is no server's address, write 127.0.0.1 for this machine"},
		{"[::ffff:0.0.0.0]:443", "0.0.0.0 is no server's address, write 127.0.0.1 for this machine"},
		{"[::]:443", ":: is no server's address, write [::1] for this machine"},
		{"/run/x.sock", "a path is no address, write unix: before it for a Unix socket"},
		{"unix:", "the path of a Unix socket must be absolute, such as unix:/run/origin.sock"},
		{"unix:run/x.sock", "the path of a Unix socket must be absolute, such as unix:/run/origin.sock"},
		{"unix:@abstract", "the path of a Unix socket must be absolute, such as unix:/run/origin.sock"},
		{"unix:/run/\x00", "the path of a Unix socket cannot hold a zero byte"},
		{"unix:/" + strings.Repeat("x", maxPath), "the path of a Unix socket is at most 107 bytes long, this one is 108"},
	} {
		wantError(t, "ParseServer", tc.in, ParseServer, tc.want)
	}
}

func TestParseListenerErrors(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"443", `missing host, did you mean ":443"?`},
		{":", "missing port, did you mean :443?"},
		{":listen", `port "listen" is for servers, a listener has a number`},
		{"{sni}:443", "host name has a character that no host name has"},
		{"unix:/run/x.sock", "a Unix socket has no clients on the network, write host:port"},
		{"/run/x.sock", "a Unix socket has no clients on the network, write host:port"},
	} {
		wantError(t, "ParseListener", tc.in, ParseListener, tc.want)
	}
}

// FuzzParse holds that an address is spelled in one way: its spelling parses to the same address. A
// listener that is no server is one for a reason that can be named.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"10.0.0.5:443", "[fe80::1%eth0]:443", "Origin.:1", "unix:/run/x", "[::ffff:1.2.3.4]:1", ":", "[]:1", ":0", "[::]:1",
		"{sni}.Internal:0443", "{sni}:listen", "[::1]:listen", "[fe80::1%{sni}]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		server, err := ParseServer(s)
		if err == nil {
			if again, err := ParseServer(server.String()); err != nil || again != server {
				t.Errorf("ParseServer(%q) = %q, which parses as %q, %v", s, server, again, err)
			}
		}
		listener, lerr := ParseListener(s)
		if lerr == nil {
			if again, err := ParseListener(listener.String()); err != nil || again != listener {
				t.Errorf("ParseListener(%q) = %q, which parses as %q, %v", s, listener, again, err)
			}
			if err != nil && listener.Port != 0 && !listener.isAny() && !listener.IP.IsUnspecified() {
				t.Errorf("ParseListener(%q) = %q, but ParseServer: %v", s, listener, err)
			}
		}
		if err == nil && server.Path == "" && !server.SNI && !server.Listen && lerr != nil {
			t.Errorf("ParseServer(%q) = %q, but ParseListener: %v", s, server, lerr)
		}
	})
}

func TestReaches(t *testing.T) {
	own := netip.MustParseAddr("192.0.2.9")
	local := func(a netip.Addr) bool { return a.IsLoopback() || a == own }
	for _, tc := range []struct {
		to, bound string
		ipv6Only  bool
		want      bool
	}{
		{"127.0.0.1", "0.0.0.0", false, true},
		{"127.9.9.9", "0.0.0.0", false, true},
		{"192.0.2.9", "0.0.0.0", false, true},
		{"::ffff:192.0.2.9", "0.0.0.0", false, true},
		{"192.0.2.8", "0.0.0.0", false, false},
		{"::1", "0.0.0.0", false, false},
		{"::", "0.0.0.0", false, false},
		{"0.0.0.0", "0.0.0.0", false, true},
		{"0.0.0.0", "127.0.0.1", false, true},
		{"0.0.0.0", "127.0.0.2", false, false},
		{"127.0.0.2", "127.0.0.1", false, false},
		{"127.0.0.1", "::", false, true},
		{"127.0.0.1", "::", true, false},
		{"::1", "::", true, true},
		{"::", "::1", false, true},
		{"::", "127.0.0.1", false, false},
		{"2001:db8::1", "2001:db8::1", false, true},
		{"2001:db8::1", "2001:db8::2", false, false},
		{"fe80::1%eth0", "fe80::1%eth0", false, true},
		{"fe80::1%eth0", "fe80::1", false, true},
		{"fe80::1%eth0", "fe80::1%eth1", false, false},
	} {
		to, bound := netip.MustParseAddr(tc.to), netip.MustParseAddr(tc.bound)
		if got := Reaches(to, bound, tc.ipv6Only, local); got != tc.want {
			t.Errorf("Reaches(%v, %v, %v) = %v, want %v", to, bound, tc.ipv6Only, got, tc.want)
		}
	}
}
