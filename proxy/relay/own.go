package relay

import "sync/atomic"

// ownSockets finds the edge's own connections to origins by a session's key,
// so that a connection which comes back to the edge can be told. It holds the
// last of each key; a later key may take an earlier one's place.
type ownSockets [4096]atomic.Uint64

// note keeps that fd is the last dial with this key.
func (o *ownSockets) note(key uint32, fd int32) {
	if key != 0 {
		o[key%uint32(len(o))].Store(uint64(key)<<32 | uint64(uint32(fd)))
	}
}

// forget takes fd's note back: the number may be another socket's soon.
func (o *ownSockets) forget(key uint32, fd int32) {
	if key != 0 {
		o[key%uint32(len(o))].CompareAndSwap(uint64(key)<<32|uint64(uint32(fd)), 0)
	}
}

// IsOwn reports whether the client is the edge itself: the last connection
// that was dialed with this key, which its verdict had, is the other end of
// this one. Another edge may also send a hello back to where it came from. It
// does so from the host that was dialed, unless that has several addresses, and
// before that host has answered with more than the answered bytes that it sends
// ahead of the hello; on loopback every program has that address, so there only
// the first is looked for.
func (c *Conn) IsOwn(key uint32, answered int) bool {
	if c.loop == nil {
		return false // the zero Conn, which tests give to a session
	}
	own := &c.loop.engine.own
	v := own[key%uint32(len(own))].Load()
	if key == 0 || uint32(v>>32) != key {
		return false
	}
	fd, peer := int32(uint32(v)), c.Peer()
	// Two sockets may share a local port when they go to different places.
	return localAddr(fd) == peer && peerAddr(fd) == localAddr(c.fds[client]) ||
		!peer.Addr().IsLoopback() && peerAddr(fd).Addr() == peer.Addr() && !sysSawFIN(fd, uint64(answered))
}
