package server

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"keyhole/push/auth"
	"keyhole/push/wire"
)

// errorReply is the body of every refusal.
type errorReply struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Code    wire.Code `json:"code"`
	Message string    `json:"message"` // for people; it may change
}

// A refusal is how a code is answered in HTTP.
type refusal struct {
	status int
	retry  time.Duration // what Retry-After says unless the error knows better; 0: the header is not sent
}

// refusals are of the codes that the API answers with; the others belong to
// frames, and would be a mistake of ours here.
var refusals = map[wire.Code]refusal{
	wire.BadRequest:       {status: http.StatusBadRequest},
	wire.TTLInvalid:       {status: http.StatusBadRequest},
	wire.ConditionInvalid: {status: http.StatusBadRequest},

	wire.Unauthorized:   {status: http.StatusUnauthorized},
	wire.LoginFailed:    {status: http.StatusUnauthorized},
	wire.SessionInvalid: {status: http.StatusUnauthorized},
	wire.SessionExpired: {status: http.StatusUnauthorized},
	wire.SessionRevoked: {status: http.StatusUnauthorized},
	wire.SessionStale:   {status: http.StatusUnauthorized},
	wire.ProofInvalid:   {status: http.StatusUnauthorized},
	wire.VAPIDRequired:  {status: http.StatusUnauthorized}, // RFC 8292 section 4.2

	wire.Forbidden:       {status: http.StatusForbidden},
	wire.AccountDisabled: {status: http.StatusForbidden},
	wire.TokenNotYours:   {status: http.StatusForbidden},
	wire.VAPIDInvalid:    {status: http.StatusForbidden}, // RFC 8292 section 4.2

	wire.NotFound:     {status: http.StatusNotFound},
	wire.TokenUnknown: {status: http.StatusNotFound},
	wire.AckUnknown:   {status: http.StatusNotFound},

	wire.MethodNotAllowed: {status: http.StatusMethodNotAllowed},
	wire.IDConflict:       {status: http.StatusConflict},
	wire.TokenRevoked:     {status: http.StatusGone},
	wire.TokenExpired:     {status: http.StatusGone},
	wire.PayloadTooLarge:  {status: http.StatusRequestEntityTooLarge},

	wire.RateLimited: {http.StatusTooManyRequests, time.Minute},
	wire.BacklogFull: {http.StatusTooManyRequests, time.Minute},

	wire.Internal:         {status: http.StatusInternalServerError},
	wire.StoreUnavailable: {http.StatusServiceUnavailable, 2 * time.Second},
	wire.DiskFull:         {http.StatusInsufficientStorage, time.Minute},
}

// refuse answers err: as the code that it wraps, or as Internal without its
// text, which may say what is nobody's business, and goes to the log instead.
// The message has no prefix that only repeats the code.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code, message := answerTo(err)
	if code == wire.Internal && r.Context().Err() == nil {
		s.log.Error("request failed", "method", r.Method, "route", r.Pattern, "err", err)
	}
	s.metrics.refuse(code)
	how := refusals[code]
	h := w.Header()
	if after := retryAfter(err, how.retry); after != "" {
		h.Set("Retry-After", after)
	}
	if how.status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", `DPoP algs="ES256"`) // RFC 9449 section 7.1
	}
	_ = writeJSON(w, how.status, errorReply{errorBody{code, message}}) // strings always marshal
}

// answerTo is what err is to a client.
func answerTo(err error) (code wire.Code, message string) {
	if errors.As(err, &code) && refusals[code].status != 0 {
		return code, withoutCode(code, err.Error())
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return wire.StoreUnavailable, "the store did not answer in time; try again"
	}
	return wire.Internal, "the server failed; its log says how"
}

// retryAfter is the header of that name in whole seconds (RFC 9110 section
// 10.2.3), rounded up: a client that comes at that moment is let in.
func retryAfter(err error, otherwise time.Duration) string {
	after := otherwise
	var retry *auth.RetryError
	if errors.As(err, &retry) && retry.After > 0 {
		after = retry.After
	}
	if after <= 0 {
		return ""
	}
	return strconv.Itoa(int(math.Ceil(after.Seconds())))
}
