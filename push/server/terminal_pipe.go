package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"keyhole/push/wire"
)

// A pipe is the TLS connection of a terminal. The WebSocket's reads, its control
// frames and its closing handshake go through it; a frame of ours is written
// past it, as one WebSocket frame in one TLS record, since the WebSocket would
// keep a buffer as long as the connection for that.
type pipe struct {
	*tls.Conn
	reader  *bufio.Reader   // the WebSocket's, of this connection
	idle    syscall.RawConn // of the socket; nil: it is none of the kernel's TCP
	timeout time.Duration   // of one write

	mu    sync.Mutex // held while one write goes on, so that no other prolongs it
	ended bool       // the last frame was written
}

// newPipe is of a connection from which early was read already.
func newPipe(conn *tls.Conn, early []byte, timeout time.Duration) *pipe {
	p := &pipe{Conn: conn, timeout: timeout}
	if socket, ok := plainConn(conn).(*net.TCPConn); ok { // anything else may have a buffer of its own
		p.idle, _ = socket.SyscallConn() // fails for a socket that is closed, which reads find out
	}
	p.reader = bufio.NewReaderSize(bytes.NewReader(bytes.Clone(early)), max(readBuffer, len(early)))
	_, _ = p.reader.Peek(len(early)) // the WebSocket keeps what is buffered, and reads on from the connection
	return p
}

// Write writes what the WebSocket has: a control frame, whole.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writeLocked(b)
}

// writeLocked writes b within the timeout, or returns an error that wraps
// wire.SlowTerminal. A write that fails may have written a part of a record: no
// other can follow.
func (p *pipe) writeLocked(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	n, err := p.Conn.Write(b)
	if err != nil {
		p.ended = true
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, fmt.Errorf("%w: it did not read a frame within %s", wire.SlowTerminal, p.timeout)
	}
	return n, err
}

// send writes f. After the last frame it returns net.ErrClosed.
func (p *pipe) send(f wire.Frame) error {
	return p.sendMade(func() (wire.Frame, error) { return f, nil })
}

// sendMade writes the frame that mold returns. No other frame is written
// between the two, so what mold changes holds from this frame on.
func (p *pipe) sendMade(mold func() (wire.Frame, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return net.ErrClosed
	}
	f, err := mold()
	if err != nil {
		return err
	}
	return p.sendLocked(f)
}

// sendLast writes f, and lets no other frame follow.
func (p *pipe) sendLast(f wire.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	_ = p.sendLocked(f) // a terminal that does not read it loses the connection all the same
}

func (p *pipe) sendLocked(f wire.Frame) error {
	text, err := wire.Encode(f)
	if err != nil {
		return err
	}
	b := frameBytes.Get().(*[]byte)
	defer frameBytes.Put(b)
	*b = append(appendTextHeader((*b)[:0], len(text)), text...)
	_, err = p.writeLocked(*b)
	return err
}

// frameBytes are buffers for one frame on its way in or out.
var frameBytes = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

// appendTextHeader appends the header of an unmasked text message of n bytes in
// one frame (RFC 6455 section 5.2).
func appendTextHeader(b []byte, n int) []byte {
	const finText = 0x81
	switch {
	case n < 126:
		return append(b, finText, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, finText, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, finText, 127), uint64(n))
}

// cut ends the connection at once, without a word.
func (p *pipe) cut() { _ = p.NetConn().Close() }
