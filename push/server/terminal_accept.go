package server

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/websocket"

	"keyhole/push/wire"
)

// acceptTerminal upgrades a request to the WebSocket of a terminal (RFC 6455)
// and returns: the connection goes on without the request, its buffers and its
// goroutine, which an idle terminal would hold for days.
//
// A refusal that a client can mend is said in a frame, since a browser shows its
// page neither the status nor the body of an upgrade that failed.
func (s *Server) acceptTerminal(w http.ResponseWriter, r *http.Request) {
	if !upgrades(r) {
		s.refuse(w, r, fmt.Errorf("%w: this path takes a WebSocket (RFC 6455) with subprotocol %s", wire.BadRequest, wire.Subprotocol))
		return
	}
	taker := &taker{ResponseWriter: w, server: s}
	s.live.arrive() // Accept takes the connection from net/http, which waits for it no more
	conn, err := websocket.Accept(taker, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil { // answered by Accept
		s.live.fail()
		s.log.Debug("terminal not upgraded", "remote", r.RemoteAddr, "err", err)
		return
	}
	conn.SetReadLimit(-1) // readFrame has its own, and names it
	t := s.newTerminal(conn, taker.pipe)
	go t.serve()
}

// upgrades reports whether a request asks for a WebSocket at all; whether it
// asks well is for Accept to say.
func upgrades(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Upgrade"), func(v string) bool {
		return strings.EqualFold(strings.TrimSpace(v), "websocket")
	})
}

// Sizes of the WebSocket's own buffers. The TLS connection has the record that
// is being read, so the reader's need only be there; what is written through
// the other are control frames, of at most 2 and 125 bytes.
const (
	readBuffer  = 16
	writeBuffer = 128
)

// A taker hands Accept the connection with small buffers instead of those of
// net/http, which are 4 KiB each and stay with the WebSocket.
type taker struct {
	http.ResponseWriter
	server *Server
	pipe   *pipe
}

// Hijack takes the connection over from net/http.
func (k *taker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(k.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	secure, ok := conn.(*tls.Conn)
	if !ok {
		conn.Close()
		return nil, nil, errors.New("a terminal's connection is not TLS")
	}
	// Accept answers before it comes here: the first frame may be in already.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	k.pipe = newPipe(secure, early, k.server.config.Limits.WriteTimeout)
	return k.pipe, bufio.NewReadWriter(k.pipe.reader, bufio.NewWriterSize(k.pipe, writeBuffer)), nil
}
