package e2e

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// pausedLimit is every limit of the edge that is paused. A test must need less before the pause.
const pausedLimit = 3 * time.Second

// pausedFor is longer than that, and so longer than all that is left of it.
const pausedFor = pausedLimit * 3 / 2

// pause stops the edge. The returned function has it go on once it has stood still for d.
func (e *edge) pause(t *testing.T, d time.Duration) (goOn func()) {
	t.Helper()
	stopped := time.NewTimer(d)
	if err := unix.Kill(e.Process.Pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// A thread that is busy stops a little later.
	if err := unix.Waitid(unix.P_PID, e.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatalf("waiting until the edge has stopped: %v", err)
	}
	return func() {
		t.Helper()
		<-stopped.C
		if err := unix.Kill(e.Process.Pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
}

// paused is an edge with short limits and an origin.
type paused struct {
	*edge
	origin *testkit.Origin
}

func pausable(t *testing.T, routes string) paused {
	o := testkit.NewOrigin(t)
	return paused{origin: o, edge: planFor(t, plan{
		settings: fmt.Sprintf("timeouts: {hello: %s, connect: %[1]s, idle: %[1]s, half_close: %[1]s}\n", pausedLimit),
		routes:   route("*.test", o.Address()) + routes,
	})}
}

// pair connects a client with the origin.
func (p paused) pair(t *testing.T, name string) (client, server *testkit.Peer) {
	t.Helper()
	client = testkit.Dial(t, p.address)
	hello := helloFor(t, name)
	client.SendBytes(hello)
	server = p.origin.Accept()
	server.WantBytes(hello)
	return client, server
}

// A pause of the whole process, by SIGSTOP, a frozen cgroup or a live migration, may be longer than
// every limit. It ends only the connections that nothing came on.
func TestPauseCutsOnlyWhatIsSilent(t *testing.T) {
	t.Parallel()
	p := pausable(t, "")
	client, server := p.pair(t, "client.test")
	hears, says := p.pair(t, "origin.test")
	ended, answers := p.pair(t, "half.test")
	ended.FIN()
	answers.WantEnd(nil)
	p.pair(t, "silent.test")
	leaves, stays := p.pair(t, "leaves.test")

	goOn := p.pause(t, pausedFor)
	client.Send("said in the pause")
	says.Send("answered in the pause")
	answers.Send("the rest of the answer")
	leaves.FIN()
	goOn()
	server.Want("said in the pause")
	hears.Want("answered in the pause")
	ended.Want("the rest of the answer")
	answers.Close()
	stays.WantEnd(nil)
	stays.Send("answered to the end")
	leaves.Want("answered to the end")
	stays.Close()
	p.only(t, "half.test", "client_closed")
	p.only(t, "silent.test", "idle_timeout")
	p.only(t, "leaves.test", "client_closed")
	// Both ways are open.
	server.Send("yes")
	client.Want("yes")
	hears.Send("no")
	says.Want("no")
}

// A hello that was complete before its limit is served, however late the edge reads it.
func TestPauseTakesNoTimeFromAHello(t *testing.T) {
	t.Parallel()
	p := pausable(t, "")
	hello := helloFor(t, "late.test")
	late, never := testkit.Dial(t, p.address), testkit.Dial(t, p.address)
	before := p.sockets(t)
	late.SendBytes(hello[:20])
	never.SendBytes(hello[:20])
	testkit.Eventually(t, "the edge has both clients", func() bool { return p.sockets(t) == before+2 })
	goOn := p.pause(t, pausedFor)
	late.SendBytes(hello[20:])
	goOn()
	server := p.origin.Accept()
	server.WantBytes(hello)
	server.Send("yes")
	late.Want("yes")
	never.WantEnd(nil)
	p.only(t, "", "hello_timeout")
}

// An origin that accepted before the dial's limit has accepted.
func TestPauseTakesNoTimeFromADial(t *testing.T) {
	t.Parallel()
	full := fullOrigin(t, "tcp")
	p := pausable(t, route("dial.example", full.Address()))
	hello := helloFor(t, "dial.example")
	client := testkit.Dial(t, p.address)
	client.SendBytes(hello)
	awaitSYN(t, full)
	goOn := p.pause(t, pausedFor)
	full.Accept().Close() // the filler
	server := full.Accept()
	goOn()
	server.WantBytes(hello)
	server.Send("yes")
	client.Want("yes")
	client.Close()
	server.WantEnd(nil)
	server.Close()
	p.only(t, "dial.example", "client_closed")
}
