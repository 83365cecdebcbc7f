package proxy

import (
	"context"
	"errors"
	"testing"

	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
)

// Shutdown waits for who is being served; when it may wait no longer, what is
// left ends as drained, with its bytes in the record.
func TestShutdownDrains(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	e := serve(t, one("shop.example", o.Address()))
	h := hello(t, "shop.example")
	client := e.dial()
	client.SendBytes(h)
	server := o.Accept()
	server.WantBytes(h)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Shutdown(ctx) }()
	client.Send("still served")
	server.Want("still served")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want %v", err, context.Canceled)
	}
	if b, err := readAll(client); len(b) != 0 || err != nil {
		t.Errorf("client reads %q, %v, want a clean close", b, err)
	}
	if r := e.wantRecord(1, Drained, relay.PhaseRelay); r.Up != uint64(len(h)+12) {
		t.Errorf("record says %d bytes up, want %d", r.Up, len(h)+12)
	}
}

func TestCloseKills(t *testing.T) {
	testkit.NoLeaks(t)
	o := testkit.NewOrigin(t)
	e := serve(t, one("shop.example", o.Address()))
	client := e.dial()
	h := hello(t, "shop.example")
	client.SendBytes(h)
	o.Accept().WantBytes(h)
	e.Close()
	if b, err := readAll(client); len(b) != 0 || err != nil {
		t.Errorf("client reads %q, %v, want a clean close", b, err)
	}
	e.wantRecord(1, Killed, relay.PhaseRelay)
}
