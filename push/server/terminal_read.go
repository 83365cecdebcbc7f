package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"keyhole/push/wire"
)

// past is a deadline that lets a read return what is buffered, and no more.
var past = time.Unix(1, 0)

// listen acts on frames until there is none to read, and leaves the waiting for
// the next to idle.
func (t *terminal) listen() {
	for !t.quiet() {
		if !t.step() {
			return
		}
	}
	go t.idle()
}

// step acts on one frame, and reports whether there may be another. If not, the
// connection has ended.
func (t *terminal) step() bool {
	err := t.next()
	if err != nil {
		err = t.tell(err)
	}
	if err != nil {
		t.end(err)
	}
	return err == nil
}

// idle waits until there is something to read, or the deadline of fail is there,
// and has listen go on.
//
// The WebSocket's own read would wait as well, but 20 calls further down, and on
// a stack that JSON and signatures have grown to 8 KiB. This goroutine is new:
// it gets by with the smallest stack that there is.
func (t *terminal) idle() {
	_ = t.out.idle.Read(readable) // an error is the next read's too
	go t.wake()
}

func (t *terminal) wake() {
	if t.step() {
		t.listen()
	}
}

// quiet reports whether idle may wait: nothing is buffered, and the connection
// is not about to end.
func (t *terminal) quiet() bool {
	return t.out.idle != nil && !t.buffered() && t.ending() == nil
}

// ending is an error once fail was called. It is looked at after each change of
// the deadline for reading, which may have undone that of fail.
func (t *terminal) ending() error {
	if t.last.Load() == nil {
		return nil
	}
	return gone{net.ErrClosed}
}

// buffered reports whether something has been read from the socket that nobody
// has read from the WebSocket, TLS included.
func (t *terminal) buffered() bool {
	if t.out.reader.Buffered() > 0 {
		return true
	}
	_ = t.out.SetReadDeadline(past)
	_, err := t.out.reader.Peek(1)
	_ = t.out.SetReadDeadline(time.Time{})
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// readable reports whether a read of the socket would return at once: for
// syscall.RawConn, which calls it again whenever that may have changed.
func readable(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err != syscall.EAGAIN
}

// readFrame returns the next frame. The buffer that it is read into is back in
// its pool before anything is done about the frame.
func (t *terminal) readFrame() (wire.Frame, error) {
	kind, message, err := t.conn.Reader(context.Background()) // a context that ends would cost a timer
	if err != nil {
		return nil, gone{err}
	}
	if kind != websocket.MessageText {
		return nil, fmt.Errorf("%w: a binary message, want a JSON object in a text message", wire.BadFrame)
	}
	b := frameBytes.Get().(*[]byte)
	defer frameBytes.Put(b)
	if *b, err = readMessage((*b)[:0], message, t.s.config.Limits.FrameBytes); err != nil {
		return nil, err
	}
	return wire.DecodeClient(*b)
}

// readMessage appends a message of at most limit bytes to b.
func readMessage(b []byte, message io.Reader, limit int) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := message.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > limit:
			return b, fmt.Errorf("%w: more than %d bytes", wire.FrameTooLarge, limit)
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, gone{err}
		}
	}
}
