package relay

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// A peer that vanished sends no FIN. The kernel finds out: it asks a silent
// peer after the keep-alive time, and gives up on one that has not
// acknowledged anything for twice that (TCP_USER_TIMEOUT). A client's socket
// inherits both from the listener. An origin's gets them when the loop first
// tends the connection, after tendAfter, so that a short one does not pay the
// system calls.
const tendAfter = time.Second

// maxKeepalive is the kernel's limit for TCP_KEEPIDLE, in seconds.
const maxKeepalive = 32767

// keepaliveSeconds rounds up to what the kernel takes; 0 is off.
func keepaliveSeconds(d time.Duration) uint16 {
	return uint16(min((max(d, 0)+time.Second-1)/time.Second, maxKeepalive))
}

func keepaliveOptions(seconds uint16) []socketOption {
	s := int32(seconds)
	if s == 0 {
		return []socketOption{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0},
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 0},
		}
	}
	return []socketOption{
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, s},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, max(s/3, 1)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeout(seconds)},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	}
}

// userTimeout is in milliseconds.
func userTimeout(seconds uint16) int32 { return 2000 * int32(seconds) }

// tend looks after a connection that relays, now and then: it sets up
// keep-alive, and keeps the kernel from taking a slow reader for a dead one.
// It returns when to look again, 0 for never.
func (l *loop) tend(c *Conn) int64 {
	if !c.tended {
		if l.now < c.dialed+int64(tendAfter) {
			return c.dialed + int64(tendAfter)
		}
		c.tended = true
		if !c.local {
			setAll(c.fds[origin], keepaliveOptions(c.keepalive))
		}
		if uint32(c.keepalive) != c.listener.keepalive.Load() {
			setAll(c.fds[client], keepaliveOptions(c.keepalive))
		}
	}
	if c.keepalive == 0 {
		return 0
	}
	again := int64(0)
	for side := range c.flows {
		if l.tendReader(c, side) {
			again = l.now + int64(c.keepalive)*int64(time.Second)
		}
		if c.state != stateRelaying {
			return 0
		}
	}
	return again
}

// tendReader looks at the destination of flow side, and reports whether to
// look again. The kernel's limit is also one for a peer that reads nothing for
// a while but answers: it says so with a window of zero, and all that was sent
// is acknowledged. Such a peer has as long as the idle limit allows, while it
// answers the kernel's probes. So each look moves the limit on, by as much as
// passes between two looks; the kernel then probes once between them.
func (l *loop) tendReader(c *Conn, side int) bool {
	f, fd := &c.flows[side], c.fds[1-side]
	stalled := f.has(roomAsked) && !f.has(writable) && !f.over() && f.waiting()
	if !stalled && f.looks == 0 || fd < 0 || c.local && side == client {
		return false
	}
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	switch {
	case err != nil:
		return false
	case !stalled || info.Unacked > 0:
		if f.looks > 0 {
			f.looks = 0
			setInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeout(c.keepalive))
		}
		return stalled
	case f.looks > 0 && info.Probes > 1:
		l.endReset(c, [...]Reason{client: ClientLost, origin: OriginLost}[1-side])
		return false
	}
	f.looks = min(f.looks+1, maxLooks)
	limit := min(int64(f.looks+2)*int64(c.keepalive)*1000, math.MaxInt32)
	setInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int32(limit))
	return true
}

const maxLooks = math.MaxUint16 - 2
