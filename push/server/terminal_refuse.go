package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/coder/websocket"

	"keyhole/push/auth"
	"keyhole/push/wire"
)

// A frameRefusal is how a code is answered to a terminal: by an error frame
// and, unless the connection survives that, a close with a status (RFC 6455
// section 7.4.1) whose reason is the code.
type frameRefusal struct {
	status websocket.StatusCode // 0: the connection goes on
	retry  time.Duration        // what retry_after_ms says unless the error knows better; 0: nothing
}

var (
	goesOn   = frameRefusal{}
	violates = frameRefusal{status: websocket.StatusPolicyViolation}
)

// frameRefusals are of the codes that a terminal is refused with; the others
// belong to requests and to the client, and would be a mistake of ours here.
var frameRefusals = map[wire.Code]frameRefusal{
	wire.BadFrame:            violates,
	wire.UnknownFrame:        violates,
	wire.FrameTooLarge:       {status: websocket.StatusMessageTooBig},
	wire.NotVerified:         violates,
	wire.OutOfOrder:          violates,
	wire.SubprotocolRequired: violates,

	wire.VersionUnsupported:  violates,
	wire.Downgrade:           violates,
	wire.ClientTokenReused:   violates,
	wire.ServerTokenMismatch: violates,
	wire.ServerTokenUsed:     violates,
	wire.ServerTokenExpired:  violates,
	wire.BindingRequired:     violates,
	wire.BindingMismatch:     violates,
	wire.ProofInvalid:        violates,
	wire.HandshakeTimeout:    violates,

	wire.SessionInvalid:  violates,
	wire.SessionExpired:  violates,
	wire.SessionRevoked:  violates,
	wire.SessionStale:    violates,
	wire.AccountDisabled: violates,

	wire.RenewalIncomplete:       goesOn,
	wire.RenewalUserMismatch:     goesOn,
	wire.OffsetOutOfRange:        goesOn,
	wire.NonceInvalid:            goesOn,
	wire.EpochInvalid:            goesOn,
	wire.RenewalSignatureInvalid: goesOn,
	wire.RenewalConflict:         goesOn,

	wire.TokenUnknown:       violates,
	wire.TokenRevoked:       violates,
	wire.TokenExpired:       violates,
	wire.TokenNotYours:      violates,
	wire.StateInvalid:       goesOn,
	wire.EncryptionRequired: goesOn,
	wire.AckUnknown:         goesOn,

	wire.DiskFull:         {websocket.StatusTryAgainLater, time.Minute},
	wire.StoreUnavailable: {websocket.StatusTryAgainLater, 2 * time.Second},
	wire.Internal:         {websocket.StatusInternalError, 2 * time.Second},

	wire.TooManyConnections: {websocket.StatusTryAgainLater, 30 * time.Second},
	wire.Replaced:           violates,
	wire.Draining:           {websocket.StatusGoingAway, time.Second},
	wire.SlowTerminal:       violates,
	wire.IdleTimeout:        violates,
}

// gone is an error of the connection itself: there is nobody left to tell.
type gone struct{ error }

func (g gone) Unwrap() error { return g.error }

// An answered error is one about a frame that has a ref.
type answered struct {
	error
	ref string
}

func (a answered) Unwrap() error { return a.error }

func answering(ref string, err error) error {
	if err == nil || ref == "" {
		return err
	}
	return answered{err, ref}
}

// unheard is the terminal.last of a connection that is gone.
var unheard = &wire.Error{Fatal: true}

// tell refuses a frame, and returns what the connection ends with: err, or that
// it cannot be told; nil when it goes on.
func (t *terminal) tell(err error) error {
	f := t.refusalOf(err)
	if f.Fatal {
		return err
	}
	t.s.metrics.refuse(f.Code)
	return t.out.send(f)
}

// fail says why the connection ends, unless it is gone or somebody has said so
// before, and has the goroutine that reads close it.
func (t *terminal) fail(err error) {
	f := t.refusalOf(err)
	if !t.last.CompareAndSwap(nil, f) {
		return
	}
	if f == unheard {
		t.s.log.Debug("terminal gone", "conn", t.id, "err", err)
		t.out.cut()
		return
	}
	t.s.metrics.refuse(f.Code)
	t.s.log.Log(context.Background(), severity(f.Code), "terminal refused", "conn", t.id, "code", f.Code, "err", err)
	t.out.sendLast(f)
	if !listens(f) {
		t.out.cut()
		return
	}
	_ = t.out.SetReadDeadline(past)
}

// close ends the WebSocket with the closing handshake, which a peer that does
// not answer can make last 5 s, where there is somebody to shake hands with. It
// is the reading goroutine's.
func (t *terminal) close() {
	f := t.last.Load()
	if !listens(f) {
		_ = t.conn.CloseNow()
		return
	}
	// The WebSocket reads the rest of a frame that has begun without its 5 s.
	_ = t.out.SetReadDeadline(time.Now().Add(5 * time.Second))
	_ = t.conn.Close(frameRefusals[f.Code].status, string(f.Code))
}

// listens reports whether the terminal may answer f. One that is slow or silent
// would hold a goroutine until it does.
func listens(f *wire.Error) bool {
	return f != unheard && f.Code != wire.SlowTerminal && f.Code != wire.IdleTimeout
}

// severity is what a refusal is logged at. What clients do wrong is theirs to
// look into, and counted.
func severity(code wire.Code) slog.Level {
	if code == wire.Internal {
		return slog.LevelError
	}
	return slog.LevelDebug
}

// refusalOf is what a terminal is told of err, or unheard. What has no code of a
// frame is Internal, and its text is the log's alone.
func (t *terminal) refusalOf(err error) *wire.Error {
	var code wire.Code
	var away gone
	switch {
	case errors.As(err, &code):
	case errors.As(err, &away), errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		return unheard
	case errors.Is(err, context.DeadlineExceeded):
		code, err = wire.StoreUnavailable, fmt.Errorf("the store did not answer within %s: %w", answerTimeout, err)
	}
	text := withoutCode(code, err.Error())
	if _, known := frameRefusals[code]; !known || code == wire.Internal {
		code, text = wire.Internal, "the server failed; its log says how"
	}
	how := frameRefusals[code]
	f := &wire.Error{Code: code, Message: text, Fatal: how.status != 0, RetryAfterMS: how.retry.Milliseconds()}
	var about answered
	if errors.As(err, &about) {
		f.Ref = about.ref
	}
	var retry *auth.RetryError
	if errors.As(err, &retry) {
		f.RetryAfterMS = retry.After.Milliseconds()
	}
	return f
}

// withoutCode is an error's text without the prefix that only repeats its code.
func withoutCode(code wire.Code, text string) string {
	return strings.TrimPrefix(text, string(code)+": ")
}
