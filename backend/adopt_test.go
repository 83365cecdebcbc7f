package backend

import "testing"

func TestAdopt(t *testing.T) {
	before := newPool(t, Config{Servers: servers("10.0.0.1:443", "unix:/run/x.sock", "Origin.internal:443", "10.0.0.2:443")})
	answer(t, before, "origin.internal", "10.0.1.1", "10.0.1.2")
	c := Config{Balance: LeastConnections, MaxConnections: 2, Servers: []ServerConfig{
		{Address: "origin.internal:443", Weight: 9},
		{Address: "unix:/run/x.sock"},
		{Address: "10.0.0.1:443", Backup: 1},
		{Address: "10.0.0.3:443"},
	}}
	after := newPool(t, c)
	after.Adopt(before)
	wantNames(t, after, "Origin.internal:443 (10.0.1.1:443)", "Origin.internal:443 (10.0.1.2:443)", "unix:/run/x.sock",
		"10.0.0.3:443", "10.0.0.1:443")
	for _, name := range names(after) {
		if name != "10.0.0.3:443" && endpoint(t, after, name) != endpoint(t, before, name) {
			t.Errorf("%s is another endpoint after Adopt, want the same", name)
		}
	}
}

func TestAdoptKeepsCounts(t *testing.T) {
	c := Config{Servers: servers("10.0.0.1:443"), MaxConnections: 1}
	before, after := newPool(t, c), newPool(t, c)
	e := wantPick(t, before, nil, "10.0.0.1:443")
	after.Adopt(before)
	wantPick(t, after, nil, "")
	e.Release()
	wantPick(t, after, nil, "10.0.0.1:443")
	wantPick(t, before, nil, "")
}

// TestAdoptAfterAnswer: an answer that is newer than the old pool's stays, with the old endpoints
// where there are any.
func TestAdoptAfterAnswer(t *testing.T) {
	c := Config{Servers: servers("origin.internal:443"), MaxConnections: 1}
	before, after := newPool(t, c), newPool(t, c)
	answer(t, before, "origin.internal", "10.0.0.1", "10.0.0.2", "10.0.0.4")
	left := endpoint(t, before, "origin.internal:443 (10.0.0.4:443)")
	left.acquire(0)
	answer(t, before, "origin.internal", "10.0.0.1", "10.0.0.2")
	answer(t, after, "origin.internal", "10.0.0.2", "10.0.0.3")
	own := endpoint(t, after, "origin.internal:443 (10.0.0.3:443)")
	after.Adopt(before)
	wantNames(t, after, "origin.internal:443 (10.0.0.2:443)", "origin.internal:443 (10.0.0.3:443)")
	two := "origin.internal:443 (10.0.0.2:443)"
	if endpoint(t, after, two) != endpoint(t, before, two) {
		t.Errorf("%s is another endpoint after Adopt, want the same", two)
	}
	if endpoint(t, after, own.String()) != own {
		t.Errorf("%s, which the old pool has not, was replaced, want it to stay", own)
	}
	answer(t, after, "origin.internal", "10.0.0.4")
	if got := endpoint(t, after, left.String()); got != left {
		t.Errorf("%s came back with %d connections, want 1", got, got.active.Load())
	}
}

func TestAdoptNothing(t *testing.T) {
	p := newPool(t, Config{Servers: servers("10.0.0.1:443")})
	e := endpoint(t, p, "10.0.0.1:443")
	p.Adopt(nil)
	p.Adopt(p)
	p.Adopt(newPool(t, Config{Servers: servers("10.0.0.2:443")}))
	if endpoint(t, p, "10.0.0.1:443") != e {
		t.Errorf("%s was replaced, want it to stay: the pools have nothing in common", e)
	}
}
