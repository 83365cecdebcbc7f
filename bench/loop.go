package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errTimeLimit is runUntil's answer when the condition did not come true in time.
var errTimeLimit = errors.New("time limit reached")

// A handler is called with the epoll events of its descriptor. It must tolerate a call without
// cause: the descriptor may have been closed and its number reused since the kernel filled the
// batch.
type handler interface {
	ready(events uint32) error
}

// A loop runs clients and origin on one thread: a second thread would share the core anyway, and
// pay for the switches. It is level-triggered, so a handler may leave work for the next turn.
type loop struct {
	ctx      context.Context
	epfd     int
	handlers []handler // by descriptor
	events   []unix.EpollEvent
}

func newLoop(ctx context.Context) (*loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &loop{ctx: ctx, epfd: epfd, events: make([]unix.EpollEvent, 256)}, nil
}

func (l *loop) add(fd int, events uint32, h handler) error {
	for fd >= len(l.handlers) {
		l.handlers = append(l.handlers, nil)
	}
	l.handlers[fd] = h
	ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl add: %w", err)
	}
	return nil
}

// want replaces the events that fd waits for.
func (l *loop) want(fd int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_MOD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl mod: %w", err)
	}
	return nil
}

// drop closes fd, which takes it out of epoll as well.
func (l *loop) drop(fd int) {
	l.handlers[fd] = nil
	unix.Close(fd)
}

// turn waits for at most wait and calls the handlers of the descriptors that are ready. The first
// error ends it.
func (l *loop) turn(wait time.Duration) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	n, err := unix.EpollWait(l.epfd, l.events, int(wait.Milliseconds()))
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("epoll_wait: %w", err)
	}
	for i := range max(n, 0) {
		h := l.handlers[l.events[i].Fd]
		if h == nil {
			continue
		}
		if err := h.ready(l.events[i].Events); err != nil {
			return err
		}
	}
	return nil
}

// runUntil turns until done. When limit has passed it returns errTimeLimit.
func (l *loop) runUntil(limit time.Duration, done func() bool) error {
	for end := time.Now().Add(limit); !done(); {
		left := time.Until(end)
		if left <= 0 {
			return errTimeLimit
		}
		if err := l.turn(min(left+time.Millisecond, 50*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// runFor turns for d.
func (l *loop) runFor(d time.Duration) error {
	err := l.runUntil(d, func() bool { return false })
	if errors.Is(err, errTimeLimit) {
		return nil
	}
	return err
}

func sockaddr(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

// anyPort is a free port of 127.0.0.1, to listen on.
func anyPort() *unix.SockaddrInet4 { return &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}} }

// listen opens a non-blocking listener and returns the address that it got. Its connections
// inherit TCP_NODELAY.
func listen(at unix.Sockaddr) (int, unix.Sockaddr, error) {
	fd, err := socket(at)
	if err != nil {
		return -1, nil, err
	}
	if err = unix.Bind(fd, at); err == nil {
		err = unix.Listen(fd, 4096)
	}
	if err == nil {
		at, err = unix.Getsockname(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, nil, fmt.Errorf("listen: %w", err)
	}
	return fd, at, nil
}

// socket opens a non-blocking socket for an address of that family.
func socket(of unix.Sockaddr) (int, error) {
	family := unix.AF_INET
	if _, ok := of.(*unix.SockaddrUnix); ok {
		family = unix.AF_UNIX
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if family == unix.AF_UNIX {
		return fd, nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set TCP_NODELAY: %w", err)
	}
	return fd, nil
}

// discard takes up to len(room) bytes off the socket without copying them: on TCP, MSG_TRUNC drops
// what it reads (see tcp(7)). This leaves the load's core more time to send.
func discard(fd int, room []byte) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&room[0])), uintptr(len(room)),
		unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
