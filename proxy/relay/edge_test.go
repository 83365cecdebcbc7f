package relay

import (
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// The tests of this file look for an event that is announced once and then
// forgotten.

// An urgent byte makes a read stop short of it, with more behind it: a short
// read is then no proof that the socket is empty.
func TestUrgentByteDoesNotStopTheStream(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	resume := e.pause()
	client.Send("before")
	client.sendUrgent('!')
	client.Send("behind")
	client.acked()
	resume()
	server.Want("before!behind")
}

func (p *peer) sendUrgent(b byte) {
	p.T.Helper()
	raw, err := p.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		p.T.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte{b}, unix.MSG_OOB, nil) })
	if err != nil {
		p.T.Fatal(err)
	}
}

// Everything is there before the loop looks at the connection for the first
// time: the hello, more, and the end. No further event will come.
func TestEverythingBeforeTheFirstLook(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	for _, size := range []int{1, 1000, readSize - 6, readSize, 300 << 10} {
		resume := e.pause()
		client := e.dial()
		early := strings.Repeat("e", size)
		go func() {
			client.Write([]byte("hello\n" + early))
			client.FIN()
		}()
		if size < readSize {
			testkit.Eventually(t, "hello and end sent", func() bool { return client.state() == unix.BPF_TCP_FIN_WAIT2 })
		}
		resume()
		server := o.accept()
		server.Want("hello\n" + early)
		server.WantEnd(nil)
		server.Close()
		client.WantEnd(nil)
		wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 6+size, 0)
	}
}

// A hello that began in a block is completed by a read that fills the block,
// with more behind it: nothing announces that.
func TestMoreBehindAFullBlock(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client := e.dial()
	client.Send("hel")
	testkit.Eventually(t, "hello begun", func() bool { return e.engine.Active() == 1 })
	e.settle()
	early := strings.Repeat("early", 4000)
	resume := e.pause()
	client.Send("lo\n" + early)
	client.acked()
	resume()
	server := o.accept()
	server.Want("hello\n" + early)
	client.Close()
	server.WantEnd(nil)
	server.Close()
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 6+len(early), 0)
}

// state returns the state of the peer's TCP connection.
func (p *peer) state() uint8 {
	raw, err := p.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		p.T.Fatal(err)
	}
	var info *unix.TCPInfo
	raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil {
		p.T.Fatal(err)
	}
	return info.State
}

// Bytes that come while the dial goes on are announced to a connection that
// cannot use them yet.
func TestBytesDuringDialingAreNotForgotten(t *testing.T) {
	testkit.NoLeaks(t)
	full, makeRoom := fullBacklog(t)
	e := serve(t, options{targets: []Target{full.target()}})
	client := e.dial()
	client.Send("hello\n")
	e.dialing()
	client.Send("one, ")
	e.settle()
	client.Send("two")
	e.settle()
	makeRoom()
	server := full.accept()
	server.Want("hello\none, two")
	client.Close()
	server.WantEnd(nil)
	server.Close()
	e.wantRecord(ClientClosed, PhaseRelay)
}

// A turn ends with bytes left: the queue must bring the connection back, since
// no event will.
func TestMoreThanOneTurn(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	b := strings.Repeat("0123456789abcdef", 5*roundBytes/16)
	go func() {
		client.Write([]byte(b))
		client.FIN()
	}()
	server.Want(b)
	server.WantEnd(nil)
	go func() {
		server.Write([]byte(b))
		server.Close()
	}()
	client.Want(b)
	client.WantEnd(nil)
	e.wantRecord(ClientClosed, PhaseRelay)
}

// A reader that stops and goes on at every point of a stream: each time the
// socket fills, room is announced once.
func TestStopAndGo(t *testing.T) {
	testkit.NoLeaks(t)
	o := newOrigins(t)
	e := serve(t, options{targets: []Target{o.target()}})
	client, server := e.pair(o)
	const size = 16 << 20
	go func() {
		client.Write([]byte(strings.Repeat("0123456789abcdef", size/16)))
		client.FIN()
	}()
	left := size
	for i := 0; left > 0; i++ {
		e.settle() // the writer goes on as far as it can
		n := min(left, 1+i*i*997%(3<<20))
		server.Want(strings.Repeat("0123456789abcdef", size/16)[size-left : size-left+n])
		left -= n
	}
	server.WantEnd(nil)
	server.Close()
	wantBytes(t, e.wantRecord(ClientClosed, PhaseRelay), 6+size, 0)
}
