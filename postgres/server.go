package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Refusal is the ErrorResponse to a client that asks for a session without TLS. libpq shows it to
// the user, and with sslmode=allow tries again with TLS.
var Refusal = errorResponse(
	"SFATAL", "VFATAL",
	"C28000", // invalid_authorization_specification, as for a session that pg_hba.conf refuses
	"Mthis server takes connections with TLS only, and this one has none",
	"HUse sslmode=require, or sslmode=verify-full to know the server.",
)

// errorResponse makes one of fields, each of which begins with its type.
func errorResponse(fields ...string) []byte {
	b := []byte("E\x00\x00\x00\x00")
	for _, f := range fields {
		b = append(append(b, f...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-1))
	return b
}

// The ways in which a server does not begin TLS.
var (
	ErrClosed   = errors.New("the server closed the connection")
	ErrNoTLS    = errors.New("the server answered N: it has no TLS, which `ssl = on` in postgresql.conf turns on")
	ErrTooEarly = errors.New("the server sent bytes behind its answer before TLS began: somebody on the way could have added them")
)

// Answer reads what a server has sent in answer to an SSLRequest; nothing is its end. It returns nil
// if TLS begins.
func Answer(b []byte) error {
	switch {
	case len(b) == 0:
		return ErrClosed
	case b[0] == 'S' && len(b) == 1:
		return nil
	case b[0] == 'S':
		return ErrTooEarly
	case b[0] == 'N':
		return ErrNoTLS
	case b[0] == 'E':
		return fmt.Errorf("the server answered with an error: %s", message(b[1:]))
	}
	return fmt.Errorf("the server answered %q, as no PostgreSQL does", b[:min(len(b), 16)])
}

// message returns the text of an ErrorResponse as far as it is there. A server that cannot even fork
// sends the text alone, as in protocol 2.
func message(b []byte) []byte {
	const most = 200
	if len(b) > 4 && b[0] == 0 {
		for field := range bytes.SplitSeq(b[4:], []byte{0}) {
			if len(field) > 0 && field[0] == 'M' {
				b = field[1:]
				break
			}
		}
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return bytes.TrimSpace(b[:min(len(b), most)])
}
