package auth

import (
	"testing"
	"time"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// The clock of these stands still, so that nothing expires under them.

func BenchmarkOpen(b *testing.B) {
	w := newWorld(b)
	a := w.node()
	w.user("alice")
	token := w.login(a, "alice").session
	for b.Loop() {
		if _, err := a.Open(w.ctx, token); err != nil {
			b.Fatal(err)
		}
	}
}

// A month of daily renewals: the session's key is the oldest of 31.
func BenchmarkOpenOldestKey(b *testing.B) {
	w := newWorld(b)
	a := w.node(func(c *Config) { c.SessionLife = 31 * day })
	w.user("alice")
	token := w.login(a, "alice").session
	for range 30 {
		w.clock.Advance(day)
		if _, err := a.ring.rotate(w.ctx); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := a.Open(w.ctx, token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenParallel(b *testing.B) {
	w := newWorld(b)
	a := w.node()
	w.user("alice")
	token := w.login(a, "alice").session
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := a.Open(w.ctx, token); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkOpenForged(b *testing.B) {
	w := newWorld(b)
	a := w.node()
	w.user("alice")
	token := w.login(a, "alice").session
	forged := token[:len(token)-8] + "AAAAAAAA"
	for b.Loop() {
		if _, err := a.Open(w.ctx, forged); err == nil {
			b.Fatal("Open = nil, want an error")
		}
	}
}

// What the client signs is in it.
func BenchmarkRenew(b *testing.B) {
	w := newWorld(b)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	s := w.open(a, term.session)
	pair := [2]*keys.Private{term.key, newKey(b)}
	for b.Loop() {
		r := &renewal{session: term.session, old: pair[0], new: pair[1], epoch: s.Record.Epoch + 1, nonce: []byte("n"), expected: []byte("n")}
		next, token, err := a.Renew(w.ctx, s, r.sign(w))
		if err != nil {
			b.Fatal(err)
		}
		s, term.session, pair = next, token, [2]*keys.Private{pair[1], pair[0]}
	}
}

func BenchmarkLogin(b *testing.B) {
	w := newWorld(b)
	a := w.node()
	if err := a.CreateUser(w.ctx, "alice", password); err != nil {
		b.Fatal(err)
	}
	r := request(b, "alice", password)
	for b.Loop() {
		if _, err := a.Login(w.ctx, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkServerKeyFarBehind(b *testing.B) {
	w := newWorld(b)
	a := w.node()
	first := a.ring.get().Current().ID()
	for range 3 {
		w.clock.Advance(24 * time.Hour)
		if _, err := a.ring.rotate(w.ctx); err != nil {
			b.Fatal(err)
		}
	}
	var k *wire.Key
	for b.Loop() {
		k = a.ServerKey(first)
	}
	if k == nil {
		b.Fatal("ServerKey = nil, want the current one")
	}
}
