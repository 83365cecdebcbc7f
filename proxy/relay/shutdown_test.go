package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

func TestShutdownWaitsForTheConnections(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{loops: 2, targets: []Target{o.target()}})
	client, server := e.pair(o)
	done := make(chan error, 1)
	go func() { done <- e.engine.Shutdown(t.Context()) }()
	testkit.Eventually(t, "listener closed", func() bool {
		c, err := net.Dial("tcp", e.addr.String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	client.Send("still served")
	server.Want("still served")
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned (%v) with a connection open", err)
	default:
	}
	client.Close()
	server.WantEnd(nil)
	server.Close()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v, want nil", err)
	}
	e.until(ClientClosed)
}

// until takes records until one has the given reason. Those before it are of
// clients that came and went without a byte.
func (e *edge) until(r Reason) Summary {
	e.t.Helper()
	for {
		s := e.record()
		if s.Reason == r {
			return s
		}
		if s.Reason != ClientGone {
			e.t.Fatalf("record says %q, want %q or %q", s.Reason, r, ClientGone)
		}
	}
}

func TestShutdownClosesTheRestAsDrained(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{loops: 2, targets: []Target{o.target()}})
	client, server := e.pair(o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.engine.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want %v", err, context.Canceled)
	}
	client.WantEnd(nil)
	server.WantEnd(nil)
	e.wantRecord(Drained, PhaseRelay)
}

// A client that was turned away, or whose origin had done with it, has its
// reason already; the end of the drain does not change it.
func TestDrainDoesNotRenameWhatHasEnded(t *testing.T) {
	testkit.NoLeaks(t)
	e := serve(t, options{reject: alert})
	client := e.dial()
	client.Send("R\n")
	client.Want("\x15\x03\x01\x00\x02\x02\x50")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.engine.Shutdown(ctx)
	e.wantRecord(Rejected, PhaseHello)
}

func TestCloseKills(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{loops: 2, targets: []Target{o.target()}})
	client, server := e.pair(o)
	half := e.dial()
	half.Send("hel")
	testkit.Eventually(t, "two connections open", func() bool { return e.engine.Active() == 2 })
	e.engine.Close()
	client.WantEnd(nil)
	server.WantEnd(nil)
	half.WantEnd(nil)
	for range 2 {
		if s := e.record(); s.Reason != Killed {
			t.Errorf("record says %q, want %q", s.Reason, Killed)
		}
	}
	e.engine.Close() // a second time does nothing
}

// Whoever is in the accept queue when the edge stops is served.
func TestShutdownLosesNothingOfTheAcceptQueue(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	serving := o.Echo()
	e := serve(t, options{targets: []Target{o.target()}})
	const queued = 200
	resume := e.pause()
	var clients []*peer
	for range queued {
		c := e.dial()
		c.Send("hello\n")
		clients = append(clients, c)
	}
	done := make(chan error, 1)
	go func() { done <- e.engine.Shutdown(t.Context()) }()
	testkit.Eventually(t, "Shutdown begun", e.engine.stopping.Load)
	resume()
	for _, c := range clients {
		c.Want("hello\n")
		c.Close()
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v, want nil", err)
	}
	if n := len(e.records); n != queued {
		t.Errorf("%d records of %d connections", n, queued)
	}
	o.Close()
	serving.Wait()
}

// Even in a hurry each connection has its record, and no client that was
// connected sees a reset.
func TestHurryLosesNothingOfTheAcceptQueue(t *testing.T) {
	testkit.NoLeaks(t)
	e := serve(t, options{})
	const queued = 50
	resume := e.pause()
	var clients []*peer
	for range queued {
		c := e.dial()
		c.Send("hel")
		clients = append(clients, c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 1)
	go func() { done <- e.engine.Shutdown(ctx) }()
	testkit.Eventually(t, "Shutdown begun", e.engine.stopping.Load)
	resume()
	<-done
	for _, c := range clients {
		c.WantEnd(nil)
		e.wantRecord(Drained, PhaseHello)
	}
}

// A client is connected as soon as its kernel says so; that it has not spoken
// yet is no reason to lose it.
func TestShutdownServesWhoHasNotSpokenYet(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	serving := o.Echo()
	e := serve(t, options{targets: []Target{o.target()}})
	client := e.dial()
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.engine.Shutdown(t.Context())
	}()
	select {
	case <-done: // and has forgotten the client
	case <-time.After(100 * time.Millisecond):
	}
	if _, err := io.WriteString(client, "hello\n"); err != nil {
		t.Errorf("write: %v, want none", err)
	}
	client.Want("hello\n")
	client.Close()
	<-done
	o.Close()
	serving.Wait()
}

// Close may be called when a Shutdown takes too long, as with net/http.
func TestCloseDuringShutdown(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	serving := o.Echo()
	for range 100 {
		e := serve(t, options{loops: 2, targets: []Target{o.target()}})
		client := e.dial()
		client.Send("hello\n")
		client.Want("hello\n")
		var both sync.WaitGroup
		both.Go(func() { e.engine.Shutdown(t.Context()) })
		both.Go(func() {
			testkit.Eventually(t, "Shutdown begun", e.engine.stopping.Load)
			e.engine.Close()
		})
		both.Wait()
		client.WantEnd(nil)
		e.wantRecord(Killed, PhaseRelay)
	}
	o.Close()
	serving.Wait()
}

// An engine that never started holds listeners and descriptors all the same.
func TestCloseWithoutStart(t *testing.T) {
	testkit.NoLeaks(t)
	engine, err := New(Options{Loops: 3, NewSession: func(*Conn) Session { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Listen(netip.MustParseAddrPort("127.0.0.1:0"), ListenOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := engine.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v, want nil", err)
	}
}

func TestListenWhileRunning(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{loops: 2, targets: []Target{o.target()}})
	ln, err := e.engine.Listen(netip.MustParseAddrPort("127.0.0.1:0"), ListenOptions{Value: "second"})
	if err != nil {
		t.Fatal(err)
	}
	e.addr = ln.Addr()
	client, server := e.pair(o)
	c := e.connection()
	if got := c.Listener(); got != ln || got.Value() != "second" {
		t.Errorf("connection has listener %v, want the second", got.Addr())
	}
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
	if _, err := e.engine.Listen(e.addr, ListenOptions{}); err == nil {
		t.Errorf("a second Listen(%q) is no error, want address in use", e.addr)
	}
}

// New under a descriptor limit fails whole.
func TestNewWithoutDescriptors(t *testing.T) {
	testkit.NoLeaks(t)
	free := useUpDescriptors(t)
	_, err := New(Options{Loops: 2})
	free()
	if err == nil {
		t.Error("New is no error with no descriptor left")
	}
}
