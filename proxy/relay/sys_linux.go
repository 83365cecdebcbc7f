package relay

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A kernel is the calls that tests have refused.
type kernel struct {
	accept   func(fd int32, sa *unix.RawSockaddrAny, size *uint32) (int32, unix.Errno)
	splice   func(from, to int32, n int) (int, unix.Errno)
	epollCtl func(epfd int32, op uintptr, fd int32, events uint32, token uint64) unix.Errno
}

var linux = kernel{accept: sysAccept, splice: sysSplice, epollCtl: epollCtl}

// The calls below are non-blocking but for epollWait, so they go to the kernel
// without telling the scheduler (RawSyscall): announcing a call that never
// sleeps costs more than the call. Each returns the bare errno, since wrapping it in
// an error would allocate.

// sysRecv reads from a socket; read(2) would pass through the file layer first.
func sysRecv(fd int32, p []byte) (int, unix.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			unix.MSG_DONTWAIT, 0, 0)
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

func sysRead(fd int32, p []byte) (int, unix.Errno) {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

// sysSend writes to a socket without raising SIGPIPE when the peer is gone.
func sysSend(fd int32, p []byte, flags int) (int, unix.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			uintptr(flags)|unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

// sysSend2 writes a and then b, in one packet where they fit.
func sysSend2(fd int32, a, b []byte) (int, unix.Errno) {
	if len(a) == 0 {
		return sysSend(fd, b, 0)
	}
	parts := [2]unix.Iovec{{Base: unsafe.SliceData(a)}, {Base: unsafe.SliceData(b)}}
	parts[0].SetLen(len(a))
	parts[1].SetLen(len(b))
	h := unix.Msghdr{Iov: &parts[0]}
	h.SetIovlen(len(parts))
	for {
		n, _, e := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

func sysSplice(from, to int32, n int) (int, unix.Errno) {
	for {
		m, _, e := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n),
			unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if e != unix.EINTR {
			return int(m), e
		}
	}
}

func sysAccept(fd int32, sa *unix.RawSockaddrAny, size *uint32) (int32, unix.Errno) {
	for {
		*size = unix.SizeofSockaddrAny
		n, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(sa)), uintptr(unsafe.Pointer(size)),
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if e != unix.EINTR {
			return int32(n), e
		}
	}
}

func sysSocket(family int) (int32, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return int32(n), e
}

func sysConnect(fd int32, sa *sockaddr) unix.Errno {
	for {
		_, _, e := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa.raw)), uintptr(sa.size))
		if e != unix.EINTR {
			return e
		}
	}
}

func sysClose(fd int32) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// sysSawFIN reports whether a TCP socket that reads as ended, after n bytes,
// got a FIN: the kernel counts that as one more byte. Other sockets report a
// reset to the reader.
func sysSawFIN(fd int32, n uint64) bool {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err != nil || info.Bytes_received != n
}

func sysShutdownWrite(fd int32) {
	unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
}

func setInt(fd int32, level, name int, value int32) unix.Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
	return e
}

// socketError takes the error that a socket has to report.
func socketError(fd int32) unix.Errno {
	e, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return unix.EBADF
	}
	return unix.Errno(e)
}

// sysReset closes fd so that its peer sees a reset, not an orderly end.
func sysReset(fd int32) {
	l := unix.Linger{Onoff: 1}
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER,
		uintptr(unsafe.Pointer(&l)), unsafe.Sizeof(l), 0)
	sysClose(fd)
}

func epollCtl(epfd int32, op uintptr, fd int32, events uint32, token uint64) unix.Errno {
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(token)), Pad: int32(token >> 32)}
	_, _, e := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), op, uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	return e
}

// epollHold fetches what is ready, and waits at most so many milliseconds until
// something is, without telling the scheduler.
func epollHold(epfd int32, events []unix.EpollEvent, millis int) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(millis), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// epollWait fetches what is ready, and waits until something is. A signal of
// the runtime's ends it early, with nothing.
func epollWait(epfd int32, events []unix.EpollEvent) int {
	n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), ^uintptr(0), 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

func token(ev *unix.EpollEvent) uint64 { return uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32 }
