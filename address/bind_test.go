package address

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestOverlapIsTheKernels binds every pair of listeners on one port.
func TestOverlapIsTheKernels(t *testing.T) {
	hosts := []string{"", "0.0.0.0", "[::]", "127.0.0.1", "127.0.0.2", "[::1]"}
	for _, first := range hosts {
		for _, second := range hosts {
			got, want := true, false
			for range 5 { // another process may have the port on the second address
				if got, want = bindBoth(t, first, second); got == want {
					break
				}
			}
			if got != want {
				t.Errorf("Overlap(%s:PORT, %s:PORT) = %v, want %v as the kernel has it", first, second, got, want)
			}
		}
	}
}

// bindBoth binds two listeners to one port. It returns what Overlap says, and whether the second
// was refused.
func bindBoth(t *testing.T, first, second string) (said, refused bool) {
	t.Helper()
	one := bind(t, first, "0")
	if one == nil {
		t.Fatalf("%q cannot be bound alone", first)
	}
	defer one.Close()
	_, port, err := net.SplitHostPort(one.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	two := bind(t, second, port)
	if two != nil {
		two.Close()
	}
	return Overlap(listener(t, first+":"+port), listener(t, second+":"+port)), two == nil
}

func listener(t *testing.T, s string) Address {
	t.Helper()
	a, err := ParseListener(s)
	if err != nil {
		t.Fatalf("ParseListener(%q) = %v, want no error", s, err)
	}
	return a
}

func TestOverlap(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:0", "127.0.0.1:0", false}, // each is another port
		{":443", ":444", false},
		{":443", "edge.example:443", true}, // whatever the name's address
		{"edge.example:443", "edge.example:443", true},
		{"edge.example:443", "127.0.0.1:443", false},
		{"[fe80::1%eth0]:443", "[fe80::1%eth1]:443", false},
	} {
		a, b := listener(t, tc.a), listener(t, tc.b)
		if x, y := Overlap(a, b), Overlap(b, a); x != tc.want || y != tc.want {
			t.Errorf("Overlap(%v, %v) = %v, and %v the other way round, want %v", a, b, x, y, tc.want)
		}
	}
}

// bind listens as the edge does; [::] is for IPv6 only. It returns nil when the address is in use.
func bind(t *testing.T, host, port string) net.Listener {
	t.Helper()
	network, v6only := "tcp4", -1
	switch host {
	case "":
		network, host, v6only = "tcp6", "[::]", 0
	case "[::]", "[::1]":
		network, v6only = "tcp6", 1
	}
	control := func(_, _ string, rc syscall.RawConn) (err error) {
		if v6only < 0 {
			return nil
		}
		cerr := rc.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, v6only)
		})
		return errors.Join(err, cerr)
	}
	l, err := (&net.ListenConfig{Control: control}).Listen(context.Background(), network, host+":"+port)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil
	}
	if err != nil {
		t.Fatalf("listen %s:%s: %v", host, port, err)
	}
	return l
}
