package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"github.com/coder/websocket"

	"keyhole/internal/termkit"
	"keyhole/internal/testkit"
	"keyhole/push/wire"
)

// A line is a handset's connection: TLS, and the WebSocket over it.
type line struct {
	tls *tls.Conn
	ws  *websocket.Conn
}

// dial connects anew and upgrades.
func (h *handset) dial() {
	h.t.Helper()
	h.hangUp()
	ctx, cancel := context.WithTimeout(h.t.Context(), testkit.Patience)
	defer cancel()
	l := &line{}
	transport := &http.Transport{DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := h.way(ctx, network, address)
		if err != nil {
			return nil, err
		}
		l.tls = tls.Client(raw, &tls.Config{ServerName: h.site.host, RootCAs: shared.ca.pool, NextProtos: []string{"http/1.1"}})
		return l.tls, l.tls.HandshakeContext(ctx)
	}}
	defer transport.CloseIdleConnections()
	var err error
	l.ws, _, err = websocket.Dial(ctx, h.site.url()+"/v1/terminal", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{wire.Subprotocol},
	})
	if err != nil {
		h.t.Fatalf("connect: %v", err)
	}
	l.ws.SetReadLimit(1 << 20)
	h.line = l
}

func (h *handset) hangUp() {
	if h.line != nil {
		h.ws.CloseNow()
		h.line = nil
	}
}

func (h *handset) send(f wire.Frame) {
	h.t.Helper()
	termkit.Send(h.t, h.ws, f)
}

func (h *handset) sendText(text string) {
	h.t.Helper()
	termkit.SendMessage(h.t, h.ws, websocket.MessageText, []byte(text))
}

// receive returns the next frame of the server's, or why there is none.
func (h *handset) receive() (wire.Frame, error) { return termkit.Receive(h.ws) }

// want is the next frame, which has to be an F.
func want[F wire.Frame](h *handset) F {
	h.t.Helper()
	return termkit.Want[F](h.t, h.ws)
}

// wantEnd wants an error frame with this code, and the close that says the same.
func (h *handset) wantEnd(code wire.Code) {
	h.t.Helper()
	if e := want[*wire.Error](h); e.Code != code || !e.Fatal || e.Message == "" {
		h.t.Fatalf("error %+v, want a fatal %s and a message", e, code)
	}
	f, err := h.receive()
	if closed, ok := errors.AsType[websocket.CloseError](err); !ok || closed.Reason != string(code) {
		h.t.Fatalf("received %v, %v, want a close with the reason %s", f, err, code)
	}
}

// wantRefusal wants an error frame with this code, after which the connection goes on.
func (h *handset) wantRefusal(code wire.Code) {
	h.t.Helper()
	if e := want[*wire.Error](h); e.Code != code || e.Fatal || e.Message == "" {
		h.t.Fatalf("error %+v, want %s, not fatal, and a message", e, code)
	}
}

// wantMessage wants a message with this text, and acknowledges it.
func (h *handset) wantMessage(text string) *wire.Message {
	h.t.Helper()
	return termkit.WantMessage(h.t, h.ws, text)
}
