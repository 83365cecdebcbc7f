package sni

import (
	"slices"
	"strings"
	"testing"
)

func TestProtocols(t *testing.T) {
	p := Protocols("\x02h2\x08http/1.1")
	if got, want := p.Strings(), []string{"h2", "http/1.1"}; !slices.Equal(got, want) {
		t.Errorf("Strings() = %q, want %q", got, want)
	}
	for protocol, want := range map[string]bool{"h2": true, "http/1.1": true, "h": false, "http/1.10": false, "": false} {
		if got := p.Has(protocol); got != want {
			t.Errorf("Has(%q) = %t, want %t", protocol, got, want)
		}
	}
	if got := Protocols(nil).Strings(); got != nil {
		t.Errorf("Strings() of no list = %q, want nil", got)
	}
}

func TestMakeProtocols(t *testing.T) {
	long := strings.Repeat("x", MaxProtocol)
	got := MakeProtocols([]string{"h2", "", long + "x", long})
	if want := "\x02h2\xff" + long; string(got) != want {
		t.Errorf("MakeProtocols = %q, want %q", []byte(got), want)
	}
	if got := MakeProtocols(nil); got != nil {
		t.Errorf("MakeProtocols(nil) = %q, want nil", []byte(got))
	}
}

func TestProtocolsCutShort(t *testing.T) {
	for _, p := range []Protocols{Protocols("\x02h2\x08http"), Protocols("\x02h2\x01")} {
		if got, want := p.Strings(), []string{"h2"}; !slices.Equal(got, want) {
			t.Errorf("%q: Strings() = %q, want %q", []byte(p), got, want)
		}
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		wire Versions
		all  []uint16
		max  uint16
	}{
		{nil, nil, 0},
		{Versions{3, 3}, []uint16{0x0303}, 0x0303},
		{Versions{0xfa, 0xfa, 3, 4, 3, 3}, []uint16{0xfafa, 0x0304, 0x0303}, 0x0304},
		{Versions{3, 1, 3, 2}, []uint16{0x0301, 0x0302}, 0x0302},
		{Versions{0x0a, 0x0a}, []uint16{0x0a0a}, 0},
		{Versions{0x0a, 0x1a, 3, 4}, []uint16{0x0a1a, 0x0304}, 0x0a1a}, // not one of the GREASE values
		{Versions{3, 4, 3}, []uint16{0x0304}, 0x0304},
	} {
		if got := slices.Collect(c.wire.All()); !slices.Equal(got, c.all) {
			t.Errorf("%x: All() = %x, want %x", []byte(c.wire), got, c.all)
		}
		if got := c.wire.Max(); got != c.max {
			t.Errorf("%x: Max() = %#x, want %#x", []byte(c.wire), got, c.max)
		}
		for _, v := range c.all {
			if !c.wire.Has(v) {
				t.Errorf("%x: Has(%#x) = false, want true", []byte(c.wire), v)
			}
		}
		if c.wire.Has(0x0300) {
			t.Errorf("%x: Has(0x0300) = true, want false", []byte(c.wire))
		}
	}
}

func TestListsDoNotAllocate(t *testing.T) {
	p, v := Protocols("\x02h2\x08http/1.1"), Versions{0xfa, 0xfa, 3, 4}
	got := testing.AllocsPerRun(10, func() {
		if !p.Has("http/1.1") || !v.Has(0x0304) || v.Max() != 0x0304 {
			t.Error("a list lost an entry")
		}
	})
	if got != 0 {
		t.Errorf("Has and Max: %v allocations, want 0", got)
	}
}
