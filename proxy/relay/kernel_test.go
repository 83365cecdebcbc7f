package relay

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// Every error of accept but the three that say nothing of the machine backs
// off for a tick, is counted, and ends: the client is served after all.
func TestAcceptIsRefused(t *testing.T) {
	for _, e := range []unix.Errno{unix.ENOMEM, unix.ENOBUFS, unix.EPERM, unix.EPROTO, unix.ENETDOWN, unix.EOPNOTSUPP} {
		t.Run(e.Error(), func(t *testing.T) {
			testkit.NoLeaks(t)
			const refused = 3
			var calls atomic.Int64
			k := linux
			k.accept = func(fd int32, sa *unix.RawSockaddrAny, size *uint32) (int32, unix.Errno) {
				if calls.Add(1) <= refused {
					return -1, e
				}
				return sysAccept(fd, sa, size)
			}
			o := newOrigins(t)
			edge := serve(t, options{targets: []Target{o.target()}, kernel: k})
			start := time.Now()
			client, server := edge.pair(o)
			if took := time.Since(start); took < (refused-1)*tick {
				t.Errorf("the client was served after %v, want no less than a tick of %v for each refusal", took, tick)
			}
			if n := edge.engine.Refusals(TroubleAccept); n != refused {
				t.Errorf("%d refusals are counted, want %d", n, refused)
			}
			client.Close()
			server.WantEnd(nil)
		})
	}
}

// A client that was reset in the queue is no reason to stop accepting.
func TestAcceptOfAResetClient(t *testing.T) {
	testkit.NoLeaks(t)
	var calls atomic.Int64
	k := linux
	k.accept = func(fd int32, sa *unix.RawSockaddrAny, size *uint32) (int32, unix.Errno) {
		if calls.Add(1) == 1 {
			return -1, unix.ECONNABORTED
		}
		return sysAccept(fd, sa, size)
	}
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, kernel: k})
	e.pair(o)
	if n := e.engine.Refusals(TroubleAccept); n != 0 {
		t.Errorf("%d refusals are counted, want none", n)
	}
}

// epoll_ctl that fails for want of memory or watches leaves no listener deaf:
// it is tried again at each tick.
func TestEpollRefusesAListener(t *testing.T) {
	testkit.NoLeaks(t)
	for _, refusal := range []unix.Errno{unix.ENOSPC, unix.ENOMEM} {
		var refusing atomic.Bool
		var once atomic.Bool
		k := linux
		k.accept = func(fd int32, sa *unix.RawSockaddrAny, size *uint32) (int32, unix.Errno) {
			if once.CompareAndSwap(false, true) {
				refusing.Store(true)
				return -1, unix.ENOMEM // has the loop look away from its listeners
			}
			return sysAccept(fd, sa, size)
		}
		k.epollCtl = func(epfd int32, op uintptr, fd int32, events uint32, token uint64) unix.Errno {
			if refusing.Load() && op == unix.EPOLL_CTL_ADD {
				return refusal
			}
			return epollCtl(epfd, op, fd, events, token)
		}
		o := newOrigins(t)
		e := serve(t, options{targets: []Target{o.target()}, kernel: k})
		client := e.dial()
		client.Send("hello\n")
		testkit.Eventually(t, "two refusals", func() bool { return e.engine.Refusals(TroubleEpoll) >= 2 })
		refusing.Store(false)
		o.accept().Want("hello\n")
	}
}

// A connection whose sockets cannot be watched ends, and says that it is the
// machine.
func TestEpollRefusesAConnection(t *testing.T) {
	testkit.NoLeaks(t)
	for _, which := range []int{client, origin} {
		var engine atomic.Pointer[Engine]
		k := linux
		k.epollCtl = func(epfd int32, op uintptr, fd int32, events uint32, token uint64) unix.Errno {
			if engine.Load() != nil && op == unix.EPOLL_CTL_ADD && int(token&1) == which && uint32(token) < tokenListener {
				return unix.ENOSPC
			}
			return epollCtl(epfd, op, fd, events, token)
		}
		o := newOrigins(t)
		e := serve(t, options{targets: []Target{o.target()}, kernel: k})
		engine.Store(e.engine)
		c := e.dial()
		c.Send("hello\n")
		c.WantEnd(errReset)
		if s := e.record(); s.Reason != NoResources {
			t.Errorf("record says %q, want %q", s.Reason, NoResources)
		}
	}
}

// Asking for room to write can fail too; the stream goes on at the next tick.
func TestEpollRefusesToTellOfRoom(t *testing.T) {
	testkit.NoLeaks(t)
	var refusals atomic.Int64
	k := linux
	k.epollCtl = func(epfd int32, op uintptr, fd int32, events uint32, token uint64) unix.Errno {
		if op == unix.EPOLL_CTL_MOD && refusals.Add(1) <= 3 {
			return unix.ENOMEM
		}
		return epollCtl(epfd, op, fd, events, token)
	}
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}, kernel: k})
	client, server := e.pair(o)
	written := fill(t, e, client)
	b := make([]byte, 64<<10)
	for read := 0; read < written; {
		n, err := server.Read(b)
		if err != nil {
			t.Fatalf("read %d of %d bytes, then %v", read, written, err)
		}
		read += n
	}
	if refusals.Load() == 0 {
		t.Error("epoll was never asked for room: the test tests nothing")
	}
}

// Where splice is refused, the bytes are copied, all of them and in order;
// where it can never work it is not tried again.
func TestSpliceIsRefused(t *testing.T) {
	b := strings.Repeat("0123456789abcdef", 1<<18)
	for _, c := range []struct {
		errno unix.Errno
		fill  bool // of the pipe; else its emptying
		most  int64
	}{
		{unix.EINVAL, true, 2}, {unix.ENOSYS, true, 1}, {unix.EPERM, true, 1}, {unix.ENOMEM, true, 1 << 30},
		{unix.EINVAL, false, 1 << 30}, {unix.ENOSYS, false, 1 << 30}, {unix.EPERM, false, 1 << 30}, {unix.ENOMEM, false, 1 << 30},
	} {
		name := c.errno.Error() + " from a pipe"
		if c.fill {
			name = c.errno.Error() + " to a pipe"
		}
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			var refused atomic.Int64
			k := linux
			k.splice = func(from, to int32, n int) (int, unix.Errno) {
				if isPipe(to) == c.fill {
					refused.Add(1)
					return -1, c.errno
				}
				return sysSplice(from, to, n)
			}
			o := newOrigins(t)
			e := serve(t, options{targets: []Target{o.target()}, kernel: k})
			client, server := e.pair(o)
			var both sync.WaitGroup
			for _, way := range [][2]*peer{{client, server}, {server, client}} {
				both.Go(func() { way[0].Write([]byte(b)) })
				both.Go(func() { way[1].Want(b) })
			}
			both.Wait()
			client.FIN()
			server.WantEnd(nil)
			server.Close()
			wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), len("hello\n")+len(b), len(b))
			if n := refused.Load(); n == 0 || n > c.most {
				t.Errorf("splice was refused %d times, want at least once and at most %d", n, c.most)
			}
			if s := e.engine.Stats()[0]; s.PipesLent != 0 || s.BytesHeld != 0 {
				t.Errorf("loop holds %+v afterwards, want no pipe and no bytes", s)
			}
		})
	}
}

func isPipe(fd int32) bool {
	var s unix.Stat_t
	return unix.Fstat(int(fd), &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFIFO
}

// Trouble is told once a minute, however often it comes.
func TestTroubleIsToldOnce(t *testing.T) {
	testkit.NoLeaks(t)
	told := make(chan uint64, 100)
	e, err := New(Options{Loops: 1, NewSession: func(*Conn) Session { return nil },
		Trouble: func(_ Trouble, _ error, times uint64) { told <- times }})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for range 100 {
		e.complain(TroubleAccept, unix.ENOMEM)
		e.complain(TroubleSplice, unix.EPERM)
	}
	for range 2 {
		if n := <-told; n != 1 {
			t.Errorf("trouble was told with a count of %d, want 1", n)
		}
	}
	e.refusals[TroubleAccept].toldAt.Add(-int64(tellEvery))
	e.complain(TroubleAccept, unix.ENOMEM)
	if n := <-told; n != 101 {
		t.Errorf("a minute later trouble was told with a count of %d, want 101", n)
	}
}

// A dial's local cause is told apart from the origin's answer.
func TestLocalCausesOfADial(t *testing.T) {
	var l loop
	if !l.addr.set(refusing(t)) {
		t.Fatal("no address")
	}
	for e, want := range map[unix.Errno]error{
		unix.ECONNREFUSED:  unix.ECONNREFUSED,
		unix.ETIMEDOUT:     unix.ETIMEDOUT,
		unix.EMFILE:        &LocalError{NoLocalDescriptor, unix.EMFILE},
		unix.ENFILE:        &LocalError{NoLocalDescriptor, unix.ENFILE},
		unix.ENOBUFS:       &LocalError{NoLocalMemory, unix.ENOBUFS},
		unix.ENOMEM:        &LocalError{NoLocalMemory, unix.ENOMEM},
		unix.EADDRNOTAVAIL: &LocalError{NoLocalPort, unix.EADDRNOTAVAIL},
		unix.ENETUNREACH:   &LocalError{NoLocalRoute, unix.ENETUNREACH},
		unix.EAFNOSUPPORT:  &LocalError{NoLocalRoute, unix.EAFNOSUPPORT},
		unix.EACCES:        &LocalError{NoLocalRoute, unix.EACCES},
	} {
		if got := l.dialError(e); got.Error() != want.Error() {
			t.Errorf("dialError(%v) = %v, want %v", e, got, want)
		}
	}
	l.addr.setPath("/run/origin")
	if got := l.dialError(unix.EACCES); got != unix.EACCES {
		t.Errorf("dialError(%v) of a unix socket = %v, want it as it is", unix.EACCES, got)
	}
}
