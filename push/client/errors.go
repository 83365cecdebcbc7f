package client

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"keyhole/push/wire"
)

// A refusal is what the server answered in place of what was asked.
type refusal struct {
	code       wire.Code // "" when it is none that a push server gave, as of a proxy in between
	message    string    // for people, may be empty
	status     int       // of HTTP; 0 for a frame
	retryAfter time.Duration
}

func (r *refusal) Error() string {
	switch {
	case r.code == "":
		return "the answer is " + strconv.Quote(r.message)
	case r.message == "":
		return string(r.code)
	}
	return string(r.code) + ": " + r.message
}

func (r *refusal) Unwrap() error {
	if r.code == "" {
		return nil
	}
	return r.code
}

// A verdict is what follows from the end of a connection.
type verdict int

const (
	retry       verdict = iota // with the usual back-off
	retrySlowly                // with the longest one: the same would happen again at once
	loginAgain                 // the session is lost
	tokenAgain                 // the message token is lost
	otherKey                   // the server may be at the other key of a renewal
	giveUp                     // for good
	moveOn                     // the server stops, and this terminal waited its turn to leave
)

// verdicts are of the codes that do not mean retry.
var verdicts = map[wire.Code]verdict{
	wire.LoginFailed:        giveUp,
	wire.AccountDisabled:    giveUp,
	wire.BindingRequired:    giveUp,
	wire.TokenNotYours:      giveUp,
	wire.TokenRevoked:       giveUp,
	wire.VersionUnsupported: giveUp,

	wire.SessionRevoked: loginAgain,
	wire.SessionExpired: loginAgain,
	wire.SessionStale:   loginAgain,
	wire.SessionInvalid: loginAgain,

	wire.TokenUnknown: tokenAgain,
	wire.TokenExpired: tokenAgain,

	wire.ProofInvalid: otherKey,

	wire.BadFrame:            retrySlowly,
	wire.BadRequest:          retrySlowly,
	wire.BindingMismatch:     retrySlowly,
	wire.ClientTokenMismatch: retrySlowly,
	wire.Downgrade:           retrySlowly,
	wire.Forbidden:           retrySlowly,
	wire.FrameTooLarge:       retrySlowly,
	wire.NotVerified:         retrySlowly,
	wire.OutOfOrder:          retrySlowly,
	wire.Replaced:            retrySlowly, // or two terminals of one profile would take turns
	wire.ServerProofInvalid:  retrySlowly,
	wire.StateInvalid:        retrySlowly,
	wire.SubprotocolRequired: retrySlowly,
	wire.UnknownFrame:        retrySlowly,
}

// judge says what follows from err, by the first code in it.
func judge(err error) verdict {
	var code wire.Code
	switch {
	case errors.Is(err, errDrained):
		return moveOn
	case errors.As(err, &code):
		return verdicts[code] // retry when it is not there
	}
	return retry
}

// isCode reports whether err wraps one of codes.
func isCode(err error, codes ...wire.Code) bool {
	var code wire.Code
	return errors.As(err, &code) && slices.Contains(codes, code)
}

// maxRetryAfter bounds what a server can ask a client to wait.
const maxRetryAfter = 15 * time.Minute

// retryAfter is the wait that the server asked for, 0 when it did not.
func retryAfter(err error) time.Duration {
	var r *refusal
	if !errors.As(err, &r) {
		return 0
	}
	return min(max(r.retryAfter, 0), maxRetryAfter)
}
