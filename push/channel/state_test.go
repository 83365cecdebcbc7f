package channel

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"keyhole/push/wire"
)

func TestP4StateReportsAreKept(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, _ := n.listen(t, "c", map[string]string{"network": "cellular", "battery": "40"})
		mustSet(t, c, map[string]string{"network": "wifi", "foreground": "true"}, "battery", "never.reported")
		want := map[string]string{"network": "wifi", "foreground": "true", "app_version": "2.0"}
		got := c.State()
		if !maps.Equal(got, want) {
			t.Errorf("State() = %v, want %v", got, want)
		}
		got["network"] = "mine"
		if again := c.State(); !maps.Equal(again, want) {
			t.Errorf("State() after writing into the copy = %v, want %v", again, want)
		}
		c.Close("gone")
		n.flush(t)
		if r := n.w.record("tok"); !maps.Equal(r.State, want) || r.AppVersion != "2.0" {
			t.Errorf("record of the terminal = %+v, want the state %v", r, want)
		}
	})
}

// flush has the node write its records now.
func (n *node) flush(t *testing.T) {
	t.Helper()
	if err := n.journal.flush(t.Context()); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

func TestP4AppVersionFollowsTheHello(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, n *node) {
		c, _ := n.listen(t, "c1", map[string]string{"app_version": "2.1"})
		if got := c.State()["app_version"]; got != "2.1" {
			t.Errorf("app_version of a state that names it = %q, want 2.1", got)
		}
		mustSet(t, c, nil, "app_version")
		if got := c.State()["app_version"]; got != "2.0" {
			t.Errorf("app_version after unset = %q, want 2.0, of the hello", got)
		}
		a := phone("c2")
		a.Version = ""
		c, _ = n.listenAs(t, a, "tok", nil)
		if got, ok := c.State()["app_version"]; ok {
			t.Errorf("app_version of a hello without = %q, want none", got)
		}
	})
}

func TestP4StateOutsideTheLimitsChangesNothing(t *testing.T) {
	many := map[string]string{}
	for i := range 5 {
		many[fmt.Sprint("k", i)] = "v"
	}
	for _, c := range []struct {
		name  string
		set   map[string]string
		unset []string
	}{
		{"empty key", map[string]string{"": "v"}, nil},
		{"upper case", map[string]string{"Network": "v"}, nil},
		{"digit first", map[string]string{"1a": "v"}, nil},
		{"dot first", map[string]string{".a": "v"}, nil},
		{"space", map[string]string{"a b": "v"}, nil},
		{"not ASCII", map[string]string{"é": "v"}, nil},
		{"key of 65 bytes", map[string]string{strings.Repeat("k", 65): "v"}, nil},
		{"value of 257 bytes", map[string]string{"k": strings.Repeat("v", 257)}, nil},
		{"version of 257 bytes", map[string]string{"app_version": strings.Repeat("2", 257)}, nil},
		{"value that is not UTF-8", map[string]string{"k": "\xff"}, nil},
		{"too many keys", many, nil},
		{"one bad among good ones", map[string]string{"network": "none", "BAD": "v"}, nil},
		{"set and unset", map[string]string{"network": "none"}, []string{"network"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{StateKeys: 5}, func(t *testing.T, n *node) {
				n.publish(to("network=none"))
				ch, sink := n.listen(t, "c", map[string]string{"network": "wifi"})
				before := ch.State()
				wantCode(t, "SetState", ch.SetState(c.set, c.unset), wire.StateInvalid)
				synctest.Wait()
				if got := ch.State(); !maps.Equal(got, before) {
					t.Errorf("State() = %v, want %v as before", got, before)
				}
				wantSeqs(t, "sent", sink.seqs())
				if c.unset == nil {
					other, err := n.Register(t.Context(), phone("c2"), newTerminal())
					if err != nil {
						t.Fatal(err)
					}
					wantCode(t, "Listen", other.Listen(t.Context(), "tok", c.set), wire.StateInvalid)
					if codes := sink.codes(); len(codes) != 0 {
						t.Errorf("a Listen that was refused closed the older channel with %v", codes)
					}
				}
			})
		})
	}
}

func TestP4StateAtTheLimits(t *testing.T) {
	bubble(t, Config{StateKeys: 3}, func(t *testing.T, n *node) {
		long := map[string]string{"k" + strings.Repeat("z", 63): strings.Repeat("v", 256), "a0_.-": ""}
		c, _ := n.listen(t, "c", long)
		if got := c.State(); len(got) != 3 {
			t.Errorf("State() = %v, want 3 keys", got)
		}
		wantCode(t, "SetState of a fourth key", c.SetState(map[string]string{"d": ""}, nil), wire.StateInvalid)
		mustSet(t, c, map[string]string{"d": ""}, "a0_.-")
	})
}
