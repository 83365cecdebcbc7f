package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/coder/websocket"

	"keyhole/push/wire"
)

// Times for what the other side has to take part in.
const (
	writeTimeout = 10 * time.Second // of one frame
	closeTimeout = time.Second      // of the closing handshake (RFC 6455 section 7.1.2)
)

// messageOverhead is what the frame of a message has beside its payload, with
// room to spare; startLimit is the size of a frame before the server has said
// how large its payloads are.
const (
	messageOverhead = 16 << 10
	startLimit      = 32 << 10
	maxPayload      = 8 << 20
)

// A conn moves frames over one WebSocket. One goroutine reads them into
// frames, and closes that after setting err; the owner does the rest.
type conn struct {
	ws     *websocket.Conn
	net    net.Conn // below ws, for its deadlines: a context for each write would cost a timer each
	frames chan wire.Frame
	err    error         // why frames is closed
	quit   chan struct{} // closed when nobody receives from frames any more
}

// dial connects and starts the reader.
func (t *Terminal) dial(ctx context.Context) (*conn, error) {
	c := &conn{frames: make(chan wire.Frame), quit: make(chan struct{})}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { c.net = info.Conn }}
	ws, resp, err := websocket.Dial(httptrace.WithClientTrace(ctx, trace), t.base+"/v1/terminal", &websocket.DialOptions{
		HTTPClient:   t.http,
		Subprotocols: []string{wire.Subprotocol},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", t.base, refusedUpgrade(resp, err))
	}
	t.http.CloseIdleConnections() // a request before it may have had another one
	c.ws = ws
	ws.SetReadLimit(startLimit)
	if ws.Subprotocol() != wire.Subprotocol {
		_ = ws.Close(websocket.StatusProtocolError, string(wire.SubprotocolRequired)) // the error below says it
		return nil, fmt.Errorf("connect to %s: %w: the server does not speak %s", t.base, wire.SubprotocolRequired, wire.Subprotocol)
	}
	go c.read()
	return c, nil
}

// refusedUpgrade is what the server said in place of 101, if it did.
func refusedUpgrade(resp *http.Response, err error) error {
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return err
	}
	body, readErr := io.ReadAll(resp.Body) // 1,024 bytes at most, read already
	if readErr != nil {
		return err
	}
	return refused(resp, body)
}

// exporter is what only the two ends of this TLS connection know.
func (c *conn) exporter() ([]byte, error) {
	over, ok := c.net.(*tls.Conn)
	if !ok {
		return nil, fmt.Errorf("%w: the connection is a %T", wire.BindingRequired, c.net)
	}
	state := over.ConnectionState()
	return wire.Exporter(&state)
}

// read is the one goroutine of a connection beside its owner.
func (c *conn) read() {
	defer close(c.frames)
	for {
		f, err := c.readFrame()
		if err != nil {
			c.err = closeReason(err)
			return
		}
		select {
		case c.frames <- f:
		case <-c.quit:
			c.err = net.ErrClosed
			return
		}
	}
}

// readFrame returns the next frame of a type that is known. A server of the
// same version may have more of them.
func (c *conn) readFrame() (wire.Frame, error) {
	for {
		kind, b, err := c.ws.Read(context.Background()) // no timer: the owner watches the heartbeats
		if err != nil {
			return nil, err
		}
		if kind != websocket.MessageText {
			return nil, fmt.Errorf("%w: a binary message", wire.BadFrame)
		}
		f, err := wire.DecodeServer(b)
		if !errors.Is(err, wire.UnknownFrame) {
			return f, err
		}
	}
}

// closeReason is the code that a close frame has for its reason, or err.
func closeReason(err error) error {
	var closed websocket.CloseError
	switch {
	case !errors.As(err, &closed):
		return err
	case isCodeName(closed.Reason):
		return &refusal{code: wire.Code(closed.Reason)}
	case closed.Code == websocket.StatusGoingAway:
		return &refusal{code: wire.Draining, message: printable(closed.Reason)}
	}
	return fmt.Errorf("the server closed the connection: %s %q", closed.Code, printable(closed.Reason))
}

// next is the next frame while nothing else goes on. An error frame is
// returned as the refusal that it is.
func (c *conn) next(ctx context.Context) (wire.Frame, error) {
	select {
	case f, ok := <-c.frames:
		if !ok {
			return nil, c.err
		}
		if e, refused := f.(*wire.Error); refused {
			return nil, asRefusal(e)
		}
		return f, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func asRefusal(e *wire.Error) *refusal {
	after := time.Duration(min(e.RetryAfterMS, maxRetryAfter.Milliseconds())) * time.Millisecond
	return &refusal{code: e.Code, message: printable(e.Message), retryAfter: after}
}

// write sends a frame. When it cannot, what the server said before it closed
// the connection is the better error, and read to its end.
func (c *conn) write(f wire.Frame) error {
	b, err := wire.Encode(f)
	if err != nil {
		return err
	}
	err = c.net.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		err = c.ws.Write(context.Background(), websocket.MessageText, b)
	}
	if err == nil {
		return nil
	}
	_ = c.ws.CloseNow() // ends the reader
	for f := range c.frames {
		if e, ok := f.(*wire.Error); ok && e.Fatal {
			return asRefusal(e)
		}
	}
	var said *refusal
	if errors.As(c.err, &said) {
		return said
	}
	return fmt.Errorf("send a %s frame: %w", f.Kind(), err)
}

// close says why, waits for the server's answer for a moment, and returns
// when the reader has ended.
func (c *conn) close(status websocket.StatusCode, reason string) {
	close(c.quit)
	_ = c.net.SetDeadline(time.Now().Add(closeTimeout)) // a connection that is gone has none to set
	_ = c.ws.Close(status, reason)                      // how it went changes nothing any more
	for range c.frames {
	}
}
