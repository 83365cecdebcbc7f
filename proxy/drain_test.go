package proxy

import (
	"context"
	"errors"
	"testing"

	"keyhole/proxy/relay"
)

// Shutdown waits for who is being served; when it may wait no longer, what is
// left ends as drained, with its bytes in the record.
func TestShutdownDrains(t *testing.T) {
	noLeaks(t)
	o := newOrigin(t)
	e := serve(t, one("shop.example", o.address()))
	h := hello(t, "shop.example")
	client := e.dial()
	send(t, client, h)
	server := o.accept()
	want(t, server, h)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Shutdown(ctx) }()
	send(t, client, []byte("still served"))
	want(t, server, []byte("still served"))
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want %v", err, context.Canceled)
	}
	if b, err := readAll(client); len(b) != 0 || err != nil {
		t.Errorf("client reads %q, %v, want a clean close", b, err)
	}
	if r := e.wantRecord(1, relay.Drained, relay.PhaseRelay); r.Up != uint64(len(h)+12) {
		t.Errorf("record says %d bytes up, want %d", r.Up, len(h)+12)
	}
}

func TestCloseKills(t *testing.T) {
	noLeaks(t)
	o := newOrigin(t)
	e := serve(t, one("shop.example", o.address()))
	client := e.dial()
	h := hello(t, "shop.example")
	send(t, client, h)
	want(t, o.accept(), h)
	e.Close()
	if b, err := readAll(client); len(b) != 0 || err != nil {
		t.Errorf("client reads %q, %v, want a clean close", b, err)
	}
	e.wantRecord(1, relay.Killed, relay.PhaseRelay)
}
