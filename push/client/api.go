package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"keyhole/push/wire"
)

// replyLimit is the most bytes that are read of one reply. A page of a
// hundred messages has about one million.
const replyLimit = 16 << 20

// clockTolerance is the error of this clock from which a proof that was
// refused is made again with the server's time.
const clockTolerance = 5 * time.Second

// call sends one request of the API and reads its reply into reply, unless
// that is nil. who signs the request (RFC 9449), nil for a login. A refusal is
// an error that wraps its wire.Code.
func (t *Terminal) call(ctx context.Context, who *identity, method, path string, ask, reply any) error {
	before := t.serverNow()
	err := t.callOnce(ctx, who, method, path, ask, reply)
	if who == nil || !isCode(err, wire.Unauthorized, wire.ProofInvalid) || t.serverNow().Sub(before).Abs() < clockTolerance {
		return err
	}
	return t.callOnce(ctx, who, method, path, ask, reply) // the reply told the server's time
}

func (t *Terminal) callOnce(ctx context.Context, who *identity, method, path string, ask, reply any) error {
	r, err := newRequest(ctx, method, t.base+path, ask)
	if err != nil {
		return err
	}
	if who != nil {
		proof, err := who.key.DPoP(method, t.base+path, t.serverNow(), who.session)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "DPoP "+who.session)
		r.Header.Set("DPoP", proof)
	}
	resp, err := t.http.Do(r)
	if err != nil {
		return &transportError{err}
	}
	defer resp.Body.Close()
	t.learnDate(resp)
	return readReply(resp, reply)
}

// A transportError is of a request that had no answer, or only a part of one.
type transportError struct{ error }

func (e *transportError) Unwrap() error { return e.error }

// newRequest makes a request with ask as its JSON, or without a body for nil.
func newRequest(ctx context.Context, method, url string, ask any) (*http.Request, error) {
	if ask == nil {
		return http.NewRequestWithContext(ctx, method, url, nil)
	}
	b, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	return r, nil
}

// learnDate takes the server's time from the header Date, where it says more
// than its whole seconds leave open.
func (t *Terminal) learnDate(resp *http.Response) {
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err == nil && t.serverNow().Sub(date).Abs() >= clockTolerance {
		t.learnTime(date.UnixMilli(), t.cfg.Now())
	}
}

// readReply reads resp into reply, or as a refusal.
func readReply(resp *http.Response, reply any) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, replyLimit))
	switch {
	case err != nil:
		return &transportError{fmt.Errorf("read the reply: %w", err)}
	case resp.StatusCode/100 != 2:
		return refused(resp, b)
	case reply == nil:
		return nil
	}
	if err := json.Unmarshal(b, reply); err != nil {
		return fmt.Errorf("%w: the reply is not the JSON of a push server: %w", wire.BadFrame, err)
	}
	return nil
}

// refused reads {"error":{"code":"...","message":"..."}}. Whatever else stands
// there is a refusal without a code, which names the status.
func refused(resp *http.Response, body []byte) error {
	var reply struct {
		Error struct {
			Code    wire.Code `json:"code"`
			Message string    `json:"message"`
		} `json:"error"`
	}
	r := &refusal{status: resp.StatusCode, retryAfter: after(resp)}
	if json.Unmarshal(body, &reply) == nil && isCodeName(string(reply.Error.Code)) {
		r.code, r.message = reply.Error.Code, printable(reply.Error.Message)
	} else {
		r.message = resp.Status
	}
	return r
}

// after is the header Retry-After in seconds (RFC 9110 section 10.2.3), 0 when
// it is not there or a date.
func after(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
}

var codeName = regexp.MustCompile(`^[a-z][a-z_]{0,39}$`)

func isCodeName(s string) bool { return codeName.MatchString(s) }

// printable is a text of the server for a log or a terminal: one line, short,
// and without what could steer the terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "")
	}
	return s
}
